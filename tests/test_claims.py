"""Verdicts follow from the stored logits, and turn when those are changed so that they should."""

import numpy as np
import pandas as pd
import pytest
from fake_runs import FakeRun, seeds

from ferhelpers import claims, defects
from ferhelpers.claims import CONTRADICTED, NOT_RUN, OTHERWISE, SUPPORTED, UNDECIDED
from ferhelpers.errors import InputError
from ferhelpers.evaluation import Difference, paired
from ferhelpers.experiments import PROTOCOL
from ferhelpers.published import NETWORKS, TEST_SETS, published_confusions
from ferhelpers.runs import Runs

pytestmark = pytest.mark.slow

BLOCKS_3, BLOCKS_3_DISTORTED = "3 blocks are the most accurate on undistorted", "3 blocks are the most accurate on the"
SIMPLER, BLURRED = "Simpler networks", "2 blocks the second lowest"
DROPOUT, HALF, NOISY = "falls as dropout rises", "less than half the loss", "accurate than 0.3 under Gaussian noise"
LOSS_BASELINE, LOSS_EFFICIENTNET = "lower loss than the baseline", "lower loss than EfficientNet"
BASELINE, EFFICIENTNET = "more accurate than the baseline", "more accurate than EfficientNet"
OVERFITS, OVERFITS_LESS = "overfits after 20 to 30", "overfits less"
DISGUST, CLASSES, LEAD = "disgust", "5 of 7 classes", "mainly due to fear and sad"
EASIEST = "the baseline is the most accurate under Gaussian noise"


def curves(epochs=100, rise=0.02, training_end=0.1):
    """Validation loss falls to 1.0 at epoch 25 and then rises by `rise` an epoch; training loss falls throughout."""
    epoch = np.arange(1, epochs + 1)
    validation = np.where(epoch <= 25, 2 - 0.04 * epoch, 1 + rise * (epoch - 25))
    return {"epoch": epoch, "val_loss": validation, "loss": np.linspace(2, training_end, epochs)}


def study(given=(), n=1000):
    """Three seeds of every network: accuracy 0.5 and logit 2, unless `given` has others: 0.6 or (0.6, 12)."""
    runs = Runs()
    for name in NETWORKS:
        accuracy, *logit = np.atleast_1d(dict(given).get(name, 0.5))
        weights = "imagenet" if name == "efficientnet" else "none"
        runs[name] = seeds(accuracy, *logit, n=n, history=curves(), weights=weights)
    return runs


def scheduled(runs):
    """These runs with the report's schedule, unless they have one of their own."""
    for name, trained in runs.items():
        for run in trained:
            if run.config["experiment"]["epochs"] == 1:
                run.config["experiment"] |= {"epochs": PROTOCOL[name].epochs, "study_epochs": 100}
    return runs


def row(runs, words):
    """The row of the claim with these words, judged from `scheduled` runs."""
    (claim,) = (claim for claim in claims.CLAIMS if words in claim.text)
    return claims.verdicts(scheduled(runs), claim.notebook).set_index("claim").loc[claim.text]


def verdict(runs, words):
    return row(runs, words)["verdict"]


def difference(value, half, p):
    return Difference(value, value - half, value + half, p, 100)


CLEAR, BARELY, UNCLEAR = difference(1, 0.5, 1e-6), difference(-1, 0.9, 0.03), difference(0.1, 0.5, 0.7)
# One network under two distortions: five images more are recognised and none is lost. McNemar's exact p is 1/16.
FEW = paired(np.arange(59) < 25, np.arange(59) < 20, 0, same_networks=True)


@pytest.mark.parametrize(
    "differences, lacking, expected",
    [
        ([CLEAR, CLEAR], 0, SUPPORTED),
        ([CLEAR, UNCLEAR], 0, UNDECIDED),
        ([CLEAR, CLEAR, UNCLEAR, difference(-1, 0.5, 1e-6)], 0, CONTRADICTED),
        ([FEW], 0, UNDECIDED),  # an interval alone does not support a claim
        ([BARELY], 0, CONTRADICTED),
        ([BARELY] + [UNCLEAR] * 11, 0, UNDECIDED),  # Holm's correction
        ([BARELY], 1, UNDECIDED),
        ([CLEAR], 1, UNDECIDED),
    ],
)
def test_the_rule_of_the_verdicts(differences, lacking, expected):
    assert FEW.low > 0 and FEW.p == pytest.approx(1 / 16)
    assert claims.judge(differences, lacking) == expected


