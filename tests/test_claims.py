"""Verdicts follow from the stored logits, and turn when those are changed so that they should."""

import numpy as np
import pandas as pd
import pytest
from fake_runs import FakeRun

from ferhelpers import claims, evaluation
from ferhelpers.claims import CONTRADICTED, NOT_RUN, OTHERWISE, SUPPORTED, UNDECIDED
from ferhelpers.comparisons import Comparison
from ferhelpers.errors import InputError
from ferhelpers.evaluation import Difference, paired
from ferhelpers.experiments import PROTOCOL
from ferhelpers.published import NETWORKS, TEST_SETS, published_confusions
from ferhelpers.runs import Runs


def curves(epochs=100, rise=0.02, training_end=0.1):
    """Validation loss falls to 1.0 at epoch 25 and then rises by `rise` an epoch; training loss falls throughout."""
    epoch = np.arange(1, epochs + 1)
    validation = np.where(epoch <= 25, 2 - 0.04 * epoch, 1 + rise * (epoch - 25))
    return {"epoch": epoch, "val_loss": validation, "loss": np.linspace(2, training_end, epochs)}


def study(n=1000, **accuracies):
    """Runs of the whole study: accuracy 0.5 and logit 2 unless given as name=(accuracy, logit)."""
    given = {name.replace("_0_", "_0."): value for name, value in accuracies.items()}
    names = {**dict.fromkeys(NETWORKS, (0.5, 2.0)), **given}
    weights = {"efficientnet": "imagenet"}
    return Runs(
        (name, [FakeRun(*value, n=n, history=curves(), weights=weights.get(name, "none"))])
        for name, value in names.items()
    )


def row(runs, claim):
    """The claim's row, judged from runs with the report's schedule unless they have one of their own."""
    notebook, words = claim
    for name, seeds in runs.items():
        for run in seeds:
            if run.config["experiment"]["epochs"] == 1:
                run.config["experiment"] |= {"epochs": PROTOCOL[name].epochs, "study_epochs": 100}
    frame = claims.verdicts(runs, notebook)
    found = frame[frame["claim"].str.contains(words, regex=False)]
    assert len(found) == 1
    return found.iloc[0]


def verdict(runs, claim):
    return row(runs, claim)["verdict"]


HYPOTHESIS_1 = "04", "3 blocks are the most accurate on undistorted"
HYPOTHESIS_1_DISTORTED = "04", "3 blocks are the most accurate on the distorted"
HYPOTHESIS_2 = "05", "falls as dropout rises"
LOSS_BASELINE = "06", "lower loss than the baseline"
LOSS_EFFICIENTNET = "07", "lower loss than EfficientNet"
ACCURACY_EFFICIENTNET = "07", "more accurate than EfficientNet"
ACCURACY_BASELINE = "06", "more accurate than the baseline"
OVERFITS, OVERFITS_LESS = ("03", "overfits after 20 to 30"), ("06", "overfits less")
DISGUST, CLASSES = ("03", "disgust"), ("06", "5 of 7 classes")


def difference(value, half, p):
    return Comparison("", Difference(value, value - half, value + half, p, 100))


def test_the_rule_of_the_verdicts():
    clear, unclear, against = difference(1, 0.5, 1e-6), difference(0.1, 0.5, 0.7), difference(-1, 0.5, 1e-6)
    assert claims.judge([clear, clear]) == SUPPORTED
    assert claims.judge([clear, unclear]) == UNDECIDED
    assert claims.judge([clear, clear, unclear, against]) == CONTRADICTED


def test_an_interval_alone_does_not_support_a_claim():
    # Four images more are recognised and none is lost: the bootstrap hardly ever misses all four, McNemar's p is 1/8.
    few = paired(np.arange(59) < 24, np.arange(59) < 20)
    assert few.low > 0 and few.p == pytest.approx(1 / 8)
    assert claims.judge([Comparison("", few)]) == UNDECIDED


