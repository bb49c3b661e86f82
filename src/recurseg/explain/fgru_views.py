"""The steps of a gamma-Net as pictures, curves, tables and plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from recurseg.explain.answers import LEAST_CHANGE, answer_map, dice, labels
from recurseg.explain.cine import shown_frame
from recurseg.explain.fgru import Gate, Place, Step
from recurseg.explain.fusion_views import percent
from recurseg.explain.pictures import Curve, Part, Picture, Table
from recurseg.explain.scene import Scene
from recurseg.explain.views import chosen_planes

ACROSS = 3
"""Pictures side by side whose outlines are to be seen."""
MOST_COLOURS = 6
"""Classes that one picture tells apart by colour."""
WAYS = {"down": "on the way down", "up": "on the way up"}


class StepViews:
    """Pictures of a scene that a slider over steps moves; of many steps it has evenly spaced ones."""

    def __init__(self, scene: Scene, steps: Sequence[Step]) -> None:
        self.scene, self.steps = scene, steps
        self.still = shown_frame(scene)
        self.own = len(steps) - 1 if scene.at_once is None else scene.voxel[0]
        self.walk = "Step" if scene.at_once is None else "Frame"
        self.chosen = chosen_planes(len(steps), self.own)
        self.probabilities = [answer_map(scene, step.logits) for step in steps]
        self.labels = [labels(step.logits) for step in steps]

    def picture(self, title: str, values: Sequence[np.ndarray], *, outlined: bool = False, **options: Any) -> Picture:
        """A picture a step, `(H, W)` or `(H, W, N)` each; the explained class is outlined where asked."""
        bound = [self.labels[step] == self.scene.target for step in self.chosen] if outlined else None
        row, column = self.still.voxel
        height, width = self.still.spacing
        return Picture(
            title=title,
            values=np.stack([values[step] for step in self.chosen]).astype(np.float32),
            mark=(row, column),
            bound=None if bound is None else np.stack(bound),
            pixel=(height, width),
            **options,
        )

    def image(self) -> Picture:
        """What is seen at each step, with the explained class outlined as it is after it."""
        channels, first = self.scene.channels, self.scene.there[0]
        seen = [channels[first] if self.scene.at_once is None else channels[first, n] for n in range(len(self.steps))]
        return self.picture(f"{self.scene.modalities[first]} and outline", seen, colours="grey", outlined=True)

    def part(self, name: str, title: str, text: str, rows: Sequence[Sequence[Picture]]) -> Part:
        """Rows of such pictures with their slider."""
        names = [self.steps[step].name for step in self.chosen]
        start = self.chosen.index(self.own)
        return Part(name, title, text, rows, steps=names, start=start, axis=self.walk)

    def curve(self, name: str, title: str, text: str, lines: dict[str, list[float]]) -> Curve:
        """Lines over all steps."""
        names = [step.name.split()[-1] for step in self.steps]
        return Curve(name, title, text, names, self.walk.lower(), lines, self.own)


def steps_part(views: StepViews) -> Part:
    """What the network says after each step, and what that step changed (figure 2.4 of the thesis)."""
    scene, found = views.scene, views.probabilities
    name = scene.class_names[scene.target]
    changes = [np.zeros_like(found[0]), *(np.abs(after - before) for before, after in pairwise(found))]
    top = max(LEAST_CHANGE, *(float(change.max()) for change in changes))
    row = [views.image(), views.picture(f"probability of {name}", found)]
    classes = list(range(1, len(scene.class_names)))
    coloured = ""
    if len(classes) <= MOST_COLOURS:
        each = [np.stack([step == one for one in classes], axis=-1) for step in views.labels]
        names = tuple(scene.class_names[1:])
        row.append(views.picture("classes", each, colours="mixed", sources=names))
        coloured = " Colours are those of the classes."
    row.append(views.picture("|change| since the one before", changes, top=top))
    if scene.at_once is None:
        text = (
            "The network sees the image again at every step, and its levels keep what they found. Shown is what "
            f"would be read out after each; the last is the answer.{coloured} The scale of changes ends at {top:.2g}."
        )
    else:
        text = (
            "The network sees a frame at every step, and its levels keep what they found in those before: "
            f"{_order(views)}. Shown is what is read out after each; the explained frame is "
            f"{scene.frame}.{coloured} What changes is motion and second thoughts together, on a scale that ends at "
            f"{top:.2g}."
        )
    return views.part("steps", f"The answer, {views.walk.lower()} by {views.walk.lower()}", text, [row])


def steps_numbers(views: StepViews) -> list[dict[str, Any]]:
    """The answer after each step, and how it differs from the one before and from the explained one."""
    still, numbers, last = views.still, [], views.labels[views.own]
    for n, step in enumerate(views.steps):
        found, said = views.probabilities[n], views.labels[n]
        change = np.abs(found - views.probabilities[n - 1]) if n else None
        numbers.append(
            {
                "step": step.name,
                "probability": float(found[still.voxel]),
                "class": still.class_names[int(said[still.voxel])],
                "change": None if change is None else float(change.mean()),
                "change_at_most": None if change is None else float(change.max()),
                "other_class": None if change is None else float((said != views.labels[n - 1]).mean()),
                "dice": dice(said == still.target, last == still.target),
                "activity": [float(level.mean()) for level in step.activity],
            }
        )
    return numbers


def steps_curve(views: StepViews, numbers: Sequence[dict[str, Any]]) -> Curve:
    """How much each step changes."""
    lines = {"change": "mean |change| of probability", "other_class": "share of pixels relabelled"}
    title, text = "What each step still changes", "a network that has converged changes nothing more."
    if views.scene.at_once is not None:
        title, text = "What each frame changes", "at first what is unknown comes to rest, then motion is left."
    return views.curve(
        "steps_change",
        title,
        f"Against the {views.walk.lower()} before, over the window; {text}",
        {said: [np.nan if one[key] is None else one[key] for one in numbers] for key, said in lines.items()},
    )


def steps_table(views: StepViews, numbers: Sequence[dict[str, Any]]) -> Table:
    """The same as a table."""
    name = views.scene.class_names[views.scene.target]

    def cells(one: dict[str, Any]) -> list[str]:
        change = ["–"] * 3
        if one["change"] is not None:
            change = [f"{one['change']:.2g}", f"{one['change_at_most']:.2g}", f"{100 * one['other_class']:.2g} %"]
        return [f"{one['probability']:.3f}", *change, "–" if one["dice"] is None else f"{one['dice']:.3f}"]

    return Table(
        title=f"The answer, {views.walk.lower()} by {views.walk.lower()}, in numbers",
        text=(
            f"At the voxel: the class, and the probability of {name}. Change: the mean and the largest absolute "
            "difference of probabilities to the one before. Relabelled: pixels that get another class. Dice: of "
            f"{name}, to the answer that is explained."
        ),
        columns=[views.walk.lower(), "at the voxel", "probability", "change", "at most", "relabelled", "Dice"],
        rows=[[one["step"].replace(" ", "\u00a0"), one["class"], *cells(one)] for one in numbers],
    )


def activity_part(views: StepViews) -> Part:
    """The states of all levels after each step."""
    levels = list(zip(*(step.activity for step in views.steps), strict=True))

    def of(level: int, maps: Sequence[np.ndarray]) -> Picture:
        top = max(float(one.max()) for one in maps)
        return views.picture(f"{level_name(level)}: at most {top:.2g}", maps, top=top, outlined=True)

    pictures = [views.image(), *(of(level, maps) for level, maps in enumerate(levels))]
    return views.part(
        "activity",
        "Hidden activity of each level",
        "The mean over channels of the magnitude of each level's state after each step, each level on a scale of its "
        "own, enlarged to the image. The line is the explained class as it is said after the step.",
        [pictures[first : first + ACROSS] for first in range(0, len(pictures), ACROSS)],
    )


def activity_curve(views: StepViews) -> Curve:
    """How active each level is after each step."""
    levels = zip(*(step.activity for step in views.steps), strict=True)
    return views.curve(
        "activity_curve",
        "Hidden activity over time",
        "The mean over the window of the pictures above, a line a level.",
        {level_name(level): [float(one.mean()) for one in maps] for level, maps in enumerate(levels)},
    )


def gates_part(views: StepViews) -> Part:
    """Where each cell attends, what gate comes of it, and what that holds back."""
    places = list(max((step.gates for step in views.steps), key=len))
    rows = [
        row
        for way in WAYS
        for row in _gate_rows(views, [place for place in places if place.way == way])
        if any(place.way == way for place in places)
    ]
    first = min(len(step.gates) for step in views.steps) < len(places)
    return views.part(
        "gates",
        "What attention looks for, and holds back",
        "Before a cell's state inhibits its surround it is gated. Attention says where, in one map for all channels; "
        "with what each channel looks for that makes the gate, here its mean over channels; and what the gate takes "
        "away from the state's magnitude is held back: it takes no part in the inhibition. Grey runs from the lowest "
        "to the highest value of all steps, which the title says."
        + (" At the first step the way down has no state yet, and nothing to gate." if first else ""),
        rows,
    )


def gates_numbers(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The share of its state that each cell holds back at each step; None where it has none."""
    places = list(max((step.gates for step in steps), key=len))
    return [
        {
            "way": place.way,
            "level": place.level + 1,
            "held_back": [step.gates[place].share if place in step.gates else None for step in steps],
        }
        for place in places
    ]