def test_everything_has_a_verdict_and_no_cell_is_empty():
    for runs in (Runs(), study(n=200), Runs(final=study(n=200)["final"], baseline=[])):
        frame = claims.verdicts(runs)
        columns = ["claim", "verdict", "epochs", "report says", "this run", "caution", "evidence", "source"]
        assert list(frame) == columns
        assert set(frame["verdict"]) <= set(claims.VERDICTS)
        assert not frame.isna().any(axis=None) and not (frame.drop(columns="caution") == "").any(axis=None)


def test_each_notebook_answers_its_own_claims():
    parts, frame = [claims.verdicts(Runs(), f"0{number}") for number in range(3, 8)], claims.verdicts(Runs())
    assert [len(part) for part in parts] == [8, 8, 6, 8, 3]
    assert pd.concat(parts, ignore_index=True).equals(frame) and set(frame["verdict"]) == {NOT_RUN}


def test_what_is_missing_is_named():
    runs = study(n=200)
    del runs["blocks_5"], runs["blocks_1"]
    judged = row(runs, BLOCKS_3)
    assert judged["verdict"] == NOT_RUN and "1 block; 5 blocks" in judged["evidence"]


def test_evidence_shows_the_first_network_less_the_other():
    against = {"a against b": Difference(-0.3, -0.4, -0.2, 0.001, 100)}  # turned: positive speaks for the claim
    clearest = "0 of 1 comparisons support it, 1 speak against it after Holm's correction; the clearest: a against b"
    shown = "loss minus 0.5 of the other's +0.30 (+0.20 to +0.40) on 100 images"
    assert claims._evidence(against, "loss", 0.5) == f"{clearest}, {shown}"


def test_a_claim_that_one_network_is_the_best_falls_with_the_first_that_beats_it():
    runs = study({"blocks_2": 0.7})
    del runs["blocks_1"]
    runs["blocks_5"] = [FakeRun(0.9, epochs=2)]  # says nothing
    judged = row(runs, BLOCKS_3)
    assert judged["verdict"] == CONTRADICTED and judged["this run"] == "most accurate: 2 blocks, 0.700; 3 blocks: 0.500"
    assert judged["evidence"].startswith(
        "0 of 2 comparisons support it, 1 speak against it after Holm's correction; "
        "the clearest: 3 blocks against 2 blocks on clean, "
        "accuracy -20.00 points (-"
    )
    assert judged["evidence"].endswith(
        "; seeds: 3, 3, 3; that is enough, whatever these would give: 1 block; 5 blocks, 2 of 100 epochs"
    )
    runs["blocks_3"] = [FakeRun(0.8)]  # beats all that are there, which does not support it
    assert verdict(runs, BLOCKS_3) == NOT_RUN
    del runs["blocks_3"]
    assert verdict(runs, BLOCKS_3) == NOT_RUN


MATRICES = published_confusions()
MORE = (MATRICES["baseline"] - MATRICES["final"]).diagonal()
FEAR_AND_SAD = MORE[[2, 4]].sum()