def test_one_interval_below_zero_among_many_must_survive_holm():
    barely, unclear = difference(-1, 0.9, 0.03), difference(0.1, 0.5, 0.7)
    assert claims.judge([barely]) == CONTRADICTED
    assert claims.judge([barely] + [unclear] * 11) == UNDECIDED


def test_everything_has_a_verdict_and_no_cell_is_empty():
    for runs in (Runs(), study(n=200), Runs(final=study(n=200)["final"], baseline=[])):
        frame = claims.verdicts(runs)
        assert list(frame) == ["claim", "verdict", "epochs", "report says", "this run", "evidence", "source"]
        assert set(frame["verdict"]) <= set(claims.VERDICTS)
        assert not frame.isna().any(axis=None) and not (frame == "").any(axis=None)
    assert set(claims.verdicts(Runs())["verdict"]) == {NOT_RUN}


def test_each_notebook_answers_its_own_claims():
    parts = [claims.verdicts(Runs(), notebook) for notebook in ("03", "04", "05", "06", "07")]
    assert [len(part) for part in parts] == [6, 7, 2, 6, 2]
    assert pd.concat(parts, ignore_index=True).equals(claims.verdicts(Runs()))


def test_what_is_missing_is_named():
    runs = study(n=200)
    del runs["blocks_5"], runs["blocks_1"]
    assert verdict(runs, HYPOTHESIS_1) == NOT_RUN
    assert "1 block; 5 blocks" in row(runs, HYPOTHESIS_1)["evidence"]


def test_a_claim_that_one_network_is_the_best_falls_with_the_first_that_beats_it():
    runs = study(blocks_2=(0.7, 2))
    del runs["blocks_1"]
    runs["blocks_5"] = [FakeRun(0.9, epochs=2)]  # says nothing
    found = row(runs, HYPOTHESIS_1)
    assert found["verdict"] == CONTRADICTED and found["this run"] == "most accurate: 2 blocks, 0.700; 3 blocks: 0.500"
    assert found["evidence"].startswith("0 of 2 intervals lie on its side, 1 on the other; least for it: 3 blocks")
    assert found["evidence"].endswith("whatever these would give: 1 block; 5 blocks, 2 of 100 epochs")
    runs["blocks_3"] = [FakeRun(0.8)]  # beats all that are there, which does not support it
    assert verdict(runs, HYPOTHESIS_1) == NOT_RUN
    del runs["blocks_3"]
    assert verdict(runs, HYPOTHESIS_1) == NOT_RUN


def test_what_is_lacking_counts_in_holm_s_correction():
    barely = difference(-1, 0.9, 0.03)
    assert claims.judge([barely]) == CONTRADICTED
    assert claims.judge([barely], lacking=1) == UNDECIDED
    assert claims.judge([difference(1, 0.5, 1e-6)], lacking=1) == UNDECIDED


def test_seeds_are_those_of_the_networks_that_decide():
    runs = Runs({f"blocks_{blocks}": [FakeRun(0.5, epochs=2)] for blocks in (1, 4, 5)})
    runs.update(
        blocks_2=[FakeRun(of) for of in (0.69, 0.70, 0.71)], blocks_3=[FakeRun(of) for of in (0.49, 0.50, 0.51)]
    )
    found = row(runs, HYPOTHESIS_1)
    assert found["verdict"] == CONTRADICTED and "; seeds: 3, 3; that is enough" in found["evidence"]


def test_the_report_s_side_comes_from_its_tables():
    def of(claim):
        return row(Runs(), claim)["report says"]

    assert of(HYPOTHESIS_1) == "most accurate: 3 blocks, 0.631; 2 blocks: 0.622"
    assert of(HYPOTHESIS_1_DISTORTED) == "most accurate: 1 block, 0.317; 3 blocks: 0.287"  # means of Tables 4-8
    for claim in (HYPOTHESIS_2, LOSS_BASELINE, LOSS_EFFICIENTNET, ACCURACY_EFFICIENTNET):
        assert of(claim) == "on 6 of 6 test sets"
    assert of(ACCURACY_BASELINE) == "on 3 of 3 test sets"
    matrices = published_confusions()
    disgust = matrices["baseline_test_validation"][1]
    assert of(DISGUST) == f"{disgust[1]} of {disgust.sum()} images recognised"
    more = matrices["final"].diagonal() > matrices["baseline"].diagonal()
    assert of(CLASSES) == f"more correct in {more.sum()} of 7 classes"


