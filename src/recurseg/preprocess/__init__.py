"""What happens to a case before the network, and its exact inverse."""

from recurseg.preprocess.config import Preprocessing
from recurseg.preprocess.geometry import Geometry, restore, restore_scores
from recurseg.preprocess.prepare import Prepared, prepare, prepare_label, restore_image

__all__ = [
    "Geometry",
    "Prepared",
    "Preprocessing",
    "prepare",
    "prepare_label",
    "restore",
    "restore_image",
    "restore_scores",
]
