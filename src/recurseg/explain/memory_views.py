"""The traffic of a memory as pictures that a slider moves from clock to clock, a table and plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from recurseg.explain.memory_traffic import Traffic, evenness, sources
from recurseg.explain.patch_views import DECADES, chosen_clocks, footprint, lit, patch_of, slots_by_clocks, still
from recurseg.explain.pictures import Part, Picture, Table
from recurseg.explain.scene import Scene
from recurseg.models.patches import PatchGrid

FLAT = 0.9
"""Evenness above which a page says that reads tell little."""
ACROSS = 3
"""Most pictures in a row."""


class Shown(NamedTuple):
    """The traffic, and the clocks of it that are shown.

    Attributes:
        names: Of the actors.
        traffic: All of it.
        grid: The patches.
        clocks: Those that the slider offers.
        start: Step of the slider where the first actor reads the voxel's patch.
        shares: What each actor reads at those clocks by patch and writer, `(clocks, A, patches, A)`.
    """

    names: Sequence[str]
    traffic: Traffic
    grid: PatchGrid
    clocks: list[int]
    start: int
    shares: np.ndarray


def show_memory(scene: Scene, names: Sequence[str], traffic: Traffic, grid: PatchGrid) -> Shown:
    """Chooses clocks, those at which the voxel's patch is read among them, and finds where their reads come from."""
    own = [int(clock) for clock in (traffic.patches == patch_of(grid, scene.voxel)).argmax(axis=0)]
    clocks = chosen_clocks(len(traffic.patches), own)
    actors = range(len(names))
    shares = np.stack([np.stack([sources(traffic, clock, actor) for actor in actors]) for clock in clocks])
    return Shown(names, traffic, grid, clocks, clocks.index(own[0]), shares)


def memory_part(scene: Scene, shown: Shown) -> Part:
    """Pictures: whose writes each actor reads, and which slots are written, read and used."""
    names, (steps, patches, shared), clocks = shown.names, shown.traffic, shown.clocks
    actors = range(len(names))
    now = np.stack([footprint(shown.grid, patches[clock]) for clock in clocks])
    image = still(scene, scene.modalities[0], scene.channels[0], colours="grey", bound=now)

    def over_time(title: str, values: np.ndarray) -> list[Picture]:
        top = float(values.max())
        return [slots_by_clocks(f"{names[a]} {title}", values[:, a], clocks, top=top) for a in actors]

    def used(title: str, actor: int) -> Picture:
        return slots_by_clocks(f"{title}, linear from 0 to 1", steps.usage[:, actor], clocks, top=1.0, decades=0)

    writes, reads = over_time("writes", steps.write), over_time("reads", steps.read.mean(axis=2))
    rows = [[image, *(_sources(scene, shown, actor) for actor in actors)], writes, reads]
    if shared:
        writes.append(used("usage", -1))
    else:
        rows.append([used(f"{names[actor]} usage", actor) for actor in actors])
    text = (
        "At each clock every actor reads a patch, writes to the memory and reads from it, one after the other. First "
        "row: the patches of this clock, and those whose writes each actor now reads. A read is a sum over writes; "
        "the light of a patch is the size of its part, without what was erased, and the brightest patch of a clock "
        f"has full light. Below: how slots are written, read (mean of {steps.read.shape[2]} heads) and used; slots "
        "run down, clocks across, both counted from 0, and two lines frame the clock of the slider. All but "
        f"usage over {DECADES} powers of ten."
    )
    if len(clocks) < len(patches):
        text += f" Of {len(patches)} clocks the slider has {len(clocks)}, evenly spaced."
    if scene.dims == 3:
        text += " Light and outlines are those of all sections together."
    return Part(
        name="memory",
        title="What the actors write and read",
        text=text,
        rows=[row[first : first + ACROSS] for row in rows for first in range(0, len(row), ACROSS)],
        steps=[_step_name(names, shown.traffic, clock) for clock in clocks],
        start=shown.start,
        axis="Clock",
    )