@pytest.mark.parametrize(
    "words, says",
    [
        ("lowers the baseline's accuracy", "0.687 against 0.671"),
        ("lowers the baseline's loss", "1.34 against 1.36"),
        ("the baseline validated on the test set is the most accurate under", "gaussian noise: 0.425"),
        ("the baseline validated on the test set has the lowest loss under", "occlusion: 3.27"),
        (EASIEST, "gaussian noise: 0.435"),
        ("the baseline has the lowest loss under", "occlusion: 3.00"),
        (DISGUST, f"{MATRICES['baseline_test_validation'][1, 1]} of {MATRICES['final'][1].sum()} images recognised"),
        (BLOCKS_3, "most accurate: 3 blocks, 0.631; 2 blocks: 0.622"),
        (BLOCKS_3_DISTORTED, "most accurate: 1 block, 0.317; 3 blocks: 0.287"),  # means of Tables 4-8, as the next
        (SIMPLER, "1 block: 0.317; 2 blocks: 0.301; 4 blocks, dropout 0.3: 0.265; 5 blocks: 0.309"),
        ("2 blocks have the lowest loss on all", "on 5 of 5 test sets"),
        ("1 block is the most accurate", "on 3 of 3 test sets"),
        ("2 blocks are the most accurate", "most accurate: 2 blocks, 0.409; 5 blocks: 0.383"),
        ("5 blocks are the most accurate", "most accurate: 5 blocks, 0.462; 3 blocks: 0.454"),
        (DROPOUT, "on 6 of 6 test sets"),
        (HALF, "on 4 of 4 test sets"),
        (
            "Dropout 0.5 is the most accurate on un",
            "most accurate: 4 blocks, dropout 0.5, 0.627; 4 blocks, dropout 0.65: 0.622",
        ),
        ("Dropout 0.5 is the most accurate on blurred", "on 2 of 2 test sets"),
        (NOISY, "4 blocks, dropout 0.3: 0.416; 4 blocks, dropout 0.5: 0.428; 4 blocks, dropout 0.65: 0.428"),
        ("Dropout 0.65 is the most accurate", "on 2 of 2 test sets"),
        (CLASSES, f"more correct in {sum(MORE < 0)} of 7 classes"),
        (LEAD, f"fear and sad: {FEAR_AND_SAD} images more; the other classes: {FEAR_AND_SAD - MORE.sum()} fewer"),
        ("less accurate than the baseline on undistorted", "0.671 against 0.596"),
        ("less accurate than the baseline under", "on 2 of 2 test sets"),
        (LOSS_BASELINE, "on 6 of 6 test sets"),
        (BASELINE, "on 3 of 3 test sets"),
        (LOSS_EFFICIENTNET, "on 6 of 6 test sets"),
        (EFFICIENTNET, "on 6 of 6 test sets"),
    ],
)
def test_the_report_s_side_comes_from_its_tables_and_matrices(words, says):
    assert row(Runs(), words)["report says"] == says


FALLING = {"blocks_4": 0.4, "dropout_0.5": 0.5, "dropout_0.65": 0.6}
SURE = {"final": (0.6, 12)}  # right more often than the others, and far too sure of itself when it is wrong
COSTLY = {"blocks_4": (0.1, 6), "dropout_0.5": (0.1, 6)}  # a loss of 5.4


@pytest.mark.parametrize(
    "words, given, expected",
    [
        (BLOCKS_3, {"blocks_3": 0.6}, SUPPORTED),
        (BLOCKS_3_DISTORTED, {"blocks_3": 0.6}, SUPPORTED),
        (SIMPLER, {"blocks_1": 0.6, "blocks_2": 0.7}, SUPPORTED),
        (SIMPLER, {"blocks_1": 0.6}, UNDECIDED),
        (SIMPLER, {"blocks_1": 0.6, "blocks_2": 0.4}, CONTRADICTED),
        (BLURRED, {"blocks_1": 0.7, "blocks_2": 0.6}, SUPPORTED),
        (BLURRED, {"blocks_1": 0.7}, UNDECIDED),
        (BLURRED, {"blocks_1": 0.7, "blocks_2": 0.4}, CONTRADICTED),
        (DROPOUT, FALLING, SUPPORTED),
        (DROPOUT, {**FALLING, "dropout_0.65": 0.5}, UNDECIDED),
        (HALF, {**COSTLY, "dropout_0.65": 0.9}, SUPPORTED),  # 0.8
        (HALF, {**COSTLY, "dropout_0.65": (0.4, 6)}, CONTRADICTED),  # 3.6: lower, and more than half
        (NOISY, {"blocks_4": 0.4}, SUPPORTED),
        (NOISY, {"blocks_4": 0.4, "dropout_0.65": 0.4}, UNDECIDED),
        (NOISY, {"blocks_4": 0.4, "dropout_0.65": 0.3}, CONTRADICTED),
        *((words, SURE, CONTRADICTED) for words in (LOSS_BASELINE, LOSS_EFFICIENTNET)),
        *((words, SURE, SUPPORTED) for words in (BASELINE, EFFICIENTNET)),
        *((words, {"final": 0.6}, SUPPORTED) for words in (LOSS_BASELINE, LOSS_EFFICIENTNET)),
        *(
            (words, {network: accuracy}, expected)
            for words, network in (
                ("lowers the baseline's accuracy", "baseline_test_validation"),
                ("lowers the baseline's loss", "baseline"),
                ("2 blocks have the lowest loss on all", "blocks_2"),
                ("1 block is the most accurate", "blocks_1"),
                ("2 blocks are the most accurate", "blocks_2"),
                ("5 blocks are the most accurate", "blocks_5"),
                ("Dropout 0.5 is the most accurate on undistorted", "dropout_0.5"),
                ("Dropout 0.5 is the most accurate on blurred", "dropout_0.5"),
                ("Dropout 0.65 is the most accurate", "dropout_0.65"),
                ("less accurate than the baseline on undistorted", "baseline"),
                ("less accurate than the baseline under", "baseline"),
            )
            for accuracy, expected in ((0.6, SUPPORTED), (0.4, CONTRADICTED), (0.5, UNDECIDED))
        ),
    ],
)
def test_a_verdict_turns_with_the_networks(words, given, expected):
    assert verdict(study(given), words) == expected