def test_hypothesis_1_turns_with_the_best_network():
    assert verdict(study(blocks_3=(0.6, 2)), HYPOTHESIS_1) == SUPPORTED
    assert verdict(study(blocks_3=(0.6, 2)), HYPOTHESIS_1_DISTORTED) == SUPPORTED
    beaten = study(blocks_3=(0.6, 2), blocks_2=(0.7, 2))
    assert verdict(beaten, HYPOTHESIS_1) == CONTRADICTED
    assert row(beaten, HYPOTHESIS_1)["this run"] == "most accurate: 2 blocks, 0.700; 3 blocks: 0.600"
    lead = "3 blocks against 2 blocks on clean, accuracy higher by -10.00 points"
    assert lead in row(beaten, HYPOTHESIS_1)["evidence"]


def test_hypothesis_1_is_judged_on_each_test_set_alone():
    runs = study(blocks_3=(0.6, 2))
    runs["blocks_3"] = [FakeRun(0.6, per_set={"sections": (0.4, 2)})]
    assert verdict(runs, HYPOTHESIS_1) == SUPPORTED
    assert verdict(runs, HYPOTHESIS_1_DISTORTED) == CONTRADICTED


def test_simpler_networks_are_better_if_each_of_the_two_beats_each_of_the_others():
    claim = "04", "Simpler networks"
    says = "1 block: 0.317; 4 blocks, dropout 0.3: 0.265; 5 blocks: 0.309; 2 blocks: 0.301"  # means of Tables 4-8
    assert row(Runs(), claim)["report says"] == says
    assert verdict(study(blocks_1=(0.6, 2), blocks_2=(0.7, 2)), claim) == SUPPORTED
    assert verdict(study(blocks_1=(0.6, 2)), claim) == UNDECIDED
    assert verdict(study(blocks_1=(0.6, 2), blocks_2=(0.4, 2)), claim) == CONTRADICTED


def test_a_lead_within_chance_is_undecided_and_the_sample_size_decides():
    def runs(n):
        others = Runs({f"blocks_{k}": [FakeRun(0.50, n=n, swap=k)] for k in (1, 2, 4, 5)})
        return Runs({**others, "blocks_3": [FakeRun(0.53, n=n, swap=3)]})

    few, many = runs(300), runs(20_000)
    assert row(few, HYPOTHESIS_1)["this run"].startswith("most accurate: 3 blocks, 0.530")
    assert verdict(few, HYPOTHESIS_1) == UNDECIDED
    assert verdict(many, HYPOTHESIS_1) == SUPPORTED


def test_hypothesis_2_needs_every_step_on_every_set():
    falling = {"blocks_4": (0.4, 2), "dropout_0_5": (0.5, 2), "dropout_0_65": (0.6, 2)}
    assert verdict(study(**falling), HYPOTHESIS_2) == SUPPORTED
    assert verdict(study(**{**falling, "dropout_0_65": (0.5, 2)}), HYPOTHESIS_2) == UNDECIDED
    runs = study(**falling)
    runs["dropout_0.65"] = [FakeRun(0.6, 2, per_set={"speckle": (0.1, 2)})]
    assert verdict(runs, HYPOTHESIS_2) == CONTRADICTED
    assert row(runs, HYPOTHESIS_2)["this run"] == "on 5 of 6 test sets"


def test_loss_is_judged_by_loss_and_accuracy_by_accuracy():
    # The final network is right more often than both, and far too sure of itself when it is wrong.
    runs = study(final=(0.6, 12))
    for claim in (LOSS_BASELINE, LOSS_EFFICIENTNET):
        assert verdict(runs, claim) == CONTRADICTED
    for claim in (ACCURACY_EFFICIENTNET, ACCURACY_BASELINE):
        assert verdict(runs, claim) == SUPPORTED
    calm = study(final=(0.6, 2))
    assert verdict(calm, LOSS_BASELINE) == verdict(calm, LOSS_EFFICIENTNET) == SUPPORTED