def level_name(level: int) -> str:
    """ "level 1, full" or "level 3, 1/4"."""
    return f"level {level + 1}, {f'1/{2**level}' if level else 'full'}"


def _gate_rows(views: StepViews, places: Sequence[Place]) -> list[list[Picture]]:
    def of(place: Place, what: str, colours: str) -> Picture:
        gates: list[Gate | None] = [step.gates.get(place) for step in views.steps]
        maps = [getattr(gate, what) for gate in gates if gate is not None]
        low, high = min(float(one.min()) for one in maps), max(float(one.max()) for one in maps)
        empty = np.full_like(maps[0], low if colours == "grey" else 0)
        filled = [empty if gate is None else getattr(gate, what) for gate in gates]
        last = gates[views.own]
        told = {
            "where": f"attends, {low:.2g} to {high:.2g}".replace("-", "−"),
            "gate": f"gate, {low:.2g} to {high:.2g}".replace("-", "−"),
            "held_back": "held back" + ("" if last is None else f": {percent(last.share)}"),
        }
        title = f"{level_name(place.level).split(',')[0]} {place.way}: {told[what]}"
        return views.picture(title, filled, colours=colours, top=high)

    kinds = {"where": "grey", "gate": "grey", "held_back": "heat"}
    ordered = sorted(places, key=lambda place: place.level)
    return [[of(place, what, colours) for place in ordered] for what, colours in kinds.items()]


def _order(views: StepViews) -> str:
    names = [step.name.split()[-1] for step in views.steps]
    if len(names) > MOST_COLOURS:
        return f"frames {names[0]} to {names[-1]}"
    return f"frames {', '.join(names)}"