def test_the_numbers_of_this_run_and_the_comparison_that_speaks_least_for_the_claim():
    judged = row(study({"blocks_3": 0.6, "blocks_2": 0.7}), BLOCKS_3)
    assert judged["verdict"] == CONTRADICTED and judged["this run"] == "most accurate: 2 blocks, 0.700; 3 blocks: 0.600"
    assert "3 blocks against 2 blocks on clean, accuracy -10.00 points" in judged["evidence"]
    assert row(study({**COSTLY, "dropout_0.65": (0.4, 6)}), HALF)["this run"] == "on 0 of 4 test sets"


def test_hypothesis_1_is_judged_on_each_test_set_alone():
    runs = Runs({**study(), "blocks_3": [FakeRun(0.6, per_set={"sections": (0.4, 2)})]})
    assert verdict(runs, BLOCKS_3) == SUPPORTED and verdict(runs, BLOCKS_3_DISTORTED) == CONTRADICTED


def test_a_lead_within_chance_is_undecided_and_the_sample_size_decides():
    for n, expected in ((300, UNDECIDED), (20_000, SUPPORTED)):
        runs = Runs({f"blocks_{k}": [FakeRun(0.53 if k == 3 else 0.50, n=n, swap=k)] for k in range(1, 6)})
        assert verdict(runs, BLOCKS_3) == expected
        assert row(runs, BLOCKS_3)["this run"].startswith("most accurate: 3 blocks, 0.530")


@pytest.mark.parametrize("test_set", TEST_SETS)
def test_every_one_of_the_six_sets_counts(test_set):
    runs = Runs({**study(), "final": seeds(0.6, per_set={test_set: (0.4, 2)}, history=curves())})
    assert verdict(runs, LOSS_BASELINE) == verdict(runs, EFFICIENTNET) == CONTRADICTED
    expected = CONTRADICTED if test_set in ("gaussian_blur", "salt_pepper", "occlusion") else SUPPORTED
    assert verdict(runs, BASELINE) == expected
    runs = Runs({**study(FALLING), "dropout_0.65": seeds(0.6, per_set={test_set: (0.1, 2)})})
    judged = row(runs, DROPOUT)
    assert judged["verdict"] == CONTRADICTED and judged["this run"] == "on 5 of 6 test sets"


def test_efficientnet_without_imagenet_weights_judges_nothing_but_is_shown():
    runs = study({"final": 0.6})
    runs["efficientnet"] = seeds(weights="none", history=curves())
    judged = row(runs, EFFICIENTNET)
    assert judged["verdict"] == OTHERWISE and judged["this run"] == "on 6 of 6 test sets"
    assert "supported: 6 of 6 comparisons" in judged["evidence"]
    assert "EfficientNetB0 (random weights)" in judged["evidence"]
    runs["efficientnet"] = seeds(weights="sha256:00", history=curves())
    assert verdict(runs, EFFICIENTNET) == SUPPORTED


def overfitting(losses):
    return row(Runs(baseline_test_validation=[FakeRun(history={**curves(), "val_loss": losses})]), OVERFITS)


