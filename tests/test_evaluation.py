"""Evaluation against numbers worked out by hand, and by simulation."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_runs import FakeRun, logits_for
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import special, stats

from ferhelpers import distortions, evaluation
from ferhelpers.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import error_rates

# Five images: the true classes, and what is predicted.
LABELS = np.array([0, 0, 1, 3, 3])
PREDICTED = np.array([0, 1, 1, 3, 6])
LOGITS = 4.0 * np.eye(7)[PREDICTED]

some_logits = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 40), st.just(7)), elements=st.floats(-50, 50, width=32)
)


def labels_like(logits):
    return np.random.default_rng(len(logits)).integers(0, 7, len(logits))


def test_accuracy_and_cross_entropy_by_hand():
    assert evaluation.accuracy(LOGITS, LABELS) == 3 / 5
    total = np.exp(4) + 6
    right, wrong = -np.log(np.exp(4) / total), -np.log(1 / total)
    assert evaluation.losses(LOGITS, LABELS) == pytest.approx([right, wrong, right, right, wrong])
    assert evaluation.cross_entropy(LOGITS, LABELS) == pytest.approx((3 * right + 2 * wrong) / 5)


def test_loss_is_computed_from_logits_and_never_clipped():
    logits = np.zeros((1, 7))
    logits[0, 2] = 1000
    assert evaluation.cross_entropy(logits, [0]) == pytest.approx(1000)


def test_equal_logits_cost_the_log_of_seven_and_predict_the_first_class():
    assert evaluation.cross_entropy(np.zeros((3, 7)), [0, 3, 6]) == pytest.approx(np.log(7))
    assert evaluation.correct(np.zeros((3, 7)), [0, 3, 6]).tolist() == [True, False, False]


def test_confusion_has_true_classes_in_rows():
    expected = np.zeros((7, 7), int)
    expected[0, 0] = expected[0, 1] = expected[1, 1] = expected[3, 3] = expected[3, 6] = 1
    assert (evaluation.confusion(LOGITS, LABELS) == expected).all()


@given(some_logits)
def test_confusion_belongs_to_its_accuracy(logits):
    labels = labels_like(logits)
    matrix = evaluation.confusion(logits, labels)
    assert matrix.trace() / matrix.sum() == pytest.approx(evaluation.accuracy(logits, labels))
    assert (matrix.sum(axis=1) == np.bincount(labels, minlength=7)).all()
    assert (matrix.sum(axis=0) == np.bincount(logits.argmax(axis=1), minlength=7)).all()


@given(some_logits)
def test_loss_is_at_least_that_of_the_largest_probability(logits):
    least = -np.log(special.softmax(logits.astype(float), axis=1).max(axis=1))
    assert (evaluation.losses(logits, labels_like(logits)) >= least - 1e-9).all()


def test_recall_by_hand():
    recall = evaluation.recall(LOGITS, LABELS)
    assert recall[[0, 1, 3]] == pytest.approx([1 / 2, 1, 1 / 2])
    assert np.isnan(recall[[2, 4, 5, 6]]).all()


def test_wilson_interval_of_ten_in_twenty():
    assert evaluation.accuracy_interval(0.5, 20) == pytest.approx((0.2993, 0.7007), abs=5e-5)


def test_interval_of_the_mean_of_one_trained_network():
    values = np.random.default_rng(0).exponential(2.0, 4000)
    error = 1.96 * values.std() / 4000**0.5
    interval = values.mean() - error, values.mean() + error
    assert evaluation.mean_interval(values, 0) == pytest.approx(interval, abs=0.002 * error)
    assert np.isnan(evaluation.mean_interval([1.0], 0)).all()


def test_interval_of_a_mean_of_one_seed_holds_the_stated_spread():
    right = np.arange(400) < 220
    for spread in (0.01, 0.05):
        error = (0.55 * 0.45 / 399 + spread**2) ** 0.5
        assert evaluation.mean_interval(right, spread) == pytest.approx(
            (0.55 - 1.96 * error, 0.55 + 1.96 * error), rel=3e-3
        )
    low, high = evaluation.mean_interval(np.full(400, 2.0), 0.1)
    assert (low, high) == pytest.approx((2 - 1.96 * 0.1, 2 + 1.96 * 0.1), rel=1e-4)


def test_one_network_on_two_versions_of_the_images_by_mcnemar():
    both, only_a, only_b, neither = 50, 9, 1, 40
    a = np.repeat([1, 1, 0, 0], [both, only_a, only_b, neither])
    b = np.repeat([1, 0, 1, 0], [both, only_a, only_b, neither])
    difference = evaluation.paired(a, b, 0, same_networks=True)
    assert difference.value == pytest.approx(0.08)
    assert difference.p == pytest.approx(2 * (1 + 10) / 2**10)  # 0 or 1 of 10 heads, both sides
    error = ((0.1 - 0.08**2) / 99) ** 0.5
    assert (difference.low, difference.high) == pytest.approx((0.08 - 1.984 * error, 0.08 + 1.984 * error), rel=1e-3)
    assert difference.n == 100


def test_one_network_on_two_versions_of_the_images_by_the_paired_t_test():
    a, noise = np.random.default_rng(0).normal(2, 3, 1000), np.random.default_rng(1).normal(0, 0.5, 1000)
    difference, test = evaluation.paired(a, a + noise, 0, same_networks=True), stats.ttest_rel(a, a + noise)
    assert difference.p == pytest.approx(test.pvalue)
    assert (difference.low, difference.high) == pytest.approx(test.confidence_interval())


def test_two_networks_of_one_seed_differ_by_their_seeds_too():
    """Two points more of 1,000 images, 20 against 0: hardly by the choice of images, easily by that of seeds."""
    a, b = np.arange(1000) < 520, np.arange(1000) < 500
    for spread in (0.01, 0.02):
        error = (0.02 * 0.98 / 999 + 2 * spread**2) ** 0.5
        difference = evaluation.paired(a, b, spread)
        assert (difference.low, difference.high) == pytest.approx((0.02 - 1.96 * error, 0.02 + 1.96 * error), rel=1e-2)
        assert difference.p == pytest.approx(2 * stats.norm.sf(0.02 / error), rel=1e-2) and difference.p > 0.05
    assert evaluation.paired(a, b, 0).p < 1e-5


def test_the_spread_of_losses_counts_once_for_each_network():
    a, b = np.full(100, 4.0), np.full(100, 3.0)
    spread = evaluation.seed_spread("clean", "loss", a, b, annealed=False)
    assert evaluation.paired(a, b, spread).p == pytest.approx(2 * stats.norm.sf(1 / (0.05 * 5)))  # 5: from 3 and 4
    assert evaluation.paired(a, b, 1).p == pytest.approx(2 * stats.norm.sf(1 / 2**0.5))


def test_paired_turns_with_its_arguments():
    a, b = np.random.default_rng(0).random((2, 3, 200))
    difference, back = evaluation.paired(a, b, 0), evaluation.paired(b, a, 0)
    assert (difference.value, difference.low, difference.high) == pytest.approx((-back.value, -back.high, -back.low))
    assert difference.p == pytest.approx(back.p)


def test_paired_without_any_spread():
    for values, result in (([0.3, 0.3], (0, 0, 0, 1, 2)), ([1.3, 1.3], (1, 1, 1, 0, 2))):
        for same in (False, True):
            assert evaluation.paired(values, [0.3, 0.3], 0, same_networks=same) == pytest.approx(result)
    half = stats.norm.ppf(0.975) * 2**0.5 * 0.01
    assert evaluation.paired([1, 0], [1, 0], 0.01) == pytest.approx((0, -half, half, 1, 2))


def test_paired_over_seeds_is_welch_s_test_where_images_do_not_matter():
    """Each image shifts both networks alike, and a seed shifts all images: only the means of the seeds differ."""
    rng = np.random.default_rng(0)
    image, a, b = rng.normal(0, 1, 400), rng.normal(0.3, 0.5, (4, 1)), rng.normal(0, 0.1, (3, 1))
    difference = evaluation.paired(a + image, b + image, 0)
    test = stats.ttest_ind(a.ravel(), b.ravel(), equal_var=False)
    assert difference.p == pytest.approx(test.pvalue)
    assert (difference.low, difference.high) == pytest.approx(test.confidence_interval())


def test_paired_over_seeds_counts_images_once_and_the_rest_once():
    """Parts of seeds and images and a rest, all normal: the error of the difference is known."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(0, 0.2, 400) + rng.normal(0, 0.2, (200, 1)) + rng.normal(0, 4, (200, 400)) for _ in "ab")
    difference = evaluation.paired(a, b, 0)
    error = (2 * (0.2**2 + 4**2 / 200) / 400 + 2 * 0.2**2 / 200) ** 0.5  # images; the rest; seeds
    assert difference.high - difference.low == pytest.approx(2 * 1.96 * error, rel=0.06)
    low, high = evaluation.mean_interval(a, 0)
    assert high - low == pytest.approx(2 * 1.96 * (error**2 / 2) ** 0.5, rel=0.06)
    # Nothing but the rest: never less than that, however close the means of two seeds lie.
    a, b = (rng.normal(0, 4, (2, 400)) for _ in "ab")
    error = (2 * 4**2 / 2 / 400) ** 0.5
    difference = evaluation.paired(a, b, 0)
    assert difference.high - difference.low >= 2 * 1.96 * error * 0.9


