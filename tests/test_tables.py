"""The numbers of a run stand beside the report's as they should."""

import numpy as np
import pytest
from fake_runs import FakeRun, logits_for

from ferhelpers import comparisons, distortions, evaluation, experiments, tables
from ferhelpers.data import CLASSES
from ferhelpers.published import NETWORKS, published
from ferhelpers.runs import Runs


def side_by_side(table, **runs):
    """The table, by what it varies."""
    frame = tables.side_by_side(table, Runs(runs))
    return frame.set_index(frame.columns[0])


def test_every_training_of_the_study_has_a_row_in_the_overview():
    assert set(experiments.everything(experiments.Settings())) == set(NETWORKS)


@pytest.mark.parametrize("table", published()["table"].unique())
def test_no_cell_is_empty(table):
    run = FakeRun(n=100)
    for runs in (Runs(), Runs(final=[]), Runs.fromkeys(NETWORKS, [run]), Runs(blocks_2=[run] * 2, final=[run])):
        frame = tables.side_by_side(table, runs)
        assert len(frame) == len(published(table))
        assert not frame.isna().any(axis=None) and not (frame == "").any(axis=None)


def test_what_was_not_run_says_so():
    frame = side_by_side("15", final=[FakeRun(0.6)])
    measured = [column for column in frame if not column.endswith("report")]
    assert (frame.loc[["baseline", "EfficientNetB0"], measured] == "not run").all(axis=None)
    assert not (frame.loc["final", measured] == "not run").any()
    assert frame["accuracy: report"].tolist() == ["0.671", "0.596", "0.590"]


def test_a_clean_table_by_hand():
    frame = side_by_side("3", blocks_1=[FakeRun(0.52, n=1000)])
    accuracy, loss = (
        [f"{metric}: {column}" for column in ("report", "here", "difference")] for metric in ("accuracy", "loss")
    )
    assert frame.index.name == "blocks" and list(frame) == accuracy + loss
    assert frame.loc["1", accuracy].tolist() == ["0.509", "0.520 (0.489 to 0.551)", "+0.011"]
    assert frame.loc["2", accuracy].tolist() == ["0.622", "not run", "not run"]
    # logit 2 for the predicted class: a right answer costs log(e^2 + 6) - 2, a wrong one 2 more
    right, spread = np.log(np.exp(2) + 6) - 2, 1.96 * 2 * (0.52 * 0.48 / 1000) ** 0.5
    mean = right + 2 * 0.48
    measured = f"{mean:.2f} ({mean - spread:.2f} to {mean + spread:.2f})"
    assert frame.loc["1", loss].tolist() == ["1.79", measured, f"{mean - 1.79:+.2f}"]


@pytest.mark.parametrize(
    "table, varied", [("1", "test set"), ("6.1.2", "test set"), ("8", "blocks"), ("9", "dropout"), ("20", "network")]
)
def test_the_first_column_is_what_the_table_varies(table, varied):
    assert side_by_side(table).index.name == varied


def test_a_distortion_is_compared_on_its_fifth_and_on_the_whole_set():
    run = FakeRun(n=1000, per_set={"speckle": (0.9, 2), "sections": (0.2, 2)})
    part = distortions.sections(1000)[distortions.NAMES.index("speckle")]
    section = evaluation.accuracy(run.logits("sections")[part], run.labels("sections")[part])
    row = side_by_side("7", blocks_3=[run]).loc["3"]
    assert row["accuracy: here"].startswith(f"{section:.3f} (")
    assert row["accuracy: difference"] == f"{section - 0.177:+.3f}"
    frame = tables.whole_sets(["3", "7", "8"], Runs(blocks_3=[run]))  # clean images are whole in side_by_side
    assert frame["test set"].tolist() == ["speckle"] * 5 + ["occlusion"] * 5
    assert frame["blocks"].tolist() == list("12345") * 2
    row = frame.loc[2]
    assert row[["accuracy: report", "accuracy: difference"]].tolist() == ["0.177", "+0.723"]
    assert row["accuracy: here"] == "0.900 (0.880 to 0.917)"


def test_overall_is_the_set_of_sections():
    run = FakeRun(n=1000, per_set={"sections": (0.34, 2)})
    assert side_by_side("2", baseline=[run]).loc["distorted_overall", "accuracy: here"] == "0.340 (0.311 to 0.370)"
    assert "distorted_overall" not in tables.whole_sets(["2"], Runs(baseline=[run]))["test set"].tolist()