def test_overfitting_is_judged_by_the_last_epochs_and_not_by_one_that_jumps():
    assert overfitting(curves()["val_loss"])["verdict"] == SUPPORTED  # about 1.05 in epochs 20-30, 2.4 at the end
    assert overfitting(3 - 0.01 * np.arange(100))["verdict"] == CONTRADICTED
    jumping = 1 + np.random.default_rng(0).uniform(0, 0.5, 100)
    for end in (0.5, 1.25, 2.0):
        assert overfitting(np.append(jumping[:-1], end))["verdict"] == UNDECIDED


def test_overfitting_is_not_judged_from_a_short_training():
    runs = Runs(baseline_test_validation=[FakeRun(history=curves(epochs=40))])
    judged = row(runs, OVERFITS)
    assert judged["verdict"] == OTHERWISE and "epochs after 30; a curve of 40 epochs: 52 or more" in judged["evidence"]


@pytest.mark.parametrize(
    "baseline_end, final_end, expected",
    [
        (0.1, 1.5, SUPPORTED),
        (1.0, 0.1, CONTRADICTED),
        (1.0, 1.0, UNDECIDED),
        (1.7, 0.1, CONTRADICTED),
        (1.7, 2.5, OTHERWISE),
    ],
)
def test_final_overfits_less_by_the_gap(baseline_end, final_end, expected):
    baseline = FakeRun(history=curves(training_end=baseline_end))
    judged = row(
        Runs(baseline=[baseline], final=[FakeRun(history=curves(training_end=final_end), swap=5)]), OVERFITS_LESS
    )
    assert judged["verdict"] == expected
    assert ("the baseline does not overfit here" in judged["evidence"]) == (final_end == 2.5)


@pytest.mark.parametrize(
    "name, words, lowest", [("final", "about 55 epochs", 25), ("efficientnet", "about 20 epochs", 6)]
)
def test_a_loss_that_rises_early_does_not_rise_later(name, words, lowest):
    """The report's schedule ends where the loss is said to rise: it cannot support that."""
    epoch = np.arange(1, PROTOCOL[name].epochs + 1)
    for losses, expected, why in (
        (1 + 0.1 * np.abs(epoch - lowest), CONTRADICTED, "rises before the last epoch"),
        (3 - 0.01 * epoch, OTHERWISE, "none can show a rise after it"),
    ):
        judged = row(Runs({name: [FakeRun(history={"val_loss": losses}, weights=PROTOCOL[name].weights)]}), words)
        assert judged["verdict"] == expected and why in judged["evidence"]


@pytest.mark.parametrize(
    "epochs, annealing, word, why",
    [
        (90, "none", "supported (1 seed)", "mean of the last 10 epochs minus that of epochs 18 to 27 of 90"),
        (4, "none", OTHERWISE, "too short: 4 epochs"),
        (90, "cosine", OTHERWISE, "the learning rate falls to 0"),
    ],
)
def test_a_shorter_schedule_has_its_plateau_in_proportion(epochs, annealing, word, why):
    run = FakeRun(epochs=epochs, study_epochs=epochs, annealing=annealing, history=curves(epochs))
    judged = claims.verdicts(Runs(), "03", short=Runs(baseline_test_validation=[run])).iloc[0]
    assert judged["short schedule"] == word and why in judged["evidence"]


@pytest.mark.parametrize(
    "share, expected", [(0.0, SUPPORTED), (0.01, UNDECIDED), (0.09, UNDECIDED), (0.5, CONTRADICTED)]
)
def test_disgust_by_its_recall(share, expected):
    """Of the other faces, 8 % are called disgust."""
    run = FakeRun(0.5, history=curves())
    images = np.flatnonzero(run.labels("clean") == 1)
    run._logits["clean"][images] = np.eye(7)[np.where(np.arange(len(images)) < share * len(images), 1, 0)]
    assert verdict(Runs(baseline_test_validation=[run]), DISGUST) == expected


def test_disgust_that_few_seeds_recognise_is_undecided():
    """The other faces are never called disgust."""
    runs = [FakeRun(0.5, history=curves()) for _ in range(3)]
    for recognised, run in zip((0, 1, 12), runs, strict=True):
        called = run._logits["clean"].argmax(axis=1) == 1
        run._logits["clean"][called] = np.eye(7)[0]
        run._logits["clean"][np.flatnonzero(run.labels("clean") == 1)[:recognised]] = np.eye(7)[1]
    judged = row(Runs(baseline_test_validation=runs), DISGUST)
    assert judged["verdict"] == UNDECIDED and judged["this run"].startswith("0, 1, 12 of ")
    assert judged["this run"].endswith("images recognised, by seed")


