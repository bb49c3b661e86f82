"""Every network, small and as its paper has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from recurseg.bench.compare import Case, register
from recurseg.bench.rivals import network
from recurseg.models import create_model

CHANNELS, CLASSES = 2, 2
IMAGE, VOLUME = (1, CHANNELS, 64, 64), (1, CHANNELS, 8, 32, 32)
"""Shapes of small inputs."""


@dataclass(frozen=True)
class Kind:
    """What is known of a network before it is built.

    Attributes:
        paper: Shape of the input that its paper trains with: batch, channels, size.
        classes: Logits likewise.
        small: Options of the small one; without, the defaults.
        rival: Which model of equal parameters it is measured against; "" where it is feed-forward itself.
        in_textbooks: Whether it has layers with a textbook form.
        needs: The package that this form is from.
    """

    paper: tuple[int, ...]
    classes: int
    small: Mapping[str, Any]
    rival: str = ""
    in_textbooks: bool = False
    needs: str | None = None


WINDOW = (1, 5, 8, 64, 64)
"""First training window of PyraMiD-LSTM, the channels of its brains."""
XRAY = (1, 1, 1024, 1024)
TRIPLET = (1, 4, 3, 240, 240)
"""Three slices of four modalities (Tseng et al. 2017)."""
STREET = (1, 3, 360, 480)
HEART = (2, 1, 176, 176)
PATHS = (1, 1, 300, 300)
CROP = (1, 3, 32, 160, 192)
"""Of a brain with lesions (Zhang et al. 2019); the paper does not say its size."""

PATCHES = {"patch": 20, "stride": 10, "widths": (8, 16), "cell": 16}
MEMORY = {**PATCHES, "slots": 64, "word": 16, "heads": 4}
UNET3D = {"widths": (8, 16, 32), "groups": 8}
DRN = {"widths": (8, 8, 16, 16, 16, 16, 16, 16)}

KINDS: Mapping[str, Kind] = {
    "pyramid_lstm": Kind(WINDOW, 5, {"widths": (8, 8), "pixelwise": (8,), "kernel": 5}, "unet3d", in_textbooks=True),
    "md_lstm": Kind(WINDOW, 5, {"widths": (8, 8), "pixelwise": (8,)}, "unet3d"),
    "shamann": Kind(XRAY, 1, MEMORY, "unet", in_textbooks=True, needs="dnc"),
    "bi_mann": Kind(XRAY, 1, MEMORY, "unet", in_textbooks=True, needs="dnc"),
    "bi_lstm": Kind(XRAY, 1, PATCHES, "unet"),
    "no_memory": Kind(XRAY, 1, PATCHES),
    "cross_modality": Kind(TRIPLET, 5, {"widths": (8, 8, 8)}, "unet3d", in_textbooks=True),
    "encoder_decoder": Kind(TRIPLET, 5, {"widths": (8, 8, 8)}),
    "gamma_net": Kind(HEART, 1, {"filters": (8, 12, 16)}, "light_unet"),
    "hgru_classifier": Kind(PATHS, 2, {"channels": 8, "kernel": 7, "time_steps": 4}, "feed_forward_classifier"),
    "feed_forward_classifier": Kind(PATHS, 2, {"channels": 8}),
    "segnet": Kind(STREET, 11, {"widths": (8, 8, 8)}),
    "k_unet": Kind(WINDOW, 2, {"widths": (8, 16, 32)}, "unet3d", in_textbooks=True),
    "unet": Kind(XRAY, 1, {"widths": (8, 16, 32)}),
    "light_unet": Kind(HEART, 1, {"widths": (8, 16, 32)}),
    "unet3d": Kind(CROP, 2, UNET3D),
    "rsanet": Kind(CROP, 2, {**UNET3D, "placement": "111"}, "unet3d", in_textbooks=True),
    "non_local_unet3d": Kind(CROP, 2, {**UNET3D, "placement": "111"}),
    "drn_c_26": Kind(XRAY, 1, DRN),
    "drn_c_42": Kind(XRAY, 1, DRN),
    "monai_dynunet": Kind(CROP, 2, {"widths": (8, 16, 32)}),
    "monai_segresnet": Kind(CROP, 2, {"width": 8}),
}
"""Every built-in model."""


def case(name: str, kind: Kind, shape: tuple[int, ...], classes: int, options: Mapping[str, Any], **how: Any) -> Case:
    size = {"in_channels": shape[1], "num_classes": classes}
    return Case(
        partial(create_model, name, **size, **options),
        shape,
        network(kind.rival, **size) if kind.rival else None,
        kind.in_textbooks,
        kind.needs,
        **how,
    )


for _name, _kind in KINDS.items():
    _shape = IMAGE if len(_kind.paper) == 4 else VOLUME
    register("models:small", _name, case(_name, _kind, _shape, CLASSES, _kind.small))
    register("models:paper", _name, case(_name, _kind, _kind.paper, _kind.classes, {}, least=3), long=True)