def test_seeds_give_their_mean_and_a_wider_interval():
    low, mean, high = here(FakeRun(0.6))
    lower, mean_of_three, higher = here(FakeRun(0.5), FakeRun(0.6), FakeRun(0.7))
    assert mean == mean_of_three == 0.6 and lower < low - 0.02 and higher > high + 0.02
    # So far apart that the interval would leave what is possible.
    assert here(FakeRun(0.1), FakeRun(0.2), FakeRun(0.3))[0] == 0


def here(*seeds):
    """Low, accuracy and high of the final network on clean images."""
    mean, low, _, high = side_by_side("15", final=list(seeds)).loc["final", "accuracy: here"].split()
    return float(low.strip("(")), float(mean), float(high.strip(")"))


def test_four_blocks_and_dropout_30_are_one_training():
    run = [FakeRun(0.55)]
    assert side_by_side("9", blocks_4=run).loc["0.3", "accuracy: here"].startswith("0.550 ")
    assert side_by_side("3", blocks_4=run).loc["4", "accuracy: here"].startswith("0.550 ")


@pytest.mark.parametrize(
    "weights, start",
    [("none", "random weights"), ("imagenet", "ImageNet weights"), ("sha256:00", "weights from a file")],
)
def test_efficientnet_says_where_it_started(weights, start):
    runs = Runs(efficientnet=[FakeRun(weights=weights, n=100)])
    assert tables.side_by_side("15", runs).loc[2, "network"] == f"EfficientNetB0 ({start})"
    assert f"EfficientNetB0 ({start})" in tables.overview(runs)["network"].tolist()
    assert f"EfficientNetB0 ({start})" in tables.class_recalls(runs)


def test_overview_has_every_network_and_no_empty_cell():
    assert len(tables.overview(Runs())) == len(NETWORKS)
    final = FakeRun(0.6, per_set={"private": (0.58, 2), "sections": (0.3, 2)})
    frame = tables.overview(Runs(final=[final], no_normalisation=[FakeRun(0.5)]))
    assert not frame.isna().any(axis=None)
    frame = frame.set_index("network")
    assert frame.loc["final", ["accuracy: report", "accuracy: this run"]].tolist() == ["0.596", "0.600"]
    assert frame.loc["final", ["PrivateTest accuracy", "distorted accuracy"]].tolist() == ["0.580", "0.300"]
    plain = frame.loc["5 blocks, no normalisation"]
    assert plain[["accuracy: report", "accuracy: this run"]].tolist() == ["not published", "0.500"]
    assert frame.loc["baseline", ["seeds", "accuracy: this run"]].tolist() == [0, "not run"]


def test_a_reader_s_own_network_has_a_row_behind_the_report_s():
    runs = Runs(mine=[FakeRun(0.6)])
    for frame in (tables.overview(runs), tables.six_sets(runs, "accuracy")):
        assert frame.network.tolist()[-2:] == [list(NETWORKS.values())[-1], "mine"] and frame.seeds.tolist()[-1] == 1


def test_six_sets_have_the_report_s_numbers_behind_the_run_s():
    run = FakeRun(0.6, per_set={"sections": (0.3, 2)})
    accuracy = tables.six_sets(Runs(final=[run]), "accuracy").set_index("network")
    assert len(accuracy) == len(NETWORKS) and not accuracy.isna().any(axis=None)
    assert accuracy.loc["final", ["epochs", "seeds", "clean"]].tolist() == ["1 of 55", 1, "0.600 (0.596)"]
    shown = [float(accuracy.loc["final", name.replace("_", " ")].split()[0]) for name in distortions.NAMES]
    assert np.mean(shown) == pytest.approx(0.3, abs=0.001) and accuracy.loc["final", "occlusion"].endswith("(0.443)")
    assert accuracy.loc["baseline", "speckle"] == "not run (0.192)"
    assert accuracy.loc["5 blocks, wired as listed", "clean"] == "not run"
    assert tables.six_sets(Runs(final=[run]), "loss").set_index("network").loc["final", "clean"].endswith("(1.10)")


def test_class_recalls_by_hand():
    run = FakeRun(1.0)
    labels = run.labels("clean")
    run._logits["clean"][labels == 1] = 0  # all disgust is taken for class 0
    frame = tables.class_recalls(Runs(final=[run], baseline=[])).set_index("class")
    recalls = {name: "0.000" if name == "disgust" else "1.000" for name in CLASSES}
    assert frame["final"].to_dict() == recalls and frame.images.sum() == len(run.labels("clean"))
    assert (frame["baseline"] == "not run").all()


