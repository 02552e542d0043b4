"""Figures: the values that go in are the values that the artists show."""

import io

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from PIL import Image

from ferhelpers import plots

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def texts(artists):
    return [artist.get_text() for artist in artists]


def legend_of(figure):
    return texts(figure.legends[0].get_texts())


def results(levels, sets=("clean", "gaussian_blur", "speckle")):
    """A frame as `level_curves` and `model_bars` take it, every number different."""
    frame = pd.DataFrame([(test_set, level) for test_set in sets for level in levels], columns=["test_set", "level"])
    frame["measured"] = 0.3 + 0.01 * np.arange(len(frame))
    frame["low"], frame["high"] = frame.measured - 0.04, frame.measured + 0.05
    frame["published"] = frame.measured[::-1].to_numpy() + 0.005
    return frame


def histories(*seeds, epochs=30):
    epoch = np.arange(1, epochs + 1)
    return [
        pd.DataFrame(
            {
                "epoch": epoch,
                "loss": 2 / epoch + seed,
                "accuracy": 1 - 0.9 / epoch - seed / 100,
                "val_loss": 2.5 / epoch + seed,
                "val_accuracy": 0.8 - 0.7 / epoch - seed / 100,
            }
        )
        for seed in seeds
    ]


def pixels(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 48)).astype(np.uint8)


def test_class_distribution_shows_shares_and_numbers():
    counts = pd.DataFrame({"training": [3995, 436, 4097], "public": [467, 56, 496]}, index=CLASSES[:3])
    axes = plots.class_distribution(counts).axes[0]
    for bars, split in zip(axes.containers, counts, strict=True):
        np.testing.assert_allclose([bar.get_width() for bar in bars], 100 * counts[split] / counts[split].sum())
    assert texts(axes.texts) == ["3,995", "436", "4,097", "467", "56", "496"]
    assert texts(axes.get_yticklabels()) == list(CLASSES[:3])
    assert axes.yaxis_inverted()  # the first class is on top


def test_image_sheet_puts_each_image_under_its_title():
    images, titles = pixels(5), list("abcde")
    axes = plots.image_sheet(images, titles, columns=3).axes[0]
    sheet = np.asarray(axes.images[0].get_array())
    assert texts(axes.texts) == titles
    for image, text in zip(images, axes.texts):
        x, y = text.get_position()
        top, left = int(y) + 2, int(x) - 24
        np.testing.assert_array_equal(sheet[top : top + 48, left : left + 48], np.repeat(image[..., None], 3, axis=2))
    assert (sheet[-48:, -52:] == 255).all()  # the sixth place is empty


def test_image_rows_label_rows_and_columns():
    faces, coloured = pixels(3), np.random.default_rng(1).integers(0, 256, (3, 48, 48, 3)).astype(np.uint8)
    axes = plots.image_rows({"gaussian_blur": faces, "conv1_1": coloured}, CLASSES[:3]).axes[0]
    assert texts(axes.get_xticklabels()) == list(CLASSES[:3])
    assert texts(axes.get_yticklabels()) == ["gaussian blur", "conv1_1"]
    sheet = np.asarray(axes.images[0].get_array())
    for column, x in enumerate(axes.get_xticks()):
        for images, y in zip((np.repeat(faces[..., None], 3, axis=3), coloured), axes.get_yticks()):
            tile = sheet[int(y) - 24 : int(y) + 24, int(x) - 24 : int(x) + 24]
            np.testing.assert_array_equal(tile, images[column])


def test_learning_curves_draw_every_seed():
    figure = plots.learning_curves({"baseline": histories(0, 1, 2), "final": histories(5, epochs=55)})
    seeds = [*histories(0, 1, 2), *histories(5, epochs=55)]
    for axes, quantity in zip(figure.axes, ("loss", "accuracy")):
        training = [line for line in axes.lines if line.get_linestyle() == "--"]
        validation = [line for line in axes.lines if line.get_linestyle() == "-"]
        for line, seed in zip(training, seeds, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), seed[quantity])
        for line, seed in zip(validation, seeds, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), seed[f"val_{quantity}"])
            np.testing.assert_array_equal(line.get_xdata(), seed["epoch"])
        assert validation[0].get_color() == validation[2].get_color() != validation[3].get_color()
        assert validation[0].get_linewidth() < validation[3].get_linewidth()
    assert legend_of(figure) == ["baseline", "final", "training", "validation"]


def test_learning_curves_of_one_epoch_are_visible():
    figure = plots.learning_curves({"baseline": histories(0, epochs=1)})
    assert all(line.get_marker() == "." for axes in figure.axes for line in axes.lines)


def test_confusion_matrices_show_counts_and_shares():
    counts = np.arange(49).reshape(7, 7)
    counts[1] = 0  # a class without images
    panels = plots.confusion_matrices({"baseline": counts, "final": np.eye(7, dtype=int)}).axes[:2]
    assert texts(panels[0].texts) == [str(count) for count in counts.ravel()]
    expected = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.testing.assert_allclose(np.ravel(panels[0].collections[0].get_array()), expected.ravel())
    assert panels[0].get_title() == "baseline\n160 of 1,106 on the diagonal (14.5%)"
    assert panels[1].get_title() == "final\n7 of 7 on the diagonal (100.0%)"
    assert texts(panels[0].get_yticklabels()) == texts(panels[0].get_xticklabels()) == list(CLASSES)
    assert (panels[0].get_ylabel(), panels[0].get_xlabel()) == ("true class", "predicted class")


