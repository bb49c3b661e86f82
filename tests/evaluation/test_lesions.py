"""Lesion metrics: worked by hand, against a second way to count, and through `evaluate`."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from recurseg.errors import ConfigError, DataError
from recurseg.evaluation import METRICS, compare, evaluate
from recurseg.evaluation.lesions import Rule, Size, detected, match_lesions, named_lesions, sizes_of
from recurseg.evaluation.metrics import choose

MASKS = arrays(bool, st.tuples(*[st.integers(1, 6)] * 3), elements=st.booleans())
PAIRS = MASKS.flatmap(lambda mask: st.tuples(st.just(mask), arrays(bool, mask.shape, elements=st.booleans())))
PLANES = arrays(bool, (7, 6), elements=st.booleans())
BINARY = ["background", "lesion"]


def line(text: str) -> np.ndarray:
    """A row of voxels, "x" lesion, "?" ignored, as a volume of one row."""
    return np.array([[[{"x": 1, "?": 255}.get(voxel, 0) for voxel in text]]], np.uint8)


def rates(prediction, reference, rule="any_overlap_26", size="", spacing=(1.0, 1.0, 1.0)):
    if isinstance(prediction, str):
        prediction, reference = line(prediction), line(reference)
    ids = [f"lesion_{rate}:{rule}{size}" for rate in ("tpr", "fpr", "f1")]
    return tuple(METRICS[id](prediction, reference, spacing) for id in ids)


def exactly(*values):
    return pytest.approx(values, nan_ok=True)


# By hand


def test_found_false_and_missed_lesions():
    # of three lesions the first is found, of two predicted ones the second is false: 2·(1/3)·(1/2) / (1/3 + 1/2)
    assert rates("xx...x....", "xx.x.....x") == exactly(1 / 3, 1 / 2, 0.4)


def test_one_predicted_lesion_over_two_finds_both_and_is_right_once():
    assert rates("xxxxx", "xx.xx") == exactly(1, 0, 1)


def test_two_predicted_lesions_in_one_find_it_and_are_both_right():
    assert rates("xx.xx", "xxxxx") == exactly(1, 0, 1)


def test_side_by_side_is_no_overlap():
    assert rates("..xx", "xx..") == exactly(0, 1, 0)


def test_lesions_at_the_borders_count_like_others():
    assert rates("x......x", "x......x") == exactly(1, 0, 1)
    corner = np.zeros((3, 4, 5), bool)
    corner[0, 0, 0] = corner[-1, -1, -1] = True
    assert rates(corner, corner) == exactly(1, 0, 1)
    half = corner.copy()
    half[0, 0, 0] = False
    assert rates(half, corner) == exactly(1 / 2, 0, 2 / 3)


def test_empty_masks_follow_the_rule_of_the_house():
    assert rates("....", "....") == exactly(math.nan, math.nan, math.nan)
    assert rates("x...", "....") == exactly(0, 1, 0), "false positives on an empty reference count"
    assert rates("....", "x...") == exactly(0, 1, 0), "so does a miss"


def test_ignored_voxels_are_lesion_on_neither_side():
    assert rates("x..xx", "x..??") == exactly(1, 0, 1), "what is predicted there is not false"
    assert rates("xxxxx", "xx?xx") == exactly(1, 0, 1)
    matched = match_lesions(line("xxxxx"), line("xx?xx"))
    assert len(matched.prediction.voxels) == 2, "ignored voxels cut a lesion in two"


@pytest.mark.parametrize(
    ("shift", "joined_by"), [((0, 0, 1), (6, 18, 26)), ((0, 1, 1), (18, 26)), ((1, 1, 1), (26,))], ids=str
)
def test_faces_edges_and_corners_join_lesions(shift, joined_by):
    pair = np.zeros((3, 3, 3), bool)
    pair[0, 0, 0] = pair[shift] = True
    for connectivity in (6, 18, 26):
        found = match_lesions(pair, pair, connectivity=connectivity).reference.voxels
        assert len(found) == (1 if connectivity in joined_by else 2)


def test_in_a_plane_6_means_four_neighbours_and_the_others_eight():
    diagonal = np.eye(3, dtype=bool)
    assert [len(match_lesions(diagonal, diagonal, connectivity=c).reference.voxels) for c in (6, 18, 26)] == [3, 1, 1]


def test_a_rule_may_ask_for_a_share_of_the_lesion_on_either_side():
    # 2 of 5 reference voxels are predicted; 2 of 8 predicted ones are right
    prediction, reference = "...xxxxxxxx", "xxxxx......"
    assert rates(prediction, reference, "overlap_0.25_26") == exactly(1, 0, 1)
    assert rates(prediction, reference, "overlap_0.4_26") == exactly(1, 1, 0)
    assert rates(prediction, reference, "overlap_0.41_26") == exactly(0, 1, 0)


def test_the_share_may_lie_in_several_lesions_together():
    assert rates("xx.xx", "xxxxx", "overlap_0.8_26") == exactly(1, 0, 1)
    assert rates("xx.xx", "xxxxx", "overlap_0.81_26")[0] == 0


@pytest.mark.parametrize("share", [0.1, 0.29, 0.55, 0.57, 0.7])
def test_a_share_that_is_just_reached_counts(share):
    whole, part = np.ones((1, 1, 100), bool), np.zeros((1, 1, 100), bool)
    part[..., : round(100 * share)] = True
    assert rates(part, whole, f"overlap_{share}_26")[0] == 1


def test_sizes_take_each_side_by_its_own_volume():
    # reference of 1, 3 and 5 voxels of 10 mm³; the prediction misses the 1, has 1 of 3, the 5 whole, a false 2
    reference, prediction = line("x..xxx..xxxxx....."), line("....x...xxxxx...xx")
    spacing = (1.0, 2.0, 5.0)
    assert rates(prediction, reference, size=":to_30mm3", spacing=spacing) == exactly(1 / 2, 1 / 2, 1 / 2)
    assert rates(prediction, reference, size=":30_to_150mm3", spacing=spacing) == exactly(1, 0, 1)
    assert rates(prediction, reference, size=":over_150mm3", spacing=spacing) == exactly(math.nan, math.nan, math.nan)


def test_a_size_that_one_side_lacks_is_the_worst_where_the_other_is_unmatched():
    missed, merged = ("....", "x..."), ("xxx.", "x.x.")
    assert rates(*missed, size=":to_1mm3") == exactly(0, 1, 0)
    assert rates(*merged, size=":to_1mm3") == exactly(1, math.nan, math.nan), "both are found by a larger one"
    assert rates("x.xx.", ".....", size=":to_1mm3") == exactly(0, 1, 0)


def test_bounds_hold_for_spacings_in_single_precision():
    lesion = np.zeros((4, 4, 4), bool)
    lesion[0, 0, :] = lesion[1, 0, :3] = lesion[2, 0, :3] = True  # 10 voxels
    spacing = [float(np.float32(s)) for s in (0.3, 0.1, 100.00001)]
    assert math.prod(spacing) * 10 > 30
    assert rates(lesion, lesion, size=":to_30mm3", spacing=spacing)[0] == 1


# A second way to count


def numbered(mask, steps):
    """The components that scipy finds, numbered from 1; neighbours are `steps` axes apart at most."""
    numbers = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, steps), output=numbers)
    return numbers


def counted_again(prediction, reference, connectivity, least=0.0):
    """Loops over the components that scipy finds."""
    matched = [
        [other[own == n].any() and other[own == n].mean() >= least for n in range(1, own.max() + 1)]
        for side, other in ((reference, prediction), (prediction, reference))
        for own in [numbered(side, {6: 1, 18: 2, 26: 3}[connectivity])]
    ]
    return len(matched[0]), sum(matched[0]), len(matched[1]), matched[1].count(False)


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.sampled_from([6, 18, 26]), st.sampled_from([0.0, 0.25, 0.5]))
def test_lesions_found_and_false_ones_are_those_that_scipy_counts(pair, connectivity, least):
    prediction, reference = pair
    matched = match_lesions(prediction, reference, connectivity=connectivity)
    assert detected(matched, Rule(connectivity, least)) == counted_again(prediction, reference, connectivity, least)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 3, 3), (7, 1, 5), (5, 7)], ids=str)
def test_voxels_that_alternate_are_a_lesion_each(shape):
    lattice = (np.indices(shape) % 2 == 0).all(axis=0)
    assert len(match_lesions(lattice, lattice).reference.voxels) == lattice.sum()


@settings(max_examples=60, deadline=None)
@given(PLANES, PLANES, st.sampled_from([(6, 1), (18, 2), (26, 2)]))
def test_an_image_has_as_many_lesions_as_scipy_counts(prediction, reference, ways):
    connectivity, steps = ways
    found = match_lesions(prediction, reference, connectivity=connectivity).reference.voxels
    assert len(found) == numbered(reference, steps).max()


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.sampled_from(["any_overlap_26", "overlap_0.5_6"]))
def test_precision_is_the_sensitivity_of_the_other_side(pair, rule):
    prediction, reference = pair
    one, two = rates(prediction, reference, rule), rates(reference, prediction, rule)
    assert 1 - one[1] == pytest.approx(two[0], nan_ok=True)
    assert one[2] == pytest.approx(two[2], nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_the_sizes_together_are_all_lesions(pair):
    prediction, reference = pair
    matched = match_lesions(prediction, reference, (1.0, 2.0, 1.0))
    by_size = [detected(matched, Rule(), size) for size in sizes_of((4, 20)).values()]
    assert tuple(map(sum, zip(*by_size, strict=True))) == detected(matched, Rule())


def test_a_brain_takes_less_than_two_seconds():
    rng = np.random.default_rng(0)
    reference = ndimage.gaussian_filter(rng.random((182, 218, 182), np.float32), 1.5) > 0.56
    prediction = np.roll(reference, 1, axis=0)
    start = time.perf_counter()
    matched = match_lesions(prediction, reference, (1.0, 1.0, 1.0))
    detected(matched, Rule(), Size(0, 30))
    assert time.perf_counter() - start < 2
    assert len(matched.reference.voxels) == numbered(reference, 3).max() > 1000


# Ids, rules and names


@pytest.mark.parametrize(
    "id", ["lesion_tpr:any_overlap_18", "lesion_f1:overlap_0.1_6", "lesion_fpr:any_overlap_26:30.5_to_150mm3"]
)
def test_an_id_says_rule_and_size(id):
    (metric,) = choose([id])
    assert metric.id == id
    assert metric is METRICS[id]
    assert metric.needs_mm == ("mm3" in id)
    assert "-connected" in metric.definition


@pytest.mark.parametrize(
    "id",
    [
        "lesion_tpr",
        "lesion_tpr:any_overlap_27",
        "lesion_tpr:overlap_0_26",
        "lesion_tpr:overlap_2_26",
        "lesion_tpr:any_overlap_26:small",
        "lesion_tpr:any_overlap_26:to_30mm3:to_30mm3",
        "lesion_iou:any_overlap_26",
    ],
)
def test_what_is_no_id_is_refused_with_the_nearest(id):
    assert id not in METRICS
    with pytest.raises(ConfigError, match=r"unknown metric .* did you mean 'lesion_"):
        choose([id])


def test_rules_and_sizes_read_what_they_write():
    for text in ("any_overlap_26", "overlap_0.1_18", "overlap_1_6"):
        assert str(Rule.read(text)) == text
    assert Size.read("30_to_150mm3") == Size(30, 150)
    assert sizes_of((30, 150))["large"] == Size.read("over_150mm3")


def test_classes_are_lesions_by_their_names():
    names = ["lesion", "White_Matter-Lesions", "new lesion", "lesional rim", "tumour"]
    assert named_lesions(names) == names[:3]


# Through `evaluate`


def volume(*places):
    """A mask of (8, 8, 8) with a lesion at each place: (corner, edge length)."""
    mask = np.zeros((8, 8, 8), np.uint8)
    for corner, edge in places:
        mask[tuple(slice(start, start + edge) for start in corner)] = 1
    return mask


SMALL, LARGE, EXTRA = ((0, 0, 0), 1), ((3, 3, 3), 3), ((7, 7, 7), 1)
LABELS = {"a": volume(SMALL, LARGE), "b": volume(LARGE), "healthy": volume()}
FOUND = {"a": volume(LARGE), "b": volume(LARGE, EXTRA), "healthy": volume(EXTRA)}
MM = (2.0, 1.0, 1.0)


def test_lesions_are_measured_where_a_class_is_called_so():
    found = evaluate(FOUND, LABELS, class_names=BINARY, spacing=MM)
    assert found.by_case("lesion_tpr:any_overlap_26") == {"a": 0.5, "b": 1, "healthy": 0}
    assert found.by_case("lesion_fpr:any_overlap_26") == {"a": 0, "b": 0.5, "healthy": 1}
    assert found.value("lesion_f1:any_overlap_26") == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert found.lesions is not None
    assert found.lesions.pairs("lesion_count") == {"a": (1, 2), "b": (2, 1), "healthy": (1, 0)}
    assert found.lesions.pairs("lesion_load_ml") == {
        "a": exactly(0.054, 0.056), "b": exactly(0.056, 0.054), "healthy": exactly(0.002, 0),
    }  # fmt: skip
    assert found.lesions.agreement["lesion_count"].bias == pytest.approx(1 / 3)


def test_lesions_of_all_cases_are_added_for_the_table_of_sizes():
    found = evaluate(FOUND, LABELS, class_names=BINARY, spacing=MM).lesions
    assert found is not None
    whole, small, medium, large = (found.detection["lesion", size] for size in ("all", "small", "medium", "large"))
    assert whole.counts == (3, 2, 4, 2)
    assert (small.counts, medium.counts, large.counts) == ((1, 0, 2, 2), (2, 2, 2, 0), (0, 0, 0, 0))
    assert {name: rate.value for name, rate in whole.rates.items()} == exactly_by_name(tpr=2 / 3, fpr=1 / 2, f1=4 / 7)
    assert whole.rates["tpr"].interval is None, "three cases"
    larger = evaluate(FOUND, LABELS, class_names=BINARY, spacing=MM, lesion_sizes=(1, 50)).lesions
    assert larger is not None
    assert larger.detection["lesion", "large"].counts == (2, 2, 2, 0)


def exactly_by_name(**values):
    return pytest.approx(values, nan_ok=True)


def test_from_six_cases_up_rates_have_an_interval_of_cases_drawn_and_added_again():
    labels = {f"c{n}": volume(SMALL, LARGE) for n in range(8)}
    predictions = {case: volume(LARGE) if n % 2 else volume(SMALL, LARGE) for n, case in enumerate(labels)}
    found = evaluate(predictions, labels, class_names=BINARY, spacing=MM).lesions
    assert found is not None
    rate = found.detection["lesion", "all"].rates["tpr"]
    rng = np.random.default_rng(3)
    draws = [(16 - np.isin(rng.integers(0, 8, 8), [1, 3, 5, 7]).sum()) / 16 for _ in range(4000)]
    assert rate.value == 0.75
    assert rate.interval == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.04)


def test_other_classes_are_taken_apart_where_asked_for():
    plain = evaluate(FOUND, LABELS, spacing=MM)
    assert plain.lesions is None
    assert not any(row.metric.startswith("lesion") for row in plain.rows)
    asked = evaluate(FOUND, LABELS, spacing=MM, lesions=True, lesion_rule="overlap_0.5_6")
    assert asked.lesions is not None
    assert asked.lesions.classes == ["foreground"]
    assert asked.value("lesion_tpr:overlap_0.5_6") == 0.5
    one = evaluate(FOUND, LABELS, metrics=["lesion_f1:any_overlap_26"])
    assert one.value("lesion_f1:any_overlap_26", class_name="foreground") == pytest.approx(4 / 9)
    assert evaluate(FOUND, LABELS, class_names=BINARY, lesions=False, spacing=MM).lesions is None


def test_several_classes_have_their_own_numbers():
    labels = {"a": volume(SMALL, LARGE) + volume(LARGE)}  # 1 and 2
    found = evaluate(labels, labels, class_names=["background", "edema", "core"], lesions=True, spacing=MM,
                     regions={"whole": [1, 2]}).lesions  # fmt: skip
    assert found is not None
    assert [q.id for q in found.quantities][::2] == [f"lesion_count:{n}" for n in ("edema", "core", "whole")]
    assert found.pairs("lesion_count:whole") == {"a": (2, 2)}
    assert found.pairs("lesion_load_ml:core")["a"] == exactly(0.054, 0.054)
    beside = evaluate(labels, labels, class_names=["background", "old lesion", "edema"], spacing=MM).lesions
    assert beside is not None
    assert beside.classes == ["old lesion"], "what is called lesion is taken, and nothing else"


def test_without_a_spacing_there_are_rates_and_counts_but_neither_load_nor_sizes():
    found = evaluate(FOUND, LABELS, class_names=BINARY)
    assert found.lesions is not None
    assert [q.id for q in found.lesions.quantities] == ["lesion_count"]
    assert list(found.lesions.detection) == [("lesion", "all")]
    assert any(
        "lesion load in ml and lesions by size left out" in note and "--spacing" in note for note in found.notes
    )
    with pytest.raises(ConfigError, match=r"lesion_tpr:any_overlap_26:to_30mm3 need a spacing.*--spacing"):
        evaluate(FOUND, LABELS, class_names=BINARY, metrics=["lesion_tpr:any_overlap_26:to_30mm3"])


def test_an_image_has_lesions_without_a_volume():
    labels, predictions = ({case: side[case][3] for case in ("a", "b")} for side in (LABELS, FOUND))
    found = evaluate(predictions, labels, class_names=BINARY, spacing=(1, 1))
    assert found.lesions is not None
    assert found.value("lesion_tpr:any_overlap_26") == 1
    assert not found.lesions.sizes
    assert any("2-D image have no volume" in note for note in found.notes)
    with pytest.raises(DataError, match="three axes"):
        evaluate(predictions, labels, spacing=(1, 1), metrics=["lesion_f1:any_overlap_26:over_150mm3"])


def test_a_film_has_rates_and_no_count():
    film = np.stack([LABELS["a"], LABELS["b"]])
    found = evaluate({"a": np.stack([FOUND["a"], FOUND["b"]])}, {"a": film}, class_names=BINARY, spacing=MM)
    assert found.by_case("lesion_tpr:any_overlap_26") == {"a": 0.75}
    assert found.lesions is None
    assert any("film" in note for note in found.notes)


@pytest.mark.parametrize(
    "options", [{"lesion_rule": "any_overlap_8"}, {"lesion_sizes": (150, 30)}, {"lesion_sizes": (30,)}], ids=str
)
def test_wrong_rules_and_sizes_are_refused_in_one_line(options):
    with pytest.raises(ConfigError, match=r"^lesion (rule|sizes)"):
        evaluate(FOUND, LABELS, class_names=BINARY, **options)


def test_two_methods_are_compared_by_their_lesions():
    worse = {case: mask * (case != "b") for case, mask in FOUND.items()}
    one, two = (evaluate(side, LABELS, class_names=BINARY, spacing=MM) for side in (FOUND, worse))
    lines = {line.metric: line for line in compare(one, two).lines if line.class_name == "lesion"}
    assert lines["lesion_fpr:any_overlap_26"].paired.losses == 1, "lower is better"
    assert lines["lesion_tpr:any_overlap_26"].paired.difference == pytest.approx(-1 / 3)
    assert lines["dice:pooled"].paired.difference < 0


# The two averages


def test_sample_and_voxel_average_of_dice_by_hand():
    # case a: TP 1, FP 0, FN 1, Dice 2/3; case b: TP 6, FP 2, FN 0, Dice 12/14
    labels = {"a": line("xx..........").reshape(3, 4), "b": line("xxxxxx......").reshape(3, 4)}
    predictions = {"a": line("x...........").reshape(3, 4), "b": line("xxxxxxxx....").reshape(3, 4)}
    found = evaluate(predictions, labels, class_names=BINARY)
    assert found.value("dice") == pytest.approx((2 / 3 + 12 / 14) / 2)
    assert found.value("dice:pooled", class_name="lesion") == pytest.approx(14 / 17)
    assert found.value("dice:pooled") == pytest.approx(14 / 17), "background is no class of Dice"
    assert found.value("iou:pooled", class_name="lesion") == pytest.approx(7 / 10)
    averages = {s.metric: s.average for s in found.full_summary()}
    assert (averages["dice"], averages["dice:pooled"]) == ("sample", "voxel")
    shown = [s.class_name for s in found.pooled_summary() if s.metric == "dice:pooled"]
    assert shown == ["lesion"], "no mean of one class"


def test_the_voxel_average_has_an_interval_and_a_mean_of_several_classes():
    rng = np.random.default_rng(0)
    labels, predictions = ({str(n): rng.integers(0, 3, (8, 8)) for n in range(7)} for _ in "ab")
    *classes, mean = evaluate(predictions, labels, metrics=["dice:pooled"]).pooled_summary()
    assert [s.class_name for s in (*classes, mean)] == ["class 1", "class 2", "mean of classes"]
    assert mean.mean == pytest.approx(np.mean([s.mean for s in classes]))
    assert mean.interval is not None
    assert mean.interval[0] < mean.mean < mean.interval[1]


def test_a_recipe_may_choose_its_checkpoint_by_lesions():
    from recurseg.training.recipe_files import published_recipe
    from recurseg.training.settings import override

    for id in ("lesion_f1:any_overlap_26", "lesion_tpr:overlap_0.1_18:to_30mm3", "dice:pooled"):
        recipe = override(published_recipe("pyramid_lstm/paper_em"), [f"validation.metric={id}"])
        assert recipe.validation.metric == id