def test_the_epoch_at_which_a_loss_passes_the_report_s():
    history = {"epoch": [1, 2, 3, 4], "val_loss": [2.0, 1.5, 1.7, 1.9]}
    runs = Runs(
        blocks_1=[FakeRun(history=history)],
        final=[FakeRun(history=history)],
        listing=[FakeRun(history=history)],
        blocks_2=[],
    )
    frame = tables.turning_points(runs).set_index("network")
    assert frame.loc["1 block"].tolist() == ["1 of 100", "1.50", 2, "1.90", "1.79", 3]
    assert frame.loc["final", "last epoch at or below it"] == "–"  # the report: 1.10
    assert frame.loc["5 blocks, wired as listed"].tolist()[-2:] == ["not published", "–"]
    assert frame.loc["2 blocks"].tolist() == ["not run", "not run", "not run", "not run", "1.22", "not run"]


def test_few_images_can_carry_a_mean_loss():
    run = FakeRun(n=1000)
    run._logits["speckle"] = logits_for(run.labels("speckle"), np.arange(1000) >= 10, 2.0)
    run._logits["speckle"][:10] *= 500  # ten wrong answers, as sure as can be
    frame = tables.loss_tails(Runs(final=[run], baseline=[])).set_index(["test set", "network"])
    row = frame.loc["speckle", "final"]
    small = np.log(6 + np.exp(2)) - 2
    assert row["median"] == f"{small:.2f}" and row["largest"] == "1,000.00"
    assert row["capped mean"] == f"{(10 * evaluation.CAP + 990 * small) / 1000:.2f}"
    assert row["share of the top 1 %"] == f"{10_000 / (10_000 + 990 * small):.0%}"
    assert (frame.loc["clean", "baseline"] == "not run").all()


def test_a_network_of_the_reader_s_own_is_shown_beside_the_report_s():
    runs = Runs(mine=[FakeRun(0.7, history={"epoch": [1]})], blocks_4=[FakeRun(0.5)])
    assert runs.label("mine") == "mine" and list(runs.only("mine").histories()) == ["mine"]
    assert comparisons.compared(runs, "mine", "blocks_4").loc[0, "accuracy: difference"] == "+0.200"
    runs["blocks_4"] = [FakeRun(epochs=2)]
    assert runs.label("mine") == "mine, 1 of 100 epochs"


def test_levels_are_those_of_the_sections_and_say_what_was_not_run():
    runs = Runs(blocks_1=[FakeRun(0.2, per_set={"sections": (0.4, 2.0)})], blocks_3=[FakeRun(0.6)])
    frame = tables.levels(["3", "4"], Runs({**runs, "blocks_2": []}), "accuracy").set_index(["test_set", "level"])
    levels = ["1", "2, not run", "3"]
    assert list(frame.index) == [(test_set, level) for test_set in ("clean", "gaussian_blur") for level in levels]
    assert frame.published["clean", "2, not run"] == 0.622 and np.isnan(frame.measured["clean", "2, not run"])
    assert frame.measured["clean", "1"] == 0.2 and frame.published["clean", "3"] == 0.631
    assert frame.measured["gaussian_blur", "1"] == pytest.approx(0.4, abs=0.08)  # of its section of 200 images
    low, high = evaluation.accuracy_interval(frame.measured["gaussian_blur", "1"], 200)
    assert (frame.low["gaussian_blur", "1"], frame.high["gaussian_blur", "1"]) == (low, high)


def test_recalls_to_draw_are_those_of_the_classes():
    run = FakeRun(0.5)
    frame = tables.recalls(Runs(final=[run]))
    assert frame.measured.tolist() == evaluation.recall(run.logits("clean"), run.labels("clean")).tolist()
    assert ((frame.low < frame.measured) & (frame.measured < frame.high)).all()


