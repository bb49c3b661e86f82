"""SHAMANN and its relatives explained: what each actor says, and what it writes and reads, clock by clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recurseg.explain.actor_answers import answers_numbers, answers_part, answers_table
from recurseg.explain.exchange import listen
from recurseg.explain.memory_traffic import grid_of
from recurseg.explain.memory_views import memory_numbers, memory_part, memory_table, show_memory
from recurseg.explain.pictures import Part, Table
from recurseg.explain.registry import Inside, register_explainer
from recurseg.explain.scene import Scene
from recurseg.models.shamann import PatchReader


@register_explainer("shamann")
@register_explainer("bi_mann")
@register_explainer("bi_lstm")
@register_explainer("no_memory")
def explain_patch_reader(scene: Scene, progress: Callable[[float], None]) -> Inside:
    """Pictures and numbers of actors, of their memory, and of the exchange through it where they share one."""
    assert isinstance(scene.model, PatchReader)
    names = actor_names(scene.model.orders)
    said, traffic = listen(scene, names, lambda fraction: progress(0.7 * fraction))
    answers = answers_numbers(said)
    parts: list[Part | Table] = [answers_part(scene, said), answers_table(answers)]
    if traffic is None:
        return Inside(parts, {"answers": answers})
    shown = show_memory(scene, names, traffic, grid_of(scene.model, scene.image))
    memory = memory_numbers(shown)
    return Inside([*parts, memory_part(scene, shown), memory_table(memory)], {"answers": answers, "memory": memory})


def actor_names(orders: Sequence[str]) -> list[str]:
    """Actors by the order in which they read, numbered where several read in the same."""
    names = [order.replace("_", " ") for order in orders]
    return [f"{name} {names[:n].count(name) + 1}" if names.count(name) > 1 else name for n, name in enumerate(names)]
