"""Evaluation against numbers worked out by hand."""

import numpy as np
import pytest
from fake_runs import FakeRun, logits_for
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import special, stats

from ferhelpers import distortions, evaluation
from ferhelpers.errors import InputError

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
    assert (
        evaluation.losses(logits, labels_like(logits))
        >= -np.log(special.softmax(logits.astype(float), axis=1).max(axis=1)) - 1e-9
    ).all()


def test_recall_by_hand():
    recall = evaluation.recall(LOGITS, LABELS)
    assert recall[[0, 1, 3]] == pytest.approx([1 / 2, 1, 1 / 2])
    assert np.isnan(recall[[2, 4, 5, 6]]).all()


def test_wilson_interval_of_ten_in_twenty():
    assert evaluation.accuracy_interval(0.5, 20) == pytest.approx((0.2993, 0.7007), abs=5e-5)


@pytest.mark.parametrize("n, half_width", [(3589, 0.016), (718, 0.035)])
def test_interval_of_a_test_set_and_of_a_section(n, half_width):
    low, high = evaluation.accuracy_interval(0.65, n)
    assert (high - low) / 2 == pytest.approx(half_width, abs=5e-4)


def test_interval_of_a_mean():
    values = np.random.default_rng(0).exponential(2.0, 4000)
    low, high = evaluation.mean_interval(values)
    error = 1.96 * values.std() / 4000**0.5
    assert (low, high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.15 * error)
    rare = np.r_[np.zeros(200), 50.0]  # Student's interval would begin below 0
    assert evaluation.mean_interval(rare)[0] >= 0
    assert np.isnan(evaluation.mean_interval([1.0])).all()


def test_paired_difference_of_accuracies_by_mcnemar():
    both, only_a, only_b, neither = 50, 9, 1, 40
    a = np.repeat([1, 1, 0, 0], [both, only_a, only_b, neither])
    b = np.repeat([1, 0, 1, 0], [both, only_a, only_b, neither])
    difference = evaluation.paired(a, b)
    assert difference.value == pytest.approx(0.08)
    assert difference.p == pytest.approx(2 * (1 + 10) / 2**10)  # 0 or 1 of 10 heads, both sides
    assert 0.015 <= difference.low <= 0.03 and 0.13 <= difference.high <= 0.145  # 0.08 -+ 1.96 * 0.03
    assert difference.n == 100


def test_paired_difference_of_losses():
    a = np.random.default_rng(0).normal(2, 3, 1000)
    noise = np.random.default_rng(1).normal(0, 0.5, 1000)
    difference = evaluation.paired(a, a + 0.1 + noise)
    mean, error = -(0.1 + noise).mean(), noise.std() / 1000**0.5
    assert difference.value == pytest.approx(mean)
    assert (difference.low, difference.high) == pytest.approx(
        (mean - 1.96 * error, mean + 1.96 * error), abs=0.2 * error
    )
    assert difference.p < 1e-5  # the pairing sees what two separate intervals, 0.37 wide, do not


def test_paired_is_seeded_and_turns_with_its_arguments():
    a, b = np.random.default_rng(0).random((2, 200))
    assert evaluation.paired(a, b, seed=3) == evaluation.paired(a, b, seed=3)
    there, back = evaluation.paired(a, b), evaluation.paired(b, a)
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low), abs=1e-3)


def test_paired_without_any_spread():
    assert evaluation.paired([0.3, 0.3], [0.3, 0.3]) == (0, 0, 0, 1, 2)
    assert evaluation.paired([1, 0], [1, 0]) == (0, 0, 0, 1, 2)
    assert evaluation.paired([2.5, 2.5], [1.5, 1.5]) == (1, 1, 1, 0, 2)


def test_paired_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        a = rng.random(300) < 0.6
        b = np.where(
            rng.random(300) < 0.8, a, rng.random(300) < 0.6
        )  # as accurate, and mostly right on the same images
        difference = evaluation.paired(a, b, seed=trial)
        held += difference.low <= 0 <= difference.high
    assert 0.90 <= held / 200 <= 0.99


def test_paired_over_seeds_has_the_spread_of_both_levels():
    """Values: the seed's level and the image's, both normal; the error of a mean over 30 seeds and 400 images is known."""
    rng = np.random.default_rng(0)
    image = rng.normal(0, 1.0, 400)
    a = 0.3 + image + rng.normal(0, 0.5, (30, 1)) + rng.normal(0, 0.2, (30, 400))
    b = image + rng.normal(0, 0.5, (30, 1))
    difference = evaluation.paired(a, b)
    error = (a.mean(axis=1).var() / 30 + b.mean(axis=1).var() / 30) ** 0.5  # images cancel: both are drawn together
    assert difference.value == pytest.approx(a.mean() - b.mean())
    stretch = (30 / 29) ** 0.5 * stats.t.ppf(0.975, 29) / 1.96
    assert difference.high - difference.low == pytest.approx(2 * 1.96 * stretch * error, rel=0.1)
    assert evaluation.paired(a, b) == difference
    unpaired = evaluation.mean_interval(a)
    assert unpaired[1] - unpaired[0] == pytest.approx(2 * 1.96 * (a.mean(axis=1).var() / 30 + 1 / 400) ** 0.5, rel=0.15)