@pytest.mark.parametrize("test_set", TEST_SETS)
def test_every_one_of_the_six_sets_counts(test_set):
    runs = Runs({**study(), "final": [FakeRun(0.6, per_set={test_set: (0.4, 2)}, history=curves())]})
    assert verdict(runs, LOSS_BASELINE) == verdict(runs, ACCURACY_EFFICIENTNET) == CONTRADICTED
    expected = CONTRADICTED if test_set in ("gaussian_blur", "salt_pepper", "occlusion") else SUPPORTED
    assert verdict(runs, ACCURACY_BASELINE) == expected


def test_efficientnet_without_imagenet_weights_judges_nothing_but_is_shown():
    runs = study(final=(0.6, 2))
    runs["efficientnet"] = [FakeRun(0.5, weights="none")]
    found = row(runs, ACCURACY_EFFICIENTNET)
    assert found["verdict"] == OTHERWISE and found["this run"] == "on 6 of 6 test sets"
    assert "supported: 6 of 6 intervals" in found["evidence"] and "EfficientNetB0 (random weights)" in found["evidence"]
    runs["efficientnet"] = [FakeRun(0.5, weights="sha256:00")]
    assert verdict(runs, ACCURACY_EFFICIENTNET) == SUPPORTED


def overfitting(history):
    return Runs(baseline_test_validation=[FakeRun(history=history)])


def test_overfitting_is_judged_by_the_last_epochs_and_not_by_one_that_jumps():
    assert verdict(overfitting(curves()), OVERFITS) == SUPPORTED  # about 1.05 in epochs 20-30, 2.4 at the end
    falling = {**curves(), "val_loss": 3 - 0.01 * np.arange(100)}
    assert verdict(overfitting(falling), OVERFITS) == CONTRADICTED
    jumping = {**curves(), "val_loss": 1 + np.random.default_rng(0).uniform(0, 0.5, 100)}
    for end in (0.5, 1.25, 2.0):
        jumping["val_loss"][-1] = end
        assert verdict(overfitting(jumping), OVERFITS) == UNDECIDED


def test_overfitting_is_not_judged_from_a_short_training():
    found = row(overfitting(curves(epochs=40)), OVERFITS)
    assert found["verdict"] == OTHERWISE and "40 were trained" in found["evidence"]


def test_final_overfits_less_by_the_gap():
    def runs(baseline_end, final_end):
        return Runs(
            baseline=[FakeRun(history=curves(training_end=baseline_end))],
            final=[FakeRun(history=curves(training_end=final_end), swap=5)],
        )

    assert verdict(runs(0.1, 1.5), OVERFITS_LESS) == SUPPORTED
    assert verdict(runs(1.0, 0.1), OVERFITS_LESS) == CONTRADICTED
    assert verdict(runs(1.0, 1.0), OVERFITS_LESS) == UNDECIDED
    assert verdict(runs(1.7, 0.1), OVERFITS_LESS) == CONTRADICTED
    found = row(runs(1.7, 2.5), OVERFITS_LESS)
    assert found["verdict"] == UNDECIDED and "the baseline does not overfit here" in found["evidence"]


def recognising(disgust, n=1000):
    run = FakeRun(0.5, n=n, history=curves())
    images = np.flatnonzero(run.labels("clean") == 1)
    run._logits["clean"][images] = np.eye(7)[np.where(np.arange(len(images)) < disgust * len(images), 1, 0)]
    return Runs(baseline_test_validation=[run])


@pytest.mark.parametrize(
    "share, expected", [(0.0, SUPPORTED), (0.01, UNDECIDED), (0.09, UNDECIDED), (0.5, CONTRADICTED)]
)
def test_disgust_by_its_recall(share, expected):
    """Of the other faces, 8 % are called disgust."""
    assert verdict(recognising(share), DISGUST) == expected