@pytest.mark.parametrize("quantity", ["accuracy", "loss"])
def test_level_curves_show_measured_intervals_and_report(quantity):
    frame = results(["0.3", "0.5", "0.65"])
    figure = plots.level_curves(frame, quantity, "dropout rate")
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == ["clean", "gaussian blur", "speckle"]
    for axes, (_, rows) in zip(panels, frame.groupby("test_set", sort=False)):
        measured, published = (next(line for line in axes.lines if line.get_marker() == marker) for marker in "oD")
        np.testing.assert_allclose(measured.get_ydata().astype(float), rows.measured)
        np.testing.assert_allclose(published.get_ydata(), rows.published)
        ends = np.array(axes.collections[0].get_segments())[:, :, 1]
        np.testing.assert_allclose(ends, rows[["low", "high"]])
        assert texts(axes.get_xticklabels()) == ["0.3", "0.5", "0.65"]
        assert axes.get_yscale() == ("log" if quantity == "loss" else "linear")
    assert legend_of(figure) == ["this run, 95 % interval", "report"]
    assert (figure.get_supylabel(), figure.get_supxlabel()) == (quantity, "dropout rate")


def test_bars_of_networks_stand_beside_the_report():
    frame = results(["baseline", "final", "efficientnet"])
    figure = plots.model_bars(frame, "accuracy")
    axes = figure.axes[0]
    bars = [
        container for container in axes.containers if container.get_label() in ("baseline", "final", "efficientnet")
    ]
    diamonds = next(line for line in axes.lines if line.get_marker() == "D")
    published = dict(zip(np.round(diamonds.get_ydata(), 6), diamonds.get_xdata()))
    for container in bars:
        rows = frame[frame.level == container.get_label()]
        np.testing.assert_allclose([bar.get_width() for bar in container], rows.measured)
        middles = [round(bar.get_y() + bar.get_height() / 2, 6) for bar in container]
        np.testing.assert_allclose([published[middle] for middle in middles], rows.published)
    assert texts(axes.get_yticklabels()) == ["clean", "gaussian blur", "speckle"]
    assert legend_of(figure) == ["baseline", "final", "efficientnet", "report"]
    assert axes.get_xlabel() == "accuracy (this run: bars with 95 % intervals)"
    assert axes.get_xscale() == "linear" and axes.get_xlim()[0] == 0


def test_losses_of_networks_are_points_on_a_logarithmic_scale():
    frame = results(["baseline", "final"])
    figure = plots.model_bars(frame, "loss")
    axes = figure.axes[0]
    for name, rows in frame.groupby("level"):
        (points,) = (line for line in axes.lines if line.get_label() == name)
        np.testing.assert_allclose(points.get_xdata(), rows.measured)
    assert axes.get_xscale() == "log" and not axes.patches
    assert legend_of(figure) == ["baseline", "final", "report"]
    assert axes.get_xlabel() == "loss (this run: points with 95 % intervals)"


def test_no_line_runs_between_networks_of_several_schedules():
    for levels, line in ((["1", "2"], "-"), (["1, 100 of 100 epochs", "2, 2 of 100 epochs"], "None")):
        axes = plots.level_curves(results(levels), "loss", "blocks").axes[0]
        assert [drawn.get_linestyle() for drawn in axes.lines if drawn.get_marker() == "o"] == [line]


def test_recall_bars_have_intervals_and_leave_out_what_is_missing():
    frame = pd.DataFrame(
        {"class": np.repeat(CLASSES, 2), "network": ["baseline", "final"] * 7, "measured": np.linspace(0.1, 0.75, 14)}
    )
    frame["low"], frame["high"] = frame.measured - 0.05, frame.measured + 0.1
    frame.loc[2, ["measured", "low", "high"]] = np.nan
    figure = plots.recall_bars(frame)
    axes = figure.axes[0]
    assert texts(axes.get_yticklabels()) == list(CLASSES)
    widths = [bar.get_width() for bar in axes.patches]
    np.testing.assert_allclose(widths, [*frame.measured[::2], *frame.measured[1::2]])
    ends = [segment[:, 0] for lines in axes.collections for segment in lines.get_segments() if len(segment)]
    expected = pd.concat([frame[::2], frame[1::2]])[["low", "high"]]
    np.testing.assert_allclose(ends, expected.dropna())
    assert legend_of(figure) == ["baseline", "final"]


def test_sharpness_shows_the_share_of_images_up_to_each_value():
    axes = plots.sharpness({"training": np.array([30.0, 10, 20]), "augmented": np.array([5.0, 10])}).axes[0]
    line = axes.lines[0]
    assert dict(zip(line.get_xdata()[1:], np.round(line.get_ydata()[1:], 4))) == {10: 0.3333, 20: 0.6667, 30: 1.0}
    assert axes.get_xscale() == "log"


def test_png_is_small_has_a_palette_and_the_width_of_the_house():
    faces = np.clip(np.random.default_rng(0).normal(128, 20, (70, 48, 48)), 0, 255).astype(np.uint8)
    data = plots.png(plots.image_sheet(faces[:28], ["happy"] * 28))
    image = Image.open(io.BytesIO(data))
    assert image.mode == "P" and len(data) < 250_000
    assert 640 <= image.width <= 700


def test_nothing_leaks_into_matplotlib():
    matplotlib.get_backend()  # chosen on first use
    before = matplotlib.rcParams.copy()
    plots.png(plots.model_bars(results(["a", "b"]), "accuracy"))
    plots.learning_curves({"baseline": histories(0)})
    assert matplotlib.rcParams == before
    assert pyplot.get_fignums() == []