def test_a_single_seed_beside_several_has_their_spread():
    rng = np.random.default_rng(0)
    image, levels = rng.normal(0, 1, 400), rng.normal(0, 0.5, (5, 1))
    error = levels.std(ddof=1) * (1 / 5 + 1) ** 0.5  # of a sixth one against the mean of five
    for a, b in ((image + levels, image), (image, image + levels)):
        difference = evaluation.paired(a, b, 0)
        assert difference.high - difference.low == pytest.approx(2 * stats.t.ppf(0.975, 4) * error)
        assert evaluation.paired(a, b, 9) == difference  # it is known, so what is stated does not count


def test_two_seeds_have_the_stated_spread_or_their_own_if_that_is_larger():
    rng = np.random.default_rng(0)
    image, normal = rng.normal(0, 1, 400), stats.norm.ppf(0.975)
    for apart, variance in ((0.1, 0.5**2), (3.0, 3.0**2 / 2)):
        difference = evaluation.paired(image + [[0], [apart]], image, 0.5)
        assert difference.high - difference.low == pytest.approx(2 * normal * (variance / 2 + 0.5**2) ** 0.5)
        low, high = evaluation.mean_interval(0 * image + [[0], [apart]], 0.5)
        assert high - low == pytest.approx(2 * normal * (variance / 2) ** 0.5)


