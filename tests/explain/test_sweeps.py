"""What is said of the sweeps is true: pyramids where the geometry allows them, and nothing where a sweep is cut."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest
import torch
from scipy import ndimage

from recurseg.explain.gradient import input_gradient
from recurseg.explain.sweeps import cut, direction_name, pyramid_bound, sweep_contexts

CASES = {
    "image": ((6, 7), (2, 4), {}),
    "volume": ((4, 6, 7), (2, 3, 4), {}),
    "blocks": ((3, 8, 10), (1, 5, 4), {"block": (2, 2)}),
    "wide kernel": ((7, 9), (3, 6), {"kernel": 5}),
}


def contexts_of(scene):
    return sweep_contexts(scene, lambda fraction: None)


def reachable(shape, position, axis, backward, kernel):
    """Walks the sweep: at each plane the reached set grows by the recurrent kernel; the input's adds one more."""
    within = [1 if other == axis else kernel for other in range(len(shape))]
    reached, found = np.zeros(shape, bool), np.zeros(shape, bool)
    reached[position] = True
    for _ in range(shape[axis]):
        found |= ndimage.binary_dilation(reached, np.ones(within))
        before = np.roll(reached, 1 if backward else -1, axis)
        index = [slice(None)] * len(shape)
        index[axis] = 0 if backward else -1
        before[tuple(index)] = False
        reached = ndimage.binary_dilation(before, np.ones(within))
    return found


@pytest.mark.parametrize("case", CASES)
def test_each_direction_s_context_is_the_pyramid_that_its_kernels_reach(case, pyramid_scene):
    shape, voxel, options = CASES[case]
    scene = pyramid_scene(shape, voxel, **options)
    block = scene.model.block
    position = tuple(index // size for index, size in zip(voxel, block, strict=True))
    kernel = options.get("kernel", 3)
    for context in contexts_of(scene):
        expected = reachable(context.direct.shape, position, context.axis, context.backward, kernel)
        bound = pyramid_bound(
            context.direct.shape, position, axis=context.axis, backward=context.backward, kernel=kernel
        )
        np.testing.assert_array_equal(bound, expected)
        np.testing.assert_array_equal(context.direct > 0, expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_pyramids_of_one_layer_tile_the_whole_volume(dims):
    """Figure 2 of the paper: with a kernel of 3 every position is reached by some direction."""
    shape = (5, 6, 7)[:dims]
    bounds = [
        pyramid_bound(shape, tuple(size // 2 for size in shape), axis=d // 2, backward=d % 2 == 1, kernel=3)
        for d in range(2 * dims)
    ]
    assert np.logical_or.reduce(bounds).all()


@pytest.mark.parametrize("case", CASES)
def test_what_passes_a_sweep_of_the_last_layer_is_the_gradient_with_all_others_cut(case, pyramid_scene):
    shape, voxel, options = CASES[case]
    scene = pyramid_scene(shape, voxel, **options)
    last = scene.model.sweeps[-1]
    found = contexts_of(scene)[-2 * len(shape) :]
    for context in found:
        with ExitStack() as others:
            for direction in range(2 * len(shape)):
                if direction != context.direction:
                    others.enter_context(cut(last, direction))
            alone = input_gradient(scene).magnitude
        np.testing.assert_allclose(context.through, alone, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("layer", [0, 1])
def test_the_picture_changes_when_a_direction_is_cut_and_its_own_pyramid_is_gone(layer, pyramid_scene):
    scene = pyramid_scene((4, 6, 7), (2, 3, 4))
    before, gradient = contexts_of(scene), input_gradient(scene)
    for direction in range(6):
        number = 6 * layer + direction
        with cut(scene.model.sweeps[layer], direction):
            after, changed = contexts_of(scene), input_gradient(scene)
        assert before[number].direct.any()
        assert not after[number].direct.any()
        assert not after[number].through.any()
        assert not after[number].hidden.any()
        assert not np.allclose(changed.magnitude, gradient.magnitude, rtol=1e-3)
        assert changed.logit == pytest.approx(before[number].cut_logit, abs=1e-5)
        others = [n for n in range(6 * layer, 6 * layer + 6) if n != number]
        np.testing.assert_allclose(after[others[0]].hidden, before[others[0]].hidden)
    assert input_gradient(scene).logit == gradient.logit


def test_a_network_of_zeros_gives_a_flat_picture(pyramid_scene):
    scene = pyramid_scene((4, 6, 7), (2, 3, 4))
    with torch.no_grad():
        for parameter in scene.model.parameters():
            parameter.zero_()
    assert not input_gradient(scene).magnitude.any()
    for context in contexts_of(scene):
        assert not context.direct.any()
        assert not context.through.any()
        assert not context.hidden.any()


def test_hidden_states_of_all_directions_sum_to_the_layer_s_output(pyramid_scene):
    sweep = pyramid_scene((4, 6, 7), (2, 3, 4), double_bias=True).model.sweeps[0]
    x = torch.randn(2, 1, 3, 5, 4)
    whole, _ = sweep(x)
    torch.testing.assert_close(sum(sweep.hidden(x, direction) for direction in range(6)), whole)


def test_a_sweep_has_no_context_from_planes_that_it_has_not_passed(pyramid_scene):
    scene = pyramid_scene((4, 6, 7), (2, 3, 4))
    from_above = next(c for c in contexts_of(scene) if direction_name(c.direction, 3) == "from above")
    assert from_above.direct[:, :4].any()
    assert not from_above.direct[:, 4:].any()


def test_looking_leaves_the_model_as_it_was(pyramid_scene):
    scene = pyramid_scene((6, 7), (2, 4))
    before = {name: value.clone() for name, value in scene.model.state_dict().items()}
    logits = scene.model(scene.image)
    contexts_of(scene)
    assert all(torch.equal(before[name], value) for name, value in scene.model.state_dict().items())
    assert torch.equal(scene.model(scene.image), logits)
    assert all(parameter.grad is None for parameter in scene.model.parameters())