def test_disgust_without_images():
    run = FakeRun(history=curves())
    run._labels[run._labels == 1] = 0
    assert verdict(Runs(baseline_test_validation=[run]), DISGUST) == NOT_RUN


@pytest.mark.parametrize(
    "better, worse, five, lead",
    [
        ((0, 1, 3, 5, 6), (2, 4), SUPPORTED, CONTRADICTED),  # there is no lead
        ((0, 1, 3, 5), (2, 4), UNDECIDED, CONTRADICTED),  # the seventh class is a tie
        ((0, 1, 3, 5), (2, 4, 6), CONTRADICTED, CONTRADICTED),  # nor here
        ((), (2, 4), UNDECIDED, SUPPORTED),
        ((), (0, 1, 3), CONTRADICTED, CONTRADICTED),  # the others make the lead
        ((), (), UNDECIDED, UNDECIDED),
    ],
)
def test_claims_about_single_classes(better, worse, five, lead):
    """Baseline right on half of each class; final on 80 % of those `better`, 20 % of `worse`, half of the rest."""
    baseline, final = FakeRun(0.5, n=3000, history=curves()), FakeRun(0.5, n=3000, history=curves())
    for label in range(7):
        images = np.flatnonzero(final.labels("clean") == label)
        share = 0.8 if label in better else 0.2 if label in worse else 0.5
        for run, part in ((baseline, 0.5), (final, share)):
            right = np.arange(len(images)) < part * len(images)
            run._logits["clean"][images] = 2 * np.eye(7)[np.where(right, label, (label + 1) % 7)]
    runs = Runs(baseline=[baseline], final=[final])
    judged = row(runs, CLASSES)
    assert (judged["verdict"], judged["this run"]) == (five, f"more correct in {len(better)} of 7 classes")
    assert verdict(runs, LEAD) == lead


def short_study(epochs=12, **accuracies):
    """Three seeds of every network on one short schedule; EfficientNet from random weights."""
    given = {**dict.fromkeys(NETWORKS, 0.5), **accuracies}
    schedule = {"epochs": epochs, "study_epochs": epochs, "history": curves(epochs)}
    return Runs({name: seeds(accuracy, **schedule) for name, accuracy in given.items()})


LESS_ACCURATE = "The final network is less accurate than the baseline on undistorted images"


def test_the_short_schedule_has_a_verdict_of_its_own():
    frame = claims.verdicts(Runs(), short=short_study(blocks_3=0.6, final=0.6)).set_index("claim")
    assert set(frame["verdict"]) == {NOT_RUN} and NOT_RUN not in set(frame["this run"])
    short = frame["short schedule"]
    assert short["Hypothesis 1: 3 blocks are the most accurate on undistorted images"] == "supported (3 seeds)"
    assert short[LESS_ACCURATE] == "contradicted (3 seeds)"
    assert short["A separate validation set lowers the baseline's accuracy"] == f"{UNDECIDED} (3 seeds)"
    efficientnet = frame.loc["The final network is more accurate than EfficientNet on all six test sets"]
    assert efficientnet["short schedule"] == OTHERWISE and "random weights" in efficientnet["evidence"]
    assert set(claims.verdicts(Runs(), short=Runs())["short schedule"]) == {NOT_RUN}


def test_the_short_schedule_s_evidence_comes_after_the_protocol_s_and_once():
    short = short_study(blocks_3=0.6)
    full = claims.verdicts(scheduled(study()), "04", short=short).iloc[0]
    assert full["verdict"] == UNDECIDED and full["short schedule"] == "supported (3 seeds)"
    first, second = full["evidence"].split("; short schedule: ")
    assert first.startswith("0 of 4 comparisons") and second.startswith("4 of 4 comparisons")
    alone = claims.verdicts(short, "04", short=short).iloc[0]
    assert alone["verdict"] == OTHERWISE and alone["short schedule"] == "supported (3 seeds)"
    assert alone["evidence"].count("4 of 4 comparisons") == 1