def memory_numbers(shown: Shown) -> dict[str, Any]:
    """How slots are used over time, and by actor: how evenly it reads, and whose writes."""
    steps, _, shared = shown.traffic
    length, actors, heads, slots = steps.read.shape
    again = writes_again(shown.traffic)
    turnover = again.cumsum(axis=0)
    writes = np.arange(1, length + 1)[:, None] * np.ones(actors, int)
    if shared:
        turnover, writes = turnover.sum(axis=1, keepdims=True), writes.sum(axis=1, keepdims=True)
    by_writer = shown.shares.sum(axis=2).mean(axis=0)  # (A, A)
    return {
        "slots": slots,
        "heads": heads,
        "shared": shared,
        "clocks": length,
        "clocks_shown": shown.clocks,
        "slots_in_use": (writes - turnover).T.tolist(),
        "turnover": turnover.T.tolist(),
        "actors": [
            {
                "actor": name,
                "writes": length,
                "writes_to_used_slots": int(again[:, actor].sum()),
                "evenness_of_reads": float(evenness(steps.read[:, actor]).mean()),
                "read_from_own": float(by_writer[actor, actor]),
                "read_from_others": float(by_writer[actor].sum() - by_writer[actor, actor]),
            }
            for actor, name in enumerate(shown.names)
        ],
    }


def memory_table(numbers: dict[str, Any]) -> Table:
    """The same as a table, the exchange in one number."""
    in_use = " and ".join(str(slots[-1]) for slots in numbers["slots_in_use"])
    memory = "shared memory" if numbers["shared"] else "actors' own memories"
    text = (
        f"Of {numbers['slots']} slots of the {memory} {in_use} hold something at the end. Evenness: entropy of the "
        "heads' weights over its largest value, 100 % where every slot is read alike. Read from: shares of what is "
        "read by who wrote it, at the clocks of the slider; what comes from others is the exchange."
    )
    if np.mean([one["evenness_of_reads"] for one in numbers["actors"]]) > FLAT:
        text += " Reads are nearly even: close to the mean of the memory, whatever an actor asks for."

    def percent(share: float) -> str:
        return f"{100 * share:.1f} %"

    return Table(
        title="The memory in numbers",
        text=text,
        columns=["actor", "writes", "to used slots", "evenness of reads", "read from own", "read from others"],
        rows=[
            [
                one["actor"],
                str(one["writes"]),
                str(one["writes_to_used_slots"]),
                *(percent(one[key]) for key in ("evenness_of_reads", "read_from_own", "read_from_others")),
            ]
            for one in numbers["actors"]
        ],
    )


def writes_again(traffic: Traffic) -> np.ndarray:
    """Whether each write went to a slot already written to, bool `(T, A)`."""
    turnover = traffic.steps.turnover
    in_order = turnover.reshape(-1, 1) if traffic.shared else turnover
    return (np.diff(in_order, axis=0, prepend=0) > 0).reshape(turnover.shape)


def _sources(scene: Scene, shown: Shown, actor: int) -> Picture:
    """The image under the light of what an actor reads, coloured by whether it wrote that itself."""
    grid, patches, shared = shown.grid, shown.traffic.patches, shown.traffic.shared
    own = shown.shares[:, actor, :, actor]
    light = np.stack([own, shown.shares[:, actor].sum(axis=2) - own][: 1 + shared], axis=-1)
    light = light.reshape(len(light), -1, *grid.counts[-2:], 1 + shared).sum(axis=1)
    return lit(
        scene,
        f"{shown.names[actor]} reads what was written here",
        light / np.maximum(light.max(axis=(1, 2, 3), keepdims=True), 1e-12),
        grid,
        sources=("its own writes", "writes of others")[: 1 + shared],
        bound=np.stack([footprint(grid, patches[clock, actor : actor + 1]) for clock in shown.clocks]),
    )


def _step_name(names: Sequence[str], traffic: Traffic, clock: int) -> str:
    """Where each actor writes most, and whether that slot was free: "clock 4: forward → slot 8, new; ..."."""
    slots, again = traffic.steps.write[clock].argmax(axis=1), writes_again(traffic)[clock]
    each = zip(names, slots, again, strict=True)
    return f"clock {clock}: " + "; ".join(f"{n} → slot {slot}, {'again' if old else 'new'}" for n, slot, old in each)