def test_disgust_without_images():
    runs = overfitting(curves())
    runs["baseline_test_validation"][0]._labels[runs["baseline_test_validation"][0]._labels == 1] = 0
    assert verdict(runs, DISGUST) == NOT_RUN


def with_classes(better, worse):
    """Baseline right on half of each class; final on 80 % of those `better`, 20 % of `worse`, half of the rest."""
    baseline, final = FakeRun(0.5, n=3000, history=curves()), FakeRun(0.5, n=3000, history=curves())
    for label in range(7):
        images = np.flatnonzero(final.labels("clean") == label)
        share = 0.8 if label in better else 0.2 if label in worse else 0.5
        for run, part in ((baseline, 0.5), (final, share)):
            right = np.arange(len(images)) < part * len(images)
            run._logits["clean"][images] = 2 * np.eye(7)[np.where(right, label, (label + 1) % 7)]
    return Runs(baseline=[baseline], final=[final])


@pytest.mark.parametrize(
    "better, worse, expected",
    [
        ((0, 1, 3, 5, 6), (2, 4), SUPPORTED),
        ((0, 1, 3, 5), (2, 4), UNDECIDED),  # the seventh class is a tie
        ((0, 1, 3, 5), (2, 4, 6), CONTRADICTED),
        ((), (), UNDECIDED),
    ],
)
def test_five_of_seven_classes(better, worse, expected):
    found = row(with_classes(better, worse), CLASSES)
    assert found["verdict"] == expected
    assert found["this run"] == f"more correct in {len(better)} of 7 classes"


def test_seeds_are_averaged_and_named_and_their_spread_counts():
    runs = study(blocks_3=(0.6, 2))
    for blocks in (1, 2, 4, 5):
        runs[f"blocks_{blocks}"] = [FakeRun(accuracy) for accuracy in (0.49, 0.50, 0.51)]
    runs["blocks_3"] = [FakeRun(0.64), FakeRun(0.65), FakeRun(0.66)]
    found = row(runs, HYPOTHESIS_1)
    assert found["this run"].startswith("most accurate: 3 blocks, 0.650")
    assert found["verdict"] == SUPPORTED and found["evidence"].endswith("seeds: 3, 3, 3, 3, 3")
    runs["blocks_3"] = [FakeRun(0.40), FakeRun(0.65), FakeRun(0.90)]  # the same mean; the others are at 0.5
    assert verdict(runs, HYPOTHESIS_1) == UNDECIDED
    runs["blocks_1"] = runs["blocks_1"][:1]
    assert row(runs, HYPOTHESIS_1)["evidence"].endswith("seeds: 3, 1, 3, 3, 3 (beside a single one, the first of each)")


def test_a_single_seed_is_compared_with_the_first_of_the_others():
    runs = study(baseline=(0.5, 2))
    runs["final"] = [FakeRun(0.7, history=curves()), FakeRun(0.1, history=curves())]
    found = row(runs, ACCURACY_BASELINE)
    assert found["verdict"] == SUPPORTED and found["this run"] == "on 3 of 3 test sets"
    assert found["evidence"].endswith("seeds: 2, 1 (beside a single one, the first of each)")


def test_the_luck_of_a_seed_cancels_where_a_network_meets_itself():
    """Three seeds far apart, each five points better under the one distortion."""
    runs = Runs(baseline=[FakeRun(of, per_set={"gaussian_noise": (of + 0.05, 2.0)}) for of in (0.35, 0.45, 0.55)])
    assert verdict(runs, ("03", "the most accurate under Gaussian noise")) == SUPPORTED


def test_networks_on_unequal_schedules_are_not_compared():
    runs = study(blocks_3=(0.6, 2))
    runs["blocks_3"] = [FakeRun(0.6, epochs=2)]
    found = row(runs, HYPOTHESIS_1)
    assert found["verdict"] == OTHERWISE and "3 blocks, 2 of 100 epochs" in found["evidence"]
    assert "5 blocks, 100 of 100 epochs" in found["evidence"] and found["epochs"] == "2 of 100, 100 of 100"
    runs["blocks_3"] = [FakeRun(0.6)]
    assert verdict(runs, HYPOTHESIS_1) == SUPPORTED
    runs["blocks_3"][0].config["experiment"]["learning_rate"] = 0.01
    found = row(runs, HYPOTHESIS_1)
    assert found["verdict"] == OTHERWISE and "at rate 0.01" in found["evidence"]