def test_the_spread_that_is_stated():
    losses = np.full(5, 3.0), np.full(5, 4.0)
    mean = (12.5) ** 0.5
    for test_set, annealed, share in (
        ("clean", False, 0.05),
        ("validation", True, 0.025),
        ("speckle", False, 0.25),
        ("speckle", True, 0.15),
    ):
        assert evaluation.seed_spread(test_set, "loss", *losses, annealed=annealed) == pytest.approx(share * mean)
        spread = evaluation.seed_spread(test_set, "accuracy", *losses, annealed=annealed)
        assert spread == (0.02 if test_set == "speckle" else 0.01)


def test_seeds_of_the_same_networks_are_paired():
    levels, image = np.array([[0.0], [2.0], [4.0]]), np.random.default_rng(0).normal(0, 1, 300)
    apart, together = (
        evaluation.paired(levels + image + 0.1, levels + image, 0, same_networks=same) for same in (False, True)
    )
    assert apart.low < -1 < 1 < apart.high and apart.p > 0.5
    assert (together.low, together.high) == pytest.approx((0.1, 0.1)) and together.p < 0.01
    shifts = np.array([[0.1], [0.3], [0.2]])
    shifted = evaluation.paired(levels + image + shifts, levels + image, 0, same_networks=True)
    assert shifted.p == pytest.approx(stats.ttest_1samp(shifts, 0).pvalue[0])
    with pytest.raises(InputError, match="3 and 2 trained networks"):
        evaluation.paired(levels + image, levels[:2] + image, 0, same_networks=True)