def test_what_lacks_a_run_is_a_table_that_says_so():
    runs = Runs(final=[FakeRun(0.6)], baseline=[])
    for table in (comparisons.compared, comparisons.loss_gaps):
        assert table(runs, "final", "baseline").to_dict("records") == [{"network": "baseline", "result": "not run"}]
    assert set(tables.calibration_table(runs).network) == {"final"}
    assert set(tables.calibration_table(Runs(final=[])).result) == {"not run"}
    assert Runs(final=[]).histories() == Runs(final=[]).confusions() == {}
    assert tables.recalls(runs).network.unique().tolist() == ["final"]
    frame = tables.public_and_private(runs).set_index("network")
    assert (frame.loc["baseline"] == "not run").all() and (frame.loc["final"] != "not run").all()


def test_public_and_private_by_hand():
    frame = tables.public_and_private(Runs(final=[FakeRun(0.6, n=1000, per_set={"private": (0.65, 2)})]))
    row = frame.iloc[0]
    assert (row["PublicTest accuracy"], row["PrivateTest accuracy"], row["difference"]) == ("0.600", "0.650", "+0.050")
    low, high = map(float, row["95 % interval"].split(" to "))
    assert (low, high) == pytest.approx((0.05 - 0.0424, 0.05 + 0.0424), abs=0.002)  # 1.96 sqrt(0.24/1000 + 0.2275/1000)


def test_sections_are_set_beside_the_whole():
    runs = Runs(
        final=[FakeRun(0.5, per_set={"sections": (0.4, 2)})],
        baseline=[FakeRun(0.5, per_set={"sections": (0.5, 2)})],
        blocks_1=[],
    )
    frame = tables.sections_and_whole(runs).set_index("distortion")
    assert list(frame.index) == list(distortions.NAMES) and set(frame.images) == {200} and set(frame.networks) == {2}
    assert frame["standard error by chance"].tolist() == pytest.approx([(0.25 * (1 / 200 - 1 / 1000)) ** 0.5] * 5)
    means = frame["mean difference"].astype(float)
    assert means.mean() == pytest.approx(-0.05, abs=0.001)  # the sections together are 0.1 and 0.0 below
    assert (frame["least"].astype(float) <= means).all() and (means <= frame["most"].astype(float)).all()


def test_sections_without_any_run_are_marked():
    frame = tables.sections_and_whole(Runs(final=[]))
    assert (frame.drop(columns="distortion") == "not run").all(axis=None) and len(frame) == 5


def test_sizes_are_the_runs_own():
    run = FakeRun(n=100, epochs=55)
    run.config["parameters"] = 1234567
    frame = tables.sizes(Runs(final=[run], blocks_1=[]))
    assert frame.values.tolist() == [["final", "55 of 55", "1,234,567"], ["1 block", "not run", "not run"]]


def test_readings_stand_below_the_report_and_say_how_far_from_it_they_are():
    right = np.log(np.exp(2) + 6) - 2  # of a logit 2
    runs = Runs(final_unit=[FakeRun(1.0, epochs=55)], blocks_1_byte_augmented=[FakeRun(1.0, epochs=30)], final_byte=[])
    runs["blocks_2_unit"] = []
    frame = tables.readings(runs)
    columns = ["network", "reading", "epochs", "clean", "occlusion"]
    assert frame[columns].values.tolist() == [
        ["final", "the report", "–", "0.596 / 1.10", "0.443 / 1.78"],
        ["final", "unit", "55", f"1.000 / {right:.2f}", f"1.000 / {right:.2f}"],
        ["1 block", "the report", "–", "0.509 / 1.79", "0.337 / 3.72"],
        ["1 block", "byte, augmented", "30", f"1.000 / {right:.2f}", f"1.000 / {right:.2f}"],
        ["2 blocks", "the report", "–", "0.622 / 1.22", "0.409 / 2.35"],
    ]
    assert tables.readings(runs.only("final_unit", "final_byte")).network.tolist() == ["final", "final"]
    lite = tables.readings(Runs(lite_frozen=[FakeRun(1.0, epochs=20)], lite=[]))
    assert lite[columns].values.tolist() == [
        ["EfficientNetB0", "the report", "–", "0.590 / 1.63", "0.372 / 2.45"],
        ["EfficientNetB0", "lite, frozen", "20", f"1.000 / {right:.2f}", f"1.000 / {right:.2f}"],
    ]
    accuracies, losses = [0.596, 0.319, 0.405, 0.189, 0.187, 0.443], [1.10, 1.86, 2.11, 2.19, 2.72, 1.78]
    assert frame.loc[1, "distance: accuracy"] == f"{1 - np.mean(accuracies):.3f}"
    assert frame.loc[1, "factor: loss"] == f"{np.mean(losses) / right:.2f}"
