"""Biomedical image segmentation with networks that carry context through recurrence or slice attention."""

__version__ = "0.1.0"