@pytest.mark.parametrize("seeds", [2, 3])
def test_few_seeds_do_not_make_a_difference_of_none(seeds):
    """Networks that differ by their seed alone are not told apart more often than one time in twenty."""
    rng, wrong = np.random.default_rng(2), 0
    for trial in range(100):
        image = rng.random(300)
        a, b = (image < 0.6 + rng.normal(0, 0.05, (seeds, 1)) for _ in "ab")
        wrong += evaluation.paired(a, b).p < 0.05
    assert wrong <= 5


def test_several_seeds_beside_a_single_one_are_refused():
    """The luck of the single training cannot be seen: ten trainings on the other side do not make its number surer."""
    for a, b, same in ((10, 1, False), (1, 10, False), (3, 2, True)):
        with pytest.raises(InputError, match=f"{a} and {b} trained networks"):
            evaluation.paired(np.ones((a, 30)), np.ones((b, 30)), same_networks=same)


def test_seeds_of_the_same_networks_are_drawn_together():
    levels, image = np.array([[0.0], [2.0], [4.0]]), np.random.default_rng(0).normal(0, 1, 300)
    apart, together = (
        evaluation.paired(levels + image + 0.1, levels + image, same_networks=same) for same in (False, True)
    )
    assert apart.low < -1 < 1 < apart.high and apart.p > 0.5
    assert (together.low, together.high) == pytest.approx((0.1, 0.1)) and together.p < 0.01


def test_paired_p_over_seeds_follows_the_bootstrap():
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1, (3, 200))
    assert evaluation.paired(values + 5, values).p == pytest.approx(2 / (evaluation.RESAMPLES + 1))
    assert evaluation.paired(values, rng.normal(0, 1, (3, 200))).p > 0.05


def test_predictions_are_those_of_the_layout():
    run = FakeRun(n=1000, per_set={"sections": (0.2, 2), "speckle": (0.9, 2)})
    for name, part in zip(distortions.NAMES, distortions.sections(1000), strict=True):
        logits, labels = evaluation.predictions(run, name, "section")
        np.testing.assert_array_equal(logits, run.logits("sections")[part])
        np.testing.assert_array_equal(labels, run.labels("sections")[part])
    assert evaluation.accuracy(*evaluation.predictions(run, "speckle")) == 0.9
    assert evaluation.accuracy(*evaluation.predictions(run, "distorted_overall")) == 0.2


@pytest.mark.parametrize(
    "logits, labels, said",
    [
        (np.zeros((3, 6)), [0, 0, 0], r"\(3, 6\)"),
        (np.zeros((3, 7)), [0, 0], r"\(2,\)"),
        (np.zeros((0, 7)), [], "N >= 1"),
        (np.zeros((2, 7)), [0, 7], "0 to 7"),
        (np.zeros((2, 7)), [-1, 2], "-1 to 2"),
        (np.array([[0.0] * 7, [np.nan] * 7]), [0, 1], "image 1 are not finite"),
    ],
)
def test_wrong_input_is_named(logits, labels, said):
    for function in (evaluation.accuracy, evaluation.losses, evaluation.confusion, evaluation.recall):
        with pytest.raises(InputError, match=said):
            function(logits, np.array(labels))


def test_paired_refuses_different_images():
    with pytest.raises(InputError, match="same two or more images"):
        evaluation.paired(np.zeros(3), np.zeros(4))
    with pytest.raises(InputError, match="same two or more images"):
        evaluation.paired(np.zeros(1), np.zeros(1))


def test_scores_has_one_row_a_test_set():
    frame = evaluation.scores(FakeRun(n=3589, per_set={"private": (0.7, 2), "speckle": (0.2, 2)}))
    assert frame["test_set"].tolist() == [
        "clean",
        "private",
        *distortions.NAMES,
        "distorted_overall",
        *distortions.NAMES,
    ]
    assert frame["n"].tolist() == [3589, 3589, 718, 718, 718, 718, 717, 3589] + [3589] * 5
    whole = frame[frame["layout"] == "whole"].set_index("test_set")
    assert whole["accuracy"].round(3).to_dict() == {
        "clean": 0.5,
        "private": 0.7,
        "distorted_overall": 0.5,
        "gaussian_blur": 0.5,
        "gaussian_noise": 0.5,
        "salt_pepper": 0.5,
        "speckle": 0.2,
        "occlusion": 0.5,
    }
    assert whole.loc["clean", ["low", "high"]].tolist() == pytest.approx(
        evaluation.accuracy_interval(0.5, 3589), abs=2e-4
    )
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
    labels = run.labels("sections")
    run._logits["sections"] = logits_for(
        labels, (np.arange(3589) >= 718) & (np.arange(3589) < 1436)
    )  # the second fifth
    frame = evaluation.scores(run).set_index(["test_set", "layout"])
    sections = frame.xs("section", level="layout")["accuracy"]
    assert sections.to_dict() == {
        "gaussian_blur": 0,
        "gaussian_noise": 1,
        "salt_pepper": 0,
        "speckle": 0,
        "occlusion": 0,
    }
    assert frame.loc[("distorted_overall", "whole"), "accuracy"] == pytest.approx(718 / 3589)


@given(st.integers(1, 4000), st.data())
def test_the_interval_holds_the_accuracy(n, drawn):
    share = drawn.draw(st.sampled_from([0.0, 1.0]) | st.integers(0, n).map(lambda hits: hits / n))
    low, high = evaluation.accuracy_interval(share, n)
    assert 0 <= low <= share <= high <= 1
