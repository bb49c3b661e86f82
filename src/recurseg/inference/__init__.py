"""Prediction: packages, windows, and label files on the input's own grid."""

from recurseg.inference.files import FilesResult, predict_files
from recurseg.inference.package import PackageSpec, load_package, package_hash, save_package
from recurseg.inference.predict_paths import predict
from recurseg.inference.predictor import Prediction, Segmenter, load
from recurseg.inference.tiling import predict_probabilities

__all__ = [
    "FilesResult",
    "PackageSpec",
    "Prediction",
    "Segmenter",
    "load",
    "load_package",
    "package_hash",
    "predict",
    "predict_files",
    "predict_probabilities",
    "save_package",
]