@pytest.mark.parametrize(
    "kind, seeds, difference, least, most",
    [
        ("accuracy", (1, 1), 0, 0.03, 0.07),
        ("accuracy", (3, 3), 0, 0.03, 0.07),
        ("accuracy", (5, 5), 0, 0.03, 0.07),
        ("accuracy", (1, 3), 0, 0.025, 0.075),
        ("accuracy", (2, 2), 0, 0.02, 0.06),
        ("heavy loss", (3, 3), 0, 0.015, 0.06),
        ("accuracy", (1, 1), 0.05, 0.75, 0.95),
        ("accuracy", (3, 3), 0.03, 0.55, 0.8),
        ("accuracy", (5, 5), 0.03, 0.85, 1),
    ],
)
def test_how_often_two_networks_differ_by_chance_and_in_truth(kind, seeds, difference, least, most):
    spread, rng = {"accuracy": 0.01, "heavy loss": 0.05}[kind], np.random.default_rng(0)
    rate = error_rates.paired(kind, seeds, spread, difference=difference, simulations=400, rng=rng)["rate"]
    assert least <= rate <= most


def test_few_images_that_carry_a_mean_make_its_interval_too_narrow():
    """As the docstring says. Where values are 0 and 1 it holds the mean as often as it says."""
    missed = [
        error_rates.mean_interval(kind, 1, spread, simulations=400, rng=np.random.default_rng(0))["rate"]
        for kind, spread in (("accuracy", 0.01), ("heavy loss", 0.0))
    ]
    assert 0.03 <= missed[0] <= 0.07 < missed[1]


def test_a_rise_over_seeds_by_hand():
    curves = np.tile([3.0, 2, 2, 9, 9, 2, 2], (3, 1))
    curves[:, -2:] += [[1.0, 1.2], [0.9, 1.1], [1.2, 1.2]]
    difference = evaluation.rise(curves, (2, 3))
    test = stats.ttest_1samp([1.1, 1.0, 1.2], 0)
    assert difference.value == pytest.approx(1.1) and difference.p == pytest.approx(test.pvalue)
    assert (difference.low, difference.high) == pytest.approx(test.confidence_interval()) and difference.n == 4


def test_a_rise_of_one_seed_by_hand():
    """Blocks of two with means 1, 2, 2, 3: a line through them leaves 0.1, -0.3, 0.3, -0.1, whose squares are 0.2."""
    difference = evaluation.rise([7, 0, 2, 1, 3, 2, 2, 4, 2], (2, 3))
    error = (2 * 0.2 / 2) ** 0.5
    assert difference.value == 2 and difference.p == pytest.approx(2 * stats.t.sf(2 / error, 2))
    assert difference.high == pytest.approx(2 + stats.t.ppf(0.975, 2) * error)


def test_a_curve_too_short_for_its_blocks_is_refused():
    with pytest.raises(InputError, match="8 epochs: 9 or more"):
        evaluation.rise(np.zeros(8), (4, 5))
    with pytest.raises(InputError, match="6 epochs: 7 or more"):
        evaluation.rise(np.zeros((2, 6)), (4, 5))
    assert evaluation.rise(np.zeros((2, 7)), (4, 5)).p == 1


@pytest.mark.parametrize("seeds, correlation", [(1, 0.0), (1, 0.5), (1, 0.8), (3, 0.8)])
def test_how_often_a_level_curve_rises_by_chance(seeds, correlation):
    rate = error_rates.rise(seeds, correlation, simulations=400, rng=np.random.default_rng(1))["rate"]
    assert 0.02 <= rate <= 0.08


def test_a_rise_is_found():
    assert error_rates.rise(1, 0.3, 4.0, simulations=100, rng=np.random.default_rng(0))["rate"] > 0.95


def test_the_stored_error_rates_are_those_of_the_script():
    stored, simulated = pd.read_csv(error_rates.REFERENCE), error_rates.simulate(1).astype({"seeds": str})
    rates = ["rate", "seeds_alone"]
    pd.testing.assert_frame_equal(stored.drop(columns=rates), simulated.drop(columns=rates), check_dtype=False)
    equal = stored.query("function == 'paired' and values == 'accuracy' and difference == 0")
    assert equal[equal.stated.isin((1, np.nan))].rate.between(0.03, 0.07).all()


def test_predictions_are_those_of_the_layout():
    run = FakeRun(n=1000, per_set={"sections": (0.2, 2), "speckle": (0.9, 2)})
    for name, part in zip(distortions.NAMES, distortions.sections(1000), strict=True):
        logits, labels = evaluation.predictions(run, name, "section")
        np.testing.assert_array_equal(logits, run.logits("sections")[part])
        np.testing.assert_array_equal(labels, run.labels("sections")[part])
    assert evaluation.accuracy(*evaluation.predictions(run, "speckle")) == 0.9
    assert evaluation.accuracy(*evaluation.predictions(run, "distorted_overall")) == 0.2


