"""The defects of the published numbers are real, and the confusion matrices can be made to arise again."""

import numpy as np
import pytest
from fake_runs import FakeRun, logits_for

from ferhelpers import defects, distortions, evaluation
from ferhelpers.data import OFFICIAL_COUNTS
from ferhelpers.published import published_confusions
from ferhelpers.runs import Runs

FER_LABELS = np.repeat(np.arange(7), OFFICIAL_COUNTS["public"])


def test_published_matrices_are_chance_and_not_their_accuracies():
    frame = defects.confusion_check(Runs())
    assert frame["report: accuracy"].tolist() == [0.687, 0.671, 0.596]
    assert frame["report: trace / sum"].tolist() == [0.173, 0.177, 0.177]  # 622, 637, 634 of 3,589
    assert (abs(frame["report: trace / sum"] - frame["report: by chance"]) < 0.005).all()
    assert (frame["report: p of chance"] > 0.05).all()
    assert (frame[[column for column in frame if column.startswith("this run")]] == "not run").all(axis=None)


def test_a_matrix_in_the_right_order_belongs_to_its_accuracy_and_a_shuffled_one_does_not():
    runs = Runs({name: [FakeRun(0.65, n=2000)] for name in published_confusions()})
    frame = defects.confusion_check(runs)
    assert (frame["this run: trace / sum"] == frame["this run: accuracy"]).all()
    assert (frame["this run: accuracy"] == 0.65).all()
    assert (abs(frame["this run: labels shuffled"] - 1 / 7) < 0.03).all()
    assert (abs(frame["this run: by chance"] - 1 / 7) < 0.01).all()


def test_shuffled_labels_give_the_report_s_seventeen_percent():
    logits = logits_for(FER_LABELS, np.random.default_rng(0).random(3589) < 0.67)
    right = evaluation.confusion(logits, FER_LABELS)
    shares = [evaluation.shuffled_confusion(logits, FER_LABELS, seed).trace() / 3589 for seed in range(20)]
    assert right.trace() / 3589 == pytest.approx(0.67, abs=0.02)
    assert np.mean(shares) == pytest.approx(0.17, abs=0.01) and max(shares) < 0.2
    shuffled = evaluation.shuffled_confusion(logits, FER_LABELS)
    assert (shuffled.sum(axis=1) == right.sum(axis=1)).all() and (shuffled.sum(axis=0) == right.sum(axis=0)).all()
    assert (shuffled == evaluation.shuffled_confusion(logits, FER_LABELS)).all()
    assert (shuffled != evaluation.shuffled_confusion(logits, FER_LABELS, seed=1)).any()


def test_chance_agreement_by_hand():
    assert evaluation.chance_agreement(np.array([[3, 1], [1, 5]])) == pytest.approx((4 * 4 + 6 * 6) / 100)
    assert evaluation.chance_agreement(np.diag([5, 5])) == 0.5


def test_row_sums_are_those_of_no_official_split():
    frame = defects.row_sum_check().set_index("images")
    rows = frame.drop(columns=["total", "p"]).to_dict("split")
    matrices, public, private, _ = rows["data"]
    assert matrices == [511, 49, 516, 903, 597, 381, 632] and matrices not in (public, private)
    assert public == OFFICIAL_COUNTS["public"] and private == OFFICIAL_COUNTS["private"]
    assert set(frame["total"]) == {3589}
    assert frame.loc["PublicTest", "p"] < 0.05 < frame.loc["a random tenth of all images", "p"]


def test_published_overall_is_not_the_mean_of_its_sections():
    frame = defects.overall_check()
    assert frame["report"].tolist() == ["0.355", "4.86", "0.337", "5.17"]
    assert frame["mean of the five sections"].tolist() == ["0.309", "5.18", "0.294", "5.47"]


