"""Verdicts follow from the stored logits, and turn when those are changed so that they should."""

import numpy as np
import pandas as pd
import pytest
from fake_runs import FakeRun, seeds

from ferhelpers import claims, defects
from ferhelpers.claims import CONTRADICTED, NOT_RUN, OTHERWISE, SUPPORTED, UNDECIDED
from ferhelpers.comparisons import Comparison
from ferhelpers.errors import InputError
from ferhelpers.evaluation import Difference, paired
from ferhelpers.experiments import PROTOCOL
from ferhelpers.published import NETWORKS, TEST_SETS, published_confusions
from ferhelpers.runs import Runs

pytestmark = pytest.mark.slow


def curves(epochs=100, rise=0.02, training_end=0.1):
    """Validation loss falls to 1.0 at epoch 25 and then rises by `rise` an epoch; training loss falls throughout."""
    epoch = np.arange(1, epochs + 1)
    validation = np.where(epoch <= 25, 2 - 0.04 * epoch, 1 + rise * (epoch - 25))
    return {"epoch": epoch, "val_loss": validation, "loss": np.linspace(2, training_end, epochs)}


def study(n=1000, **accuracies):
    """Runs of the whole study, three seeds each: accuracy 0.5 and logit 2 unless given as name=(accuracy, logit)."""
    given = {name.replace("_0_", "_0."): value for name, value in accuracies.items()}
    names = {**dict.fromkeys(NETWORKS, (0.5, 2.0)), **given}
    weights = {"efficientnet": "imagenet"}
    return Runs(
        {name: seeds(*value, n=n, history=curves(), weights=weights.get(name, "none")) for name, value in names.items()}
    )


def scheduled(runs):
    """These runs with the report's schedule, unless they have one of their own."""
    for name, trained in runs.items():
        for run in trained:
            if run.config["experiment"]["epochs"] == 1:
                run.config["experiment"] |= {"epochs": PROTOCOL[name].epochs, "study_epochs": 100}
    return runs


def row(runs, claim):
    """The claim's row, judged from `scheduled` runs."""
    notebook, words = claim
    frame = claims.verdicts(scheduled(runs), notebook)
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
    # One network under two distortions: five images more are recognised and none is lost. McNemar's exact p is 1/16.
    few = paired(np.arange(59) < 25, np.arange(59) < 20, same_networks=True)
    assert few.low > 0 and few.p == pytest.approx(1 / 16)
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
    assert [len(part) for part in parts] == [8, 8, 6, 8, 3]
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
    runs["dropout_0.65"] = seeds(0.6, 2, per_set={"speckle": (0.1, 2)})
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
    runs = Runs({**study(), "final": seeds(0.6, per_set={test_set: (0.4, 2)}, history=curves())})
    assert verdict(runs, LOSS_BASELINE) == verdict(runs, ACCURACY_EFFICIENTNET) == CONTRADICTED
    expected = CONTRADICTED if test_set in ("gaussian_blur", "salt_pepper", "occlusion") else SUPPORTED
    assert verdict(runs, ACCURACY_BASELINE) == expected


def test_efficientnet_without_imagenet_weights_judges_nothing_but_is_shown():
    runs = study(final=(0.6, 2))
    runs["efficientnet"] = seeds(weights="none", history=curves())
    found = row(runs, ACCURACY_EFFICIENTNET)
    assert found["verdict"] == OTHERWISE and found["this run"] == "on 6 of 6 test sets"
    assert "supported: 6 of 6 intervals" in found["evidence"] and "EfficientNetB0 (random weights)" in found["evidence"]
    runs["efficientnet"] = seeds(weights="sha256:00", history=curves())
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
    assert found["verdict"] == OTHERWISE and "epochs after 30; a curve of 40 epochs: 52 or more" in found["evidence"]


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


RISES_LATER = ("06", "rises only after about 55"), ("07", "rises only after about 20")


@pytest.mark.parametrize("name, claim, lowest", [("final", RISES_LATER[0], 25), ("efficientnet", RISES_LATER[1], 6)])
def test_a_loss_that_rises_early_does_not_rise_later(name, claim, lowest):
    """The report's schedule ends where the loss is said to rise: it cannot support that."""
    epoch = np.arange(1, PROTOCOL[name].epochs + 1)

    def judged(losses):
        return row(Runs({name: [FakeRun(history={"val_loss": losses}, weights=PROTOCOL[name].weights)]}), claim)

    found = judged(1 + 0.1 * np.abs(epoch - lowest))
    assert found["verdict"] == CONTRADICTED and "rises before the last epoch" in found["evidence"]
    found = judged(3 - 0.01 * epoch)
    assert found["verdict"] == OTHERWISE and "none can show a rise after it" in found["evidence"]


