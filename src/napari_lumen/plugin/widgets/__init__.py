"""Widgets that show and ask, one a file; none opens a slide or a model."""
