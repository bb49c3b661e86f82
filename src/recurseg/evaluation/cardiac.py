"""Clinical numbers of hearts: volumes, mass and ejection fraction of each patient, predicted and from the labels."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from recurseg.data.files import write_text
from recurseg.evaluation.agreement import Agreeing, Pair, Quantity
from recurseg.evaluation.tables import agreement_table

DENSITY = 1.05
"""Of myocardium, in g/ml."""


@dataclass(frozen=True)
class HeartQuantity(Quantity):
    """A clinical number in ml, g or %.

    Attributes:
        role: The structure that it is of, "LV", "RV" or "myocardium".
        measure: (size at ED, size at ES) → value; a size is in ml, of the ejection fraction in any unit.
    """

    role: str
    measure: Callable[[float, float], float]


def ejection_fraction(edv: float, esv: float) -> float:
    """100·(EDV − ESV) / EDV in per cent, nan without EDV; any unit of volume, negative where ES is the larger."""
    return 100 * (edv - esv) / edv if edv else float("nan")


def _of_ventricle(role: str, what: str) -> list[HeartQuantity]:
    low = role.lower()
    return [
        HeartQuantity(f"{low}_edv_ml", f"{role} EDV", "ml", f"volume of the {what} at ED", role, lambda ed, _: ed),
        HeartQuantity(f"{low}_esv_ml", f"{role} ESV", "ml", f"volume of the {what} at ES", role, lambda _, es: es),
        HeartQuantity(f"{low}_sv_ml", f"{role} SV", "ml", "EDV − ESV", role, lambda ed, es: ed - es),
        HeartQuantity(f"{low}_ef_percent", f"{role} EF", "%", "100·(EDV − ESV) / EDV", role, ejection_fraction),
    ]


QUANTITIES = {
    quantity.id: quantity
    for quantity in (
        *_of_ventricle("LV", "left ventricle's cavity"),
        *_of_ventricle("RV", "right ventricle's cavity"),
        HeartQuantity("myo_ed_ml", "myocardium at ED", "ml", "volume at ED", "myocardium", lambda ed, _: ed),
        HeartQuantity("myo_es_ml", "myocardium at ES", "ml", "volume at ES", "myocardium", lambda _, es: es),
        HeartQuantity(
            "myo_mass_g",
            "myocardial mass",
            "g",
            f"volume at ED · {DENSITY} g/ml",
            "myocardium",
            lambda ed, _: DENSITY * ed,
        ),
    )
}
"""Every clinical number by id, in the order in which tables show them."""
PLOTTED = ("lv_edv_ml", "lv_esv_ml", "lv_ef_percent", "myo_mass_g", "rv_edv_ml", "rv_esv_ml", "rv_ef_percent")
"""Those that are plotted; others follow from them."""


@dataclass(frozen=True)
class Cardiac(Agreeing):
    """Clinical numbers of patients.

    Attributes:
        patients: Patient → id of a quantity → (prediction, label), nan where undefined.
    """

    one: ClassVar[str] = "patient"
    what: ClassVar[str] = "hearts"

    patients: dict[str, dict[str, Pair]]

    @property
    def ids(self) -> list[str]:
        return list(self.patients)

    @property
    def quantities(self) -> list[HeartQuantity]:
        held = {id for numbers in self.patients.values() for id in numbers}
        return [quantity for id, quantity in QUANTITIES.items() if id in held]

    @property
    def plotted(self) -> list[HeartQuantity]:
        measured = {quantity.id: quantity for quantity in self.quantities}
        return [measured[id] for id in PLOTTED if id in measured]

    def pairs(self, quantity: str) -> dict[str, Pair]:
        return {patient: numbers[quantity] for patient, numbers in self.patients.items() if quantity in numbers}

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain data, with null for undefined values."""
        return {
            "quantities": {q.id: {"unit": q.unit, "definition": q.definition} for q in self.quantities},
            "agreement": {id: found.as_dict() for id, found in self.agreement.items()},
            "patients": {
                patient: {
                    id: {"prediction": _or_null(found), "label": _or_null(expected)}
                    for id, (found, expected) in numbers.items()
                }
                for patient, numbers in self.patients.items()
            },
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Cardiac:
        """Reads what `as_dict` returns."""
        return cls(
            {
                patient: {id: (_or_nan(two["prediction"]), _or_nan(two["label"])) for id, two in numbers.items()}
                for patient, numbers in document["patients"].items()
            }
        )

    def table(self) -> Any:
        """Returns a `rich.table.Table`: a line a quantity, predictions against labels."""
        return agreement_table(self)

    def to_csv(self, path: Path | str) -> Path:
        """Writes the table of patients (patient, quantity, prediction, label, difference, unit), returns its path."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["patient", "quantity", "prediction", "label", "difference", "unit"])
        for patient, numbers in self.patients.items():
            for id, (found, expected) in numbers.items():
                writer.writerow([patient, id, found, expected, found - expected, QUANTITIES[id].unit])
        write_text(Path(path), stream.getvalue())
        return Path(path)


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)
