"""Classes, shapes and file formats of annotations."""
