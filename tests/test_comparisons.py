"""Two networks differ by what they differ, and a gap in loss is told apart into confidence and skill."""

import numpy as np
import pytest
from fake_runs import FakeRun, seeds

from ferhelpers import comparisons, distortions
from ferhelpers.runs import NOT_RUN, Runs


def test_one_seed_is_compared_with_all_of_the_other_network():
    frame = comparisons.compared(Runs(final=[FakeRun(0.5), FakeRun(0.7)], baseline=[FakeRun(0.5)]), "final", "baseline")
    columns = ["accuracy: final", "accuracy: baseline", "accuracy: difference"]
    assert frame.loc[0, columns].tolist() == [0.6, 0.5, "+0.100"]


def test_compared_networks_differ_by_what_they_differ():
    runs = Runs(final=[FakeRun(0.6)], baseline=[FakeRun(0.5)])
    frame = comparisons.compared(runs, "final", "baseline").set_index("test set")
    assert list(frame.index) == ["clean", *distortions.NAMES, "private"]
    line = frame.loc["clean"]
    assert (line["accuracy: final"], line["accuracy: baseline"], line["accuracy: difference"]) == (0.6, 0.5, "+0.100")
    low, high = map(float, line["accuracy: 95 % interval"].split(" to "))
    # images: 0.1 x 0.9 / 1000; seeds: 0.01 ** 2 of each network
    assert (low, high) == pytest.approx((0.1 - 0.0334, 0.1 + 0.0334), abs=0.0006)
    assert float(line["loss: difference"]) < 0 and float(line["accuracy: p"]) < 1e-8
    low, high = map(float, frame.loc["occlusion", "accuracy: 95 % interval"].split(" to "))
    assert (low, high) == pytest.approx((0.1 - 0.0585, 0.1 + 0.0585), abs=0.0006)  # seeds: 0.02 ** 2


def test_the_report_s_rankings():
    """Between 1 and 2 blocks the report finds the first more accurate on three sets, and its loss lower on one."""
    of_one = dict.fromkeys(("gaussian_blur", "salt_pepper", "speckle"), (0.6, 2.0))
    runs = Runs(
        blocks_1=seeds(0.4, per_set=of_one), blocks_2=seeds(0.5), blocks_3=[FakeRun(0.5, epochs=100)], blocks_4=[]
    )
    frame = comparisons.rankings(runs).set_index("networks")
    assert len(frame) == 6
    (same,) = [row for name, row in frame.iterrows() if name.startswith("1 block") and "2 blocks" in name]
    # a fixed confidence makes the loss follow the accuracy: the two sets on which the report's do not are the other way
    assert same.tolist() == ["1 of 100", "6 of 6", 6, 0, "4 of 6", 4, 2]
    other = comparisons.rankings(Runs(blocks_1=seeds(0.5), blocks_2=seeds(0.4, per_set=of_one))).iloc[0]
    assert other.tolist()[2:] == ["0 of 6", 0, 6, "2 of 6", 2, 4]
    three = frame[frame.index.str.contains("3 blocks") & ~frame.index.str.contains("4 blocks")]
    assert set(three.iloc[0][1:]) == {comparisons.OTHERWISE}
    assert set(frame[frame.index.str.contains("4 blocks")].iloc[0][1:]) == {NOT_RUN}


def test_rankings_leave_out_ties_and_what_is_within_chance():
    """Dropout 0.5 and 0.65 are equally accurate under Gaussian noise in the report."""
    runs = Runs({"dropout_0.5": [FakeRun(0.5)], "dropout_0.65": [FakeRun(0.499)]})
    frame = comparisons.rankings(runs)
    assert frame["accuracy: as in the report"][0].endswith("of 5")
    assert frame["accuracy: clearly"][0] == frame["accuracy: clearly reversed"][0] == 0


def test_a_gap_of_confidence_alone_is_no_skill():
    """Two networks that recognise the same images, one surer than the other."""
    runs = Runs(final=[FakeRun(0.6, confidence=2.0)], baseline=[FakeRun(0.6, confidence=9.0)])
    gaps = comparisons.loss_gaps(runs, "final", "baseline")
    assert list(gaps["test set"])[0] == "clean" and len(gaps) == 6
    assert (gaps["gap in loss"] < -1).all()
    np.testing.assert_allclose(gaps[["left", "left at best"]], 0, atol=1e-4)
    np.testing.assert_allclose(gaps["left"] + gaps["confidence"], gaps["gap in loss"])


def test_a_gap_of_skill_stays_at_any_confidence():
    runs = Runs(final=[FakeRun(0.8, confidence=2.0)], baseline=[FakeRun(0.5, confidence=2.0)])
    gaps = comparisons.loss_gaps(runs, "final", "baseline")
    assert (gaps[["left", "left at best"]] < -0.3).all(axis=None)


def test_a_gap_is_a_mean_over_seeds():
    runs = Runs(final=[FakeRun(0.7), FakeRun(0.5, swap=3)], baseline=[FakeRun(0.5)])
    alone = [comparisons.loss_gaps(Runs(runs | {"final": [run]}), "final", "baseline") for run in runs["final"]]
    gaps = comparisons.loss_gaps(runs, "final", "baseline")
    for column in ("gap in loss", "left", "left at best"):
        np.testing.assert_allclose(gaps[column], (alone[0][column] + alone[1][column]) / 2)


def test_confidence_that_clean_images_do_not_show_is_left_but_not_at_the_best_temperature():
    """Of two networks that recognise the same images one is too sure of itself under occlusion, and there alone."""
    calm, sure = FakeRun(0.6, confidence=2.0), FakeRun(0.6, confidence=2.0)
    clean, sure.logits = sure.logits, lambda test_set: clean(test_set) * (5 if test_set == "occlusion" else 1)
    gaps = comparisons.loss_gaps(Runs(final=[calm], baseline=[sure]), "final", "baseline").set_index("test set")
    np.testing.assert_allclose(gaps.drop(index="occlusion").drop(columns="95 % interval of left"), 0, atol=1e-4)
    assert gaps.left["occlusion"] < -1 and gaps["left at best"]["occlusion"] == pytest.approx(0, abs=1e-4)