def test_a_shorter_schedule_has_its_plateau_in_proportion():
    def judged(epochs, **options):
        options |= {"epochs": epochs, "study_epochs": epochs, "history": curves(epochs)}
        frame = claims.verdicts(Runs(), "03", short=Runs(baseline_test_validation=[FakeRun(**options)]))
        return frame.iloc[0][["short schedule", "evidence"]]

    word, evidence = judged(90)
    assert word == "supported (1 seed)" and "mean of the last 10 epochs minus that of epochs 18 to 27 of 90" in evidence
    word, evidence = judged(4)
    assert word == OTHERWISE and "too short: 4 epochs" in evidence
    word, evidence = judged(90, annealing="cosine")
    assert word == OTHERWISE and "the learning rate falls to 0" in evidence


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


LEAD = "06", "mainly due to fear and sad"


@pytest.mark.parametrize(
    "better, worse, expected",
    [
        ((), (2, 4), SUPPORTED),
        ((), (0, 1, 3), CONTRADICTED),  # the others make the lead
        ((0, 1, 3, 5, 6), (2, 4), CONTRADICTED),  # there is no lead
        ((), (), UNDECIDED),
    ],
)
def test_the_lead_of_fear_and_sad(better, worse, expected):
    assert verdict(with_classes(better, worse), LEAD) == expected


def test_what_the_report_says_of_fear_and_sad_comes_from_its_matrices():
    matrices = published_confusions()
    more = (matrices["baseline"] - matrices["final"]).diagonal()
    others = np.delete(more, [2, 4])
    says = f"fear and sad: {more[[2, 4]].sum()} images more; the other classes: {-others.sum()} fewer"
    assert row(Runs(), LEAD)["report says"] == says


def test_the_lowest_and_the_second_lowest_loss_on_blurred_images():
    claim = "04", "2 blocks the second lowest"
    assert row(Runs(), claim)["report says"].startswith("1 block: 1.83; 2 blocks: 2.07; 3 blocks: 3.24")
    assert verdict(study(blocks_1=(0.7, 2), blocks_2=(0.6, 2)), claim) == SUPPORTED
    assert verdict(study(blocks_1=(0.7, 2), blocks_2=(0.4, 2)), claim) == CONTRADICTED
    assert verdict(study(blocks_1=(0.7, 2)), claim) == UNDECIDED


def test_half_the_loss():
    claim = "05", "less than half the loss"
    assert row(Runs(), claim)["report says"] == "on 4 of 4 test sets"
    worse = {"blocks_4": (0.1, 6), "dropout_0_5": (0.1, 6)}  # a loss of 5.4
    assert verdict(study(**worse, dropout_0_65=(0.9, 2)), claim) == SUPPORTED  # 0.8
    found = row(study(**worse, dropout_0_65=(0.4, 6)), claim)  # 3.6: lower, and more than half
    assert found["verdict"] == CONTRADICTED and found["this run"] == "on 0 of 4 test sets"


def test_both_higher_dropouts_must_lead_under_noise():
    claim = "05", "more accurate than 0.3 under Gaussian noise"
    says = "4 blocks, dropout 0.5: 0.428; 4 blocks, dropout 0.3: 0.416; 4 blocks, dropout 0.65: 0.428"
    assert row(Runs(), claim)["report says"] == says
    assert verdict(study(blocks_4=(0.4, 2)), claim) == SUPPORTED
    assert verdict(study(blocks_4=(0.4, 2), dropout_0_65=(0.3, 2)), claim) == CONTRADICTED
    assert verdict(study(blocks_4=(0.4, 2), dropout_0_65=(0.4, 2)), claim) == UNDECIDED


def short_study(epochs=12, **accuracies):
    """Three seeds of every network on one short schedule; EfficientNet from random weights."""
    given = {**dict.fromkeys(NETWORKS, 0.5), **accuracies}
    schedule = {"epochs": epochs, "study_epochs": epochs, "history": curves(epochs)}
    return Runs({name: seeds(accuracy, **schedule) for name, accuracy in given.items()})


def test_the_short_schedule_has_a_verdict_of_its_own():
    frame = claims.verdicts(Runs(), short=short_study(blocks_3=0.6, final=0.6)).set_index("claim")
    assert set(frame["verdict"]) == {NOT_RUN}
    short = frame["short schedule"]
    assert short["Hypothesis 1: 3 blocks are the most accurate on undistorted images"] == "supported (3 seeds)"
    assert (
        short["The final network is less accurate than the baseline on undistorted images"] == "contradicted (3 seeds)"
    )
    assert short["A separate validation set lowers the baseline's accuracy"] == f"{UNDECIDED} (3 seeds)"
    efficientnet = frame.loc["The final network is more accurate than EfficientNet on all six test sets"]
    assert efficientnet["short schedule"] == OTHERWISE and "random weights" in efficientnet["evidence"]
    assert set(claims.verdicts(Runs(), short=Runs())["short schedule"]) == {NOT_RUN}
    assert "short schedule" not in claims.verdicts(Runs())


