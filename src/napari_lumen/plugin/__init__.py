"""The napari plugin: everything that knows napari or Qt.

Importing this package imports neither Qt nor torch: napari asks for the reader alone when a file is
dropped, and opening a slide must be quick.
"""