def test_seeds_of_the_short_schedule_may_differ_in_number():
    short = short_study(final=0.6)
    short["baseline"] = short["baseline"][:1]
    frame = claims.verdicts(Runs(), "06", short=short).set_index("claim")
    assert frame["short schedule"][LESS_ACCURATE] == "contradicted (1 to 3 seeds)"


def test_drawn_faces_judge_nothing():
    full, short = scheduled(study({"final": 0.9}, n=200)), short_study(blocks_3=0.9)
    for run in (run for runs in (full, short) for trained in runs.values() for run in trained):
        run.config["data"] = {"form": "builtin"}
    judged = row(full, BASELINE)
    assert judged["verdict"] == OTHERWISE and "not FER-2013's" in judged["evidence"]
    frame = claims.verdicts(full, short=short)
    assert set(frame["verdict"]) == set(frame["short schedule"]) == {OTHERWISE}
    final, counts, _ = claims.answer(full, short)
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
    recognised = "Trained on the report's schedule (3 seeds), the final network recognises 60.0% of the"
    assert final.startswith(recognised)
    assert "(report: 59.6%)" in final and "(report's mean: 30.9%)" in final
    verdicts = claims.verdicts(runs)["verdict"].tolist()
    supported, contradicted, undecided = (verdicts.count(word) for word in claims.JUDGED)
    others = len(verdicts) - supported - contradicted - undecided
    by_these = f"{supported} supported, {contradicted} contradicted, {undecided} undecided, {others} not judged"
    assert supported and contradicted
    noisy = sum(claim.noisy and word in claims.JUDGED for claim, word in zip(claims.CLAIMS, verdicts))
    assert counts == (
        f"Of the report's {len(verdicts)} claims, on the report's schedule (3 seeds): {by_these}."
        f" {noisy} verdicts use a noise chosen to match the report."
    )
    final, counts, _ = claims.answer(Runs(), short_study(final=0.6))
    assert final.startswith("Trained on a schedule of 12 of 55 epochs (3 seeds), the final network recognises")
    narrow = Runs(final=seeds(0.6, epochs=12, study_epochs=12, width=0.25, history=curves(12)))
    assert "12 of 55 epochs, with 25% of the filters (3 seeds)" in claims.answer(Runs(), narrow)[0]
    assert "none is judged on its schedule; on a short schedule (3 seeds): " in counts
    frame = claims.verdicts(Runs(), short=short_study(final=0.6))
    judged = frame["short schedule"].str.startswith(claims.JUDGED)
    early = np.array(
        [
            not {"final", "dropout_0.65"}.isdisjoint(claim.names) or "loss" in (claim.rule, claim.metric)
            for claim in claims.CLAIMS
        ]
    )
    assert f" Longer training of wider networks may turn {(judged & early).sum()}." in counts
    assert 0 < (judged & early).sum() < judged.sum()
    assert set(frame["caution"][~judged]) == {"", claims.NOISE} and frame["caution"][judged & early].all()


def test_seeds_are_averaged_and_named_and_their_spread_counts():
    runs = Runs({f"blocks_{blocks}": [FakeRun(of) for of in (0.49, 0.50, 0.51)] for blocks in range(1, 6)})
    runs["blocks_3"] = [FakeRun(0.64), FakeRun(0.65), FakeRun(0.66)]
    judged = row(runs, BLOCKS_3)
    assert judged["this run"].startswith("most accurate: 3 blocks, 0.650")
    assert judged["verdict"] == SUPPORTED and judged["evidence"].endswith("seeds: 3, 3, 3, 3, 3")
    runs["blocks_3"] = [FakeRun(0.40), FakeRun(0.65), FakeRun(0.90)]  # the same mean; the others are at 0.5
    runs["blocks_1"] = runs["blocks_1"][:1]
    judged = row(runs, BLOCKS_3)
    assert judged["verdict"] == UNDECIDED and judged["evidence"].endswith("seeds: 3, 1, 3, 3, 3")