def test_the_short_schedule_s_evidence_comes_after_the_protocol_s_and_once():
    short = short_study(blocks_3=0.6)
    full = claims.verdicts(scheduled(study()), "04", short=short).iloc[0]
    assert full["verdict"] == UNDECIDED and full["short schedule"] == "supported (3 seeds)"
    first, second = full["evidence"].split("; short schedule: ")
    assert first.startswith("0 of 4 intervals") and second.startswith("4 of 4 intervals")
    alone = claims.verdicts(short, "04", short=short).iloc[0]
    assert alone["verdict"] == OTHERWISE and alone["short schedule"] == "supported (3 seeds)"
    assert alone["evidence"].count("4 of 4 intervals") == 1


def test_seeds_of_the_short_schedule_may_differ_in_number():
    short = short_study(final=0.6)
    short["baseline"] = short["baseline"][:1]
    frame = claims.verdicts(Runs(), "06", short=short).set_index("claim")
    claim = "The final network is less accurate than the baseline on undistorted images"
    assert frame["short schedule"][claim] == "contradicted (1 to 3 seeds)"


def drawn(runs):
    for trained in runs.values():
        for run in trained:
            run.config["data"] = {"form": "builtin"}
    return runs


def test_drawn_faces_judge_nothing():
    runs = drawn(scheduled(study(n=200, final=(0.9, 2))))
    found = row(runs, ACCURACY_BASELINE)
    assert found["verdict"] == OTHERWISE and "not FER-2013's" in found["evidence"]
    frame = claims.verdicts(runs, short=drawn(short_study(blocks_3=0.9)))
    assert set(frame["verdict"]) == set(frame["short schedule"]) == {OTHERWISE}
    final, counts, _ = claims.answer(runs, drawn(short_study()))
    assert "not trained on FER-2013" in final and counts.startswith(f"None of the report's {len(claims.CLAIMS)} claims")


def test_the_answer_where_nothing_was_trained():
    final, counts, own = claims.answer(Runs())
    assert "not trained" in final and counts.startswith("None of")
    leads = sum(low.startswith("+") for low in defects.margins([str(n) for n in range(3, 21)])["second: 95 % interval"])
    assert 0 < leads < 18 and f"in {leads} of 18 tables" in own
    assert own.endswith("they hold 17% to 18% right answers, not 60% to 69%.")


def test_the_answer_counts_the_verdicts_and_names_the_schedules():
    runs = scheduled(Runs(final=seeds(0.6, history=curves()), baseline=seeds(0.5, history=curves())))
    final, counts, _ = claims.answer(runs)
    assert final.startswith(
        "The final network, trained here on the report's schedule (3 seeds), recognises 60.0% of the"
    )
    assert "(report: 59.6%, 1.10)" in final and "(report: 30.9%, 2.13)" in final
    verdicts = claims.verdicts(runs)["verdict"].tolist()
    supported, contradicted, undecided = (verdicts.count(word) for word in claims.JUDGED)
    by_these = f"{supported} supported, {contradicted} contradicted, {undecided} undecided"
    assert (
        supported
        and contradicted
        and counts == (f"Of the report's {len(verdicts)} claims, by 6 trainings on the report's schedule: {by_these}.")
    )
    final, counts, _ = claims.answer(Runs(), short_study(final=0.6))
    assert "trained here on another schedule, for 12 of 55 epochs (3 seeds)" in final
    assert "on a short schedule: " in counts and "the report's schedule" not in counts


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
    assert row(runs, HYPOTHESIS_1)["evidence"].endswith("seeds: 3, 1, 3, 3, 3")


def test_a_single_seed_is_compared_with_all_of_the_others():
    runs = study(final=(0.7, 2))
    runs["baseline"] = [FakeRun(0.5, history=curves())]
    found = row(runs, ACCURACY_BASELINE)
    assert found["verdict"] == SUPPORTED and found["evidence"].endswith("seeds: 3, 1")
    runs["final"] = [FakeRun(0.7, history=curves()), FakeRun(0.1, history=curves())]
    assert verdict(runs, ACCURACY_BASELINE) == UNDECIDED


def test_one_seed_each_must_differ_by_more_where_seeds_lie_further_apart():
    """Five points on 20,000 images: more than seeds lie apart on clean images, less than on distorted ones."""
    runs = Runs({f"blocks_{blocks}": [FakeRun(0.55 if blocks == 3 else 0.5, n=20_000)] for blocks in range(1, 6)})
    assert verdict(runs, HYPOTHESIS_1) == SUPPORTED and verdict(runs, HYPOTHESIS_1_DISTORTED) == UNDECIDED