def test_the_reading_that_gives_the_report_s_numbers_comes_first():
    """Networks that lose under "variance" exactly what the report's lost, and nothing under the others."""

    def run(*shares):
        return [FakeRun(0.9, n=3000, per_set={"noise/variance": (share, 2.0)}) for share in shares]

    two = run(0.419, 0.439)
    frame = defects.noise_readings(Runs(baseline=run(0.435), blocks_2=two, final=[], mine=run(0.1)))
    part = distortions.section("gaussian_noise", 3000)  # the images that the report laid its noise on
    hits = [evaluation.correct(net.logits("noise/variance"), net.labels("noise/variance"))[part] for net in two]
    (net,) = run(0.435)
    of_one = evaluation.correct(net.logits("noise/variance"), net.labels("noise/variance"))[part].mean()
    distance = np.mean([abs(of_one - 0.435), abs(np.mean(hits) - 0.429)])
    assert frame.reading[:2].tolist() == ["the report's own numbers", "variance"]
    assert len(frame) == 1 + len(distortions.NOISE_READINGS)
    assert frame["2 blocks"][0] == "0.429 / 1.80" and frame["2 blocks"][1].startswith(f"{np.mean(hits):.3f} / ")
    assert frame["distance: accuracy"][1] == f"{distance:.3f}" and float(frame["distance: accuracy"][2]) > 0.4
    assert frame.columns[1:].tolist() == ["baseline", "2 blocks", "distance: accuracy", "factor: loss"]
    assert defects.noise_readings(Runs(blocks_2=[])).to_dict("records") == [{"networks": "all", "result": "not run"}]


def test_the_best_constant_prediction_by_hand():
    share, entropy = evaluation.constant_prediction([0, 0, 1, 3])
    assert share == 0.5 and entropy == pytest.approx(1.5 * np.log(2))
    assert evaluation.constant_prediction(FER_LABELS) == (pytest.approx(895 / 3589), pytest.approx(1.8102, abs=1e-4))


def test_the_published_numbers_against_a_constant_prediction():
    """The final network beats it in both on clean and occluded images, the two others on clean ones alone."""
    frame = defects.guessing_check(Runs())
    name = "better than a constant prediction in"
    beaten = frame[frame[f"report: {name}"] == "both"]
    assert beaten.groupby("network")["test set"].agg(set).to_dict() == {
        "baseline": {"clean"},
        "EfficientNetB0": {"clean"},
        "final": {"clean", "occlusion"},
    }
    assert len(frame) == 18 and (frame[f"this run: {name}"] == "not run").all()
    run = FakeRun(n=3589, per_set={"sections": (0.1, 2.0), "clean": (0.6, 50.0)})
    column = defects.guessing_check(Runs(final=[run])).set_index(["test set", "network"])[f"this run: {name}"]
    assert column["clean", "final"] == "accuracy" and column["clean", "baseline"] == "not run"
    assert column["occlusion", "final"] == "neither"


def test_leads_within_the_choice_of_images():
    """Newcombe's interval of Table 20's lead, 0.443 against 0.373 of 717; in no ablation is a lead clear."""
    frame = defects.margins([str(table) for table in range(3, 21)]).set_index("table")
    row = frame.loc["20"]
    columns = ["images", "most accurate", "second: network", "second: lead"]
    assert row[columns].tolist() == [717, "final", "baseline", "+7.0"]
    assert row["second: 95 % interval"] == "+2.0 to +12.1"
    places = ("second", "least")
    lower = {place: frame[f"{place}: 95 % interval"].str.split(" to ").str[0].astype(float) for place in places}
    assert lower["second"][lower["second"] > 0].index.tolist() == ["15", "20"]
    assert frame.loc["3", "images"] == 3589 and lower["least"]["3"] > 0


def test_sentences_beside_the_tables_that_they_are_about():
    assert defects.wording_check()["its tables say"].tolist() == [
        "7.9 and 1.7 points less than 3 blocks",
        "3.9 points",
        "73% of it",
    ]