def test_what_short_trainings_say_is_evidence_and_no_verdict():
    runs = Runs({f"blocks_{blocks}": [FakeRun(0.6 if blocks == 3 else 0.5, epochs=2)] for blocks in range(1, 6)})
    found = row(runs, HYPOTHESIS_1)
    assert found["verdict"] == OTHERWISE and found["this run"].startswith("most accurate: 3 blocks, 0.600")
    assert found["evidence"].startswith("by these trainings supported: 4 of 4 intervals")


@pytest.mark.parametrize(
    "notebook, words, better, says",
    [
        ("03", "lowers the baseline's accuracy", "baseline_test_validation", "0.687 against 0.671"),
        ("03", "lowers the baseline's loss", "baseline", "1.34 against 1.36"),
        ("04", "2 blocks have the lowest loss", "blocks_2", "on 5 of 5 test sets"),
        ("04", "1 block is the most accurate", "blocks_1", "on 3 of 3 test sets"),
        ("04", "2 blocks are the most accurate", "blocks_2", "most accurate: 2 blocks, 0.409; 5 blocks: 0.383"),
        ("04", "5 blocks are the most accurate", "blocks_5", "most accurate: 5 blocks, 0.462; 3 blocks: 0.454"),
        (
            "05",
            "Dropout 0.5",
            "dropout_0.5",
            "most accurate: 4 blocks, dropout 0.5, 0.627; 4 blocks, dropout 0.65: 0.622",
        ),
        ("06", "less accurate than the baseline on undistorted", "baseline", "0.671 against 0.596"),
        ("06", "less accurate than the baseline under", "baseline", "on 2 of 2 test sets"),
    ],
)
def test_claims_that_one_network_is_best_turn_with_it(notebook, words, better, says):
    runs = study()
    assert row(runs, (notebook, words))["report says"] == says
    for accuracy, expected in ((0.6, SUPPORTED), (0.4, CONTRADICTED), (0.5, UNDECIDED)):
        runs[better] = [FakeRun(accuracy, history=curves())]
        assert verdict(runs, (notebook, words)) == expected


def test_the_easiest_distortion_is_judged_on_the_same_images():
    accurate, certain = ("03", "the most accurate under Gaussian noise"), ("03", "lowest loss under occlusion")
    assert row(Runs(), accurate)["report says"] == "gaussian noise: 0.435"
    assert row(Runs(), certain)["report says"] == "occlusion: 3.00"
    runs = Runs(baseline=[FakeRun(0.4, per_set={"gaussian_noise": (0.5, 2.0), "occlusion": (0.6, 2.0)})])
    assert verdict(runs, accurate) == CONTRADICTED and verdict(runs, certain) == SUPPORTED
    assert row(runs, accurate)["this run"] == "occlusion: 0.600"
    assert row(runs, accurate)["evidence"].endswith(claims.NOISE)
    assert not row(runs, certain)["evidence"].endswith(claims.NOISE)
    runs = Runs(baseline=[FakeRun(0.4, per_set={"gaussian_noise": (0.5, 2.0)})])
    assert verdict(runs, accurate) == SUPPORTED and verdict(runs, certain) == CONTRADICTED


def test_networks_tested_on_different_images_are_not_compared():
    runs = study()
    runs["final"] = [FakeRun(n=500, history=curves())]
    with pytest.raises(InputError, match="final and baseline differ in their images"):
        claims.verdicts(runs)


def test_distorted_claims_are_judged_on_the_whole_distorted_sets():
    runs = study(final=(0.6, 2))
    runs["final"][0]._logits["sections"][:] = 0  # spoilt: must not matter to the conclusions
    assert verdict(runs, ACCURACY_EFFICIENTNET) == SUPPORTED