def test_the_luck_of_a_seed_cancels_where_a_network_meets_itself():
    """Three seeds far apart, each five points better under the one distortion."""
    runs = Runs(baseline=[FakeRun(of, per_set={"gaussian_noise": (of + 0.05, 2.0)}) for of in (0.35, 0.45, 0.55)])
    assert verdict(runs, ("03", "the baseline is the most accurate under Gaussian noise")) == SUPPORTED


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
        ("04", "2 blocks have the lowest loss on all", "blocks_2", "on 5 of 5 test sets"),
        ("04", "1 block is the most accurate", "blocks_1", "on 3 of 3 test sets"),
        ("04", "2 blocks are the most accurate", "blocks_2", "most accurate: 2 blocks, 0.409; 5 blocks: 0.383"),
        ("04", "5 blocks are the most accurate", "blocks_5", "most accurate: 5 blocks, 0.462; 3 blocks: 0.454"),
        (
            "05",
            "Dropout 0.5 is the most accurate on undistorted",
            "dropout_0.5",
            "most accurate: 4 blocks, dropout 0.5, 0.627; 4 blocks, dropout 0.65: 0.622",
        ),
        ("05", "Dropout 0.5 is the most accurate on blurred", "dropout_0.5", "on 2 of 2 test sets"),
        ("05", "Dropout 0.65 is the most accurate", "dropout_0.65", "on 2 of 2 test sets"),
        ("06", "less accurate than the baseline on undistorted", "baseline", "0.671 against 0.596"),
        ("06", "less accurate than the baseline under", "baseline", "on 2 of 2 test sets"),
    ],
)
def test_claims_that_one_network_is_best_turn_with_it(notebook, words, better, says):
    runs = study()
    assert row(runs, (notebook, words))["report says"] == says
    for accuracy, expected in ((0.6, SUPPORTED), (0.4, CONTRADICTED), (0.5, UNDECIDED)):
        runs[better] = seeds(accuracy, history=curves())
        assert verdict(runs, (notebook, words)) == expected


@pytest.mark.parametrize(
    "name, words, accuracy, loss",
    [
        ("baseline", "the baseline ", "0.435", "3.00"),
        ("baseline_test_validation", "the baseline validated on the test set ", "0.425", "3.27"),
    ],
)
def test_the_easiest_distortion_is_judged_on_the_same_images(name, words, accuracy, loss):
    accurate, certain = (
        ("03", f"{words}{rest}") for rest in ("is the most accurate under", "has the lowest loss under")
    )
    assert row(Runs(), accurate)["report says"] == f"gaussian noise: {accuracy}"
    assert row(Runs(), certain)["report says"] == f"occlusion: {loss}"
    both = {"gaussian_noise": (0.5, 2.0), "occlusion": (0.6, 2.0)}
    runs = Runs({name: seeds(0.4, per_set=both, history=curves())})
    assert verdict(runs, accurate) == CONTRADICTED and verdict(runs, certain) == SUPPORTED
    assert row(runs, accurate)["this run"] == "occlusion: 0.600"
    runs = Runs({name: seeds(0.4, per_set={"gaussian_noise": (0.5, 2.0)}, history=curves())})
    assert verdict(runs, accurate) == SUPPORTED and verdict(runs, certain) == CONTRADICTED
    runs = Runs({name: [FakeRun(0.4, per_set={"gaussian_noise": (0.44, 2.0)}, history=curves())]})
    assert verdict(runs, accurate) == UNDECIDED  # of one seed


def test_claims_about_noise_say_how_it_was_chosen():
    frame = claims.verdicts(study(n=200)).set_index("claim")
    about = frame.index[frame["evidence"].str.endswith(claims.NOISE)]
    assert {claim.text for claim in claims.CLAIMS if claim.test_sets == TEST_SETS} < set(about)
    for words, counts in (("distorted test set", 2), ("undistorted images", 0), ("under Gaussian noise", 5)):
        assert sum(words in text for text in about) == counts
    assert not claims.verdicts(Runs())["evidence"].str.contains(claims.NOISE).any()


def test_networks_tested_on_different_images_are_not_compared():
    runs = study()
    runs["final"] = [FakeRun(n=500, history=curves())]
    with pytest.raises(InputError, match="final and baseline differ in their images"):
        claims.verdicts(runs)


def test_distorted_claims_are_judged_on_the_whole_distorted_sets():
    runs = study(final=(0.6, 2))
    runs["final"][0]._logits["sections"][:] = 0  # spoilt: must not matter to the conclusions
    assert verdict(runs, ACCURACY_EFFICIENTNET) == SUPPORTED
