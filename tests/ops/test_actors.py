from functools import partial

import pytest
import torch

from recurseg.ops.actors import ActorState, ActorWeights, Reading, fast, reference
from recurseg.ops.memory import Access, empty_memory
from recurseg.ops.memory import reference as memory_reference

CPU = torch.device("cpu")


def arguments(*, actors=2, batch=2, clocks=4, size=6, slots=7, merge="linear", feed_hidden=False, shared=True):
    torch.manual_seed(0)
    access = Access(word=5, heads=3)
    heads = access.heads * access.word
    merged = {"linear": size, "concat": heads, "mean": access.word}[merge]

    def make(*shape):
        return (torch.randn(*shape) * shape[-1] ** -0.5).requires_grad_()

    def linear_merge(*shape):
        return make(*shape) if merge == "linear" else None

    weights = [
        ActorWeights(
            make(4 * size, size + merged + size),
            make(4 * size),
            make(access.size, size),
            make(access.size),
            linear_merge(merged, heads),
            linear_merge(merged),
            make(size, size + merged),
            make(size),
        )
        for _ in range(actors)
    ]
    states = [ActorState(make(batch, merged), make(batch, size), make(batch, size)) for _ in range(actors)]
    memories = batch if shared else actors * batch
    content = empty_memory(access, memories, slots, CPU)._replace(content=make(memories, slots, access.word))
    return make(actors, batch, clocks, size), weights, states, content, Reading(access, merge, feed_hidden)


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
@pytest.mark.parametrize("feed_hidden", [False, True], ids=["g", "h"])
@pytest.mark.parametrize("merge", ["linear", "concat", "mean"])
@pytest.mark.parametrize(("actors", "batch", "clocks"), [(1, 1, 1), (2, 3, 4), (3, 2, 3)])
def test_fast_equals_the_paper_s_equations_in_outputs_states_and_gradients(
    actors, batch, clocks, merge, feed_hidden, shared
):
    x, weights, states, start, reading = arguments(
        actors=actors, batch=batch, clocks=clocks, merge=merge, feed_hidden=feed_hidden, shared=shared
    )
    inputs = [x, start.content, *(t for own in (*states, *weights) for t in own if t is not None)]
    slow, found = partial(reference.read_sequences, access_memory=memory_reference.memory_step), []
    for op in (slow, fast.read_sequences):
        outputs, finals, left = op(x, weights, states, start, reading)
        results = [outputs, left.content, *(t for own in finals for t in own)]
        torch.manual_seed(1)
        loss = sum((t * torch.randn(t.shape)).sum() for t in results)
        found.append([*results, left.usage, left.written, *torch.autograd.grad(loss, inputs)])
        assert left.writes == clocks * (actors if shared else 1)
    for ours, paper in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(ours, paper, rtol=1e-3, atol=2e-5)


def test_a_sequence_in_two_chunks_equals_the_whole():
    x, weights, states, start, reading = arguments(clocks=5)
    whole, final, left = fast.read_sequences(x, weights, states, start, reading)
    first, *carried = fast.read_sequences(x[:, :, :2], weights, states, start, reading)
    second, final_2, left_2 = fast.read_sequences(x[:, :, 2:], weights, *carried, reading)
    torch.testing.assert_close(torch.cat([first, second], 2), whole)
    torch.testing.assert_close(left_2.content, left.content)
    torch.testing.assert_close(final_2[1].cell, final[1].cell)


def test_an_actor_sees_what_another_wrote_at_the_same_clock():
    x, weights, states, start, reading = arguments(clocks=1)
    changed = x.detach().clone()
    changed[0] += 1
    outputs = [fast.read_sequences(inputs, weights, states, start, reading)[0] for inputs in (x, changed)]
    assert (outputs[0][1] - outputs[1][1]).abs().max() > 1e-4
    changed = x.detach().clone()
    changed[1] += 1
    again = fast.read_sequences(changed, weights, states, start, reading)[0]
    assert torch.equal(again[0], outputs[0][0])


def test_threads_change_nothing():
    arguments_ = arguments(batch=5)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            outputs = fast.read_sequences(*arguments_)[0]
            found.append([outputs, torch.autograd.grad(outputs.square().sum(), arguments_[0])[0]])
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found[0], found[1])
