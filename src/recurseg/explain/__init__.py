"""What the recurrence did: where an answer came from, as numbers and as pictures that a report draws."""

from recurseg.explain.case import explain_case, open_case
from recurseg.explain.pictures import Curve, Explanation, Part, Picture, Table
from recurseg.explain.registry import Inside, register_explainer
from recurseg.explain.scene import Scene

__all__ = [
    "Curve",
    "Explanation",
    "Inside",
    "Part",
    "Picture",
    "Scene",
    "Table",
    "explain_case",
    "open_case",
    "register_explainer",
]