@pytest.mark.parametrize(
    "logits, labels, message",
    [
        (np.zeros((3, 6)), [0, 0, 0], r"\(3, 6\)"),
        (np.zeros((3, 7)), [0, 0], r"\(2,\)"),
        (np.zeros((0, 7)), [], "N >= 1"),
        (np.zeros((2, 7)), [0, 7], "0 to 7"),
        (np.zeros((2, 7)), [-1, 2], "-1 to 2"),
        (np.array([[0.0] * 7, [np.nan] * 7]), [0, 1], "image 1 are not finite"),
    ],
)
def test_wrong_input_is_named(logits, labels, message):
    for function in (evaluation.accuracy, evaluation.losses, evaluation.confusion, evaluation.recall):
        with pytest.raises(InputError, match=message):
            function(logits, np.array(labels))


def test_paired_refuses_different_images():
    with pytest.raises(InputError, match="same two or more images"):
        evaluation.paired(np.zeros(3), np.zeros(4), 0)
    with pytest.raises(InputError, match="same two or more images"):
        evaluation.paired(np.zeros(1), np.zeros(1), 0)


def test_scores_has_one_row_a_test_set():
    frame = evaluation.scores(FakeRun(n=3589, per_set={"private": (0.7, 2), "speckle": (0.2, 2)}))
    names = ["clean", "private", *distortions.NAMES, "distorted_overall", *distortions.NAMES]
    assert frame["test_set"].tolist() == names
    assert frame["n"].tolist() == [3589, 3589, 718, 718, 718, 718, 717, 3589] + [3589] * 5
    whole = frame[frame["layout"] == "whole"].set_index("test_set")
    assert whole["accuracy"].round(3).to_dict() == {**dict.fromkeys(names, 0.5), "private": 0.7, "speckle": 0.2}
    interval = evaluation.accuracy_interval(0.5, 3589)
    assert whole.loc["clean", ["low", "high"]].tolist() == pytest.approx(interval, abs=2e-4)
    assert (frame["capped_loss"] == frame["loss"]).all()  # no loss of these runs reaches the cap
    assert ((frame["loss_low"] < frame["loss"]) & (frame["loss"] < frame["loss_high"])).all()


def test_few_huge_losses_move_neither_the_median_nor_much_the_capped_mean():
    run = FakeRun(0.7, n=1000)
    before = evaluation.scores(run).set_index(["test_set", "layout"]).loc[("speckle", "whole")]
    labels = run.labels("speckle")
    run._logits["speckle"] = run._logits["speckle"].copy()
    run._logits["speckle"][:3] = 0
    run._logits["speckle"][[0, 1, 2], (labels[:3] + 1) % 7] = 1e4
    after = evaluation.scores(run).set_index(["test_set", "layout"]).loc[("speckle", "whole")]
    assert after.loss > before.loss + 28 and after.median_loss == pytest.approx(before.median_loss, abs=0.01)
    assert before.capped_loss < after.capped_loss < before.capped_loss + 3 * np.log(1000) / 1000


def test_each_section_is_scored_on_its_own_images():
    run = FakeRun(n=3589)
    second_fifth = (np.arange(3589) >= 718) & (np.arange(3589) < 1436)
    run._logits["sections"] = logits_for(run.labels("sections"), second_fifth)
    frame = evaluation.scores(run).set_index(["test_set", "layout"])
    sections = frame.xs("section", level="layout")["accuracy"]
    assert sections.to_dict() == {**dict.fromkeys(distortions.NAMES, 0), "gaussian_noise": 1}
    assert frame.loc[("distorted_overall", "whole"), "accuracy"] == pytest.approx(718 / 3589)


@given(st.integers(1, 4000), st.data())
def test_the_interval_holds_the_accuracy(n, drawn):
    share = drawn.draw(st.sampled_from([0.0, 1.0]) | st.integers(0, n).map(lambda hits: hits / n))
    low, high = evaluation.accuracy_interval(share, n)
    assert 0 <= low <= share <= high <= 1
