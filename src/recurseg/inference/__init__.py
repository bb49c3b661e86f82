"""Prediction: packages, windows, and label files on the input's own grid."""