def test_a_single_seed_is_compared_with_all_of_the_others():
    runs = study({"final": 0.7})
    runs["baseline"] = [FakeRun(0.5, history=curves())]
    judged = row(runs, BASELINE)
    assert judged["verdict"] == SUPPORTED and judged["evidence"].endswith("seeds: 3, 1")
    runs["final"] = [FakeRun(0.7, history=curves()), FakeRun(0.1, history=curves())]
    assert verdict(runs, BASELINE) == UNDECIDED


def test_one_seed_each_must_differ_by_more_where_seeds_lie_further_apart():
    """Five points on 20,000 images: more than seeds lie apart on clean images, less than on distorted ones."""
    runs = Runs({f"blocks_{blocks}": [FakeRun(0.55 if blocks == 3 else 0.5, n=20_000)] for blocks in range(1, 6)})
    assert verdict(runs, BLOCKS_3) == SUPPORTED and verdict(runs, BLOCKS_3_DISTORTED) == UNDECIDED


def test_the_luck_of_a_seed_cancels_where_a_network_meets_itself():
    """Three seeds far apart, each five points better under the one distortion."""
    runs = Runs(baseline=[FakeRun(of, per_set={"gaussian_noise": (of + 0.05, 2.0)}) for of in (0.35, 0.45, 0.55)])
    assert verdict(runs, EASIEST) == SUPPORTED


def test_a_lowest_loss_is_told_by_losses():
    pairs = (("blocks_1", "blocks_2"), ("blocks_1", "blocks_3"))
    claim, losses = claims.Claim("04", "8.1", "1 block", "loss", pairs, ("clean",)), [1.5, 1.2, 1.9]
    told = claims._told(claim, lambda name, *_: losses[int(name[-1]) - 1], claims._pairs(claim))
    assert told == "lowest loss: 2 blocks, 1.20; 1 block: 1.50"


def test_networks_on_unequal_schedules_are_not_compared():
    runs = study()
    runs["blocks_3"] = [FakeRun(0.6, epochs=2)]
    judged = row(runs, BLOCKS_3)
    assert judged["verdict"] == OTHERWISE and "3 blocks, 2 of 100 epochs" in judged["evidence"]
    assert "5 blocks, 100 of 100 epochs" in judged["evidence"] and judged["epochs"] == "2 of 100, 100 of 100"
    runs["blocks_3"] = [FakeRun(0.6)]
    assert verdict(runs, BLOCKS_3) == SUPPORTED
    runs["blocks_3"][0].config["experiment"]["learning_rate"] = 0.01
    judged = row(runs, BLOCKS_3)
    assert judged["verdict"] == OTHERWISE and "at rate 0.01" in judged["evidence"]


def test_what_short_trainings_say_is_evidence_and_no_verdict():
    runs = Runs({f"blocks_{blocks}": [FakeRun(0.6 if blocks == 3 else 0.5, epochs=2)] for blocks in range(1, 6)})
    judged = row(runs, BLOCKS_3)
    assert judged["verdict"] == OTHERWISE and judged["this run"].startswith("most accurate: 3 blocks, 0.600")
    assert judged["evidence"].startswith("by these trainings supported: 4 of 4 comparisons")


@pytest.mark.parametrize(
    "name, words", [("baseline", "baseline"), ("baseline_test_validation", "baseline validated on the test set")]
)
def test_the_easiest_distortion_is_judged_on_the_same_images(name, words):
    accurate, certain = (f"the {words} {rest}" for rest in ("is the most accurate under", "has the lowest loss under"))
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
    about = frame.index[frame["caution"] == claims.NOISE]
    assert {claim.text for claim in claims.CLAIMS if claim.test_sets == TEST_SETS} < set(about)
    for words, counts in (("distorted test set", 2), ("undistorted images", 0), ("under Gaussian noise", 5)):
        assert sum(words in text for text in about) == counts
    assert not claims.verdicts(Runs())["caution"].any()


def test_networks_tested_on_different_images_are_not_compared():
    runs = study()
    runs["final"] = [FakeRun(n=500, history=curves())]
    with pytest.raises(InputError, match="final and baseline differ in their images"):
        claims.verdicts(runs)


def test_distorted_claims_are_judged_on_the_whole_distorted_sets():
    runs = study({"final": 0.6})
    runs["final"][0]._logits["sections"][:] = 0  # spoilt: must not matter to the conclusions
    assert verdict(runs, EFFICIENTNET) == SUPPORTED
