"""Data -> matplotlib Figure, in one house style: colour-blind safe, legible at the width of a phone.

Every function returns a Figure that pyplot does not know, so there is nothing to close; `png` makes a file of it.
Names are shown with spaces for underscores (`gaussian_blur`), but for the numbers of layers (`conv1_1`).
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import matplotlib
import numpy as np
import pandas as pd
import seaborn
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, PercentFormatter
from PIL import Image

from ferhelpers.data import CLASSES

WIDTH = 6.0  # inches; 660 pixels at DPI 110
DPI = 110
PALETTE = seaborn.color_palette("colorblind")
PUBLISHED = {"markersize": 6, "markerfacecolor": "white", "zorder": 4, "label": "report"}  # of black diamonds, "kD"
STYLE = {
    **seaborn.axes_style("whitegrid"),
    "figure.dpi": DPI,
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), 11),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 10),
    **dict.fromkeys(("legend.frameon", "axes.spines.top", "axes.spines.right"), False),
    "axes.edgecolor": "0.6",
    "grid.color": "0.9",
}


def styled(function: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the house style; where the first argument is empty: "not run"."""

    @functools.wraps(function)
    def draw(content, *args, **kwargs):
        with house_style():
            return function(content, *args, **kwargs) if len(content) else _not_run()

    return draw


@contextmanager
def house_style() -> Iterator[None]:
    """STYLE over matplotlib's defaults, whatever a matplotlibrc or a cell has set; afterwards that holds again."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def png(figure: Figure, notes: Sequence[str] = ()) -> bytes:
    """Render a figure as PNG with a palette of 256 colours, a third of the size of one without.

    Grey images keep every grey; k-means keeps those of heat maps free of blotches, at about a second a figure.

    Args:
        notes: lines of text, which go below the figure.
    """
    rendered, file = io.BytesIO(), io.BytesIO()
    with house_style():
        if notes:
            figure.draw_without_rendering()
            box = figure.get_tightbbox()  # inches
            corner = box.x1 / figure.get_figwidth(), box.y0 / figure.get_figheight()
            text = "\n" + "\n".join(notes)
            figure.text(*corner, text, fontsize=7, color="0.45", ha="right", va="top", in_layout=True)
        figure.savefig(rendered, format="png", dpi=DPI, bbox_inches="tight", facecolor="white")
    image = Image.open(rendered).convert("RGB")
    image.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1).save(file, format="png", optimize=True)
    return file.getvalue()


@styled
def class_distribution(counts: pd.DataFrame) -> Figure:
    """Show how many images each class has, as share of its split and as number (Figure 1 of the report).

    Args:
        counts: images; one row a class, one column a split.
    """
    figure = Figure((WIDTH, 0.85 * len(counts)), layout="constrained")
    axes = figure.subplots()
    _grouped_bars(axes, 100 * counts / counts.sum())
    for bars, split in zip(axes.containers, counts):
        axes.bar_label(bars, [f"{count:,}" for count in counts[split]], padding=3, fontsize=8.5)
    axes.set_xlabel("share of the split")
    axes.xaxis.set_major_formatter(PercentFormatter(decimals=0))
    axes.margins(x=0.1)
    _legend(figure, axes)
    return figure


@styled
def image_sheet(images: np.ndarray, titles, columns: int = 7) -> Figure:
    """Show images side by side, each under its title.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3), 0..255.
        titles: N short texts, of one line or several.
        columns: images in a row.
    """
    rows = math.ceil(len(images) / columns)
    lines = 1 + max(title.count("\n") for title in titles)
    tile, above = images.shape[1], lines * images.shape[1] // 3
    sheet = np.full((rows * (tile + above), columns * (tile + 4), 3), 255, np.uint8)
    figure, axes = _sheet(sheet)
    for index, (image, title) in enumerate(zip(_coloured(images), titles, strict=True)):
        top, left = (index // columns) * (tile + above) + above, (index % columns) * (tile + 4)
        sheet[top : top + tile, left : left + tile] = image
        axes.text(left + tile / 2, top - 2, title, ha="center", va="bottom", fontsize=10)
    axes.images[0].set_data(sheet)
    axes.set(xticks=[], yticks=[])
    return figure


@styled
def image_rows(rows: dict[str, np.ndarray], titles) -> Figure:
    """Show the same images in several treatments, one labelled row each (Figures 2-6, 8 and 9 of the report).

    Args:
        rows: label -> uint8 (n, H, W) or (n, H, W, 3), 0..255; every row has the same n, H and W.
        titles: n short texts, above the columns.
    """
    tile = next(iter(rows.values())).shape[1]
    step = tile + 4
    sheet = np.full((len(rows) * step, len(titles) * step, 3), 255, np.uint8)
    for row, images in enumerate(rows.values()):
        for column, image in enumerate(_coloured(images)):
            sheet[row * step : row * step + tile, column * step : column * step + tile] = image
    figure, axes = _sheet(sheet)
    axes.set_xticks(np.arange(len(titles)) * step + tile / 2, titles)
    axes.set_yticks(np.arange(len(rows)) * step + tile / 2, [_spaced(label) for label in rows])
    axes.tick_params(length=0, labeltop=True, labelbottom=False, pad=2)
    return figure


@styled
def learning_curves(histories: dict[str, list[pd.DataFrame]]) -> Figure:
    """Show loss and accuracy by epoch, training dashed, validation solid (Figures 7 and 10 of the report).

    Args:
        histories: network -> history of each seed, with columns epoch, loss, accuracy, val_loss, val_accuracy. Several
            seeds are drawn as thin lines.
    """
    figure = Figure((WIDTH, 6.2), layout="constrained")
    panels = figure.subplots(2, sharex=True)
    for axes, quantity in zip(panels, ("loss", "accuracy")):
        for colour, seeds in zip(PALETTE, histories.values()):
            for history in seeds:
                look = {"color": colour, "linewidth": 1.8 if len(seeds) == 1 else 0.9}
                look["marker"] = "." if len(history) < 20 else None
                axes.plot(history.epoch, history[quantity], linestyle="--", alpha=0.7, **look)
                axes.plot(history.epoch, history[f"val_{quantity}"], linestyle="-", **look)
        axes.set_ylabel(quantity)
    panels[1].set_xlabel("epoch")
    panels[1].xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    keys = [Line2D([], [], color=colour, linewidth=3) for colour, _ in zip(PALETTE, histories)]
    keys += [Line2D([], [], color="0.3", linestyle="--"), Line2D([], [], color="0.3")]
    figure.legend(keys, [*histories, "training", "validation"], loc="outside upper center", ncols=3)
    return figure


@styled
def confusion_matrices(matrices: dict[str, np.ndarray]) -> Figure:
    """Show confusion matrices, one below the other: counts as numbers, shares of the true class as colour.

    Args:
        matrices: title -> int (7, 7), rows = true class. Number and share of the diagonal are added to the title.
    """
    figure = Figure((WIDTH, 4.6 * len(matrices)), layout="constrained")
    panels = figure.subplots(len(matrices), squeeze=False)[:, 0]
    for axes, (title, counts) in zip(panels, matrices.items()):
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        names = {"xticklabels": CLASSES, "yticklabels": CLASSES, "cbar_kws": {"label": "share of the true class"}}
        numbers = {"annot": counts, "fmt": "d", "annot_kws": {"fontsize": 11}}
        seaborn.heatmap(shares, vmin=0, vmax=1, cmap="Blues", linewidths=1, ax=axes, **names, **numbers)
        axes.collections[0].colorbar.outline.set_visible(False)
        hits, total = np.trace(counts), counts.sum()
        axes.set_title(f"{title}\n{hits:,} of {total:,} on the diagonal ({hits / total:.1%})")
        axes.set(xlabel="predicted class", ylabel="true class")
        axes.tick_params(rotation=0, length=0)
    return figure


@styled
def level_curves(frame: pd.DataFrame, quantity: str, factor: str) -> Figure:
    """Show how accuracy or loss moves with one factor, a panel for each test set (Tables 3-8 and 9-14 of the report).

    Args:
        frame: one row for each test set and level, in order: test_set, level, measured, low, high (95 % interval),
            published; NaN where there is none.
        quantity: "accuracy" (0..1) or "loss" (nats; drawn on a logarithmic scale).
        factor: what the levels are, e.g. "blocks".
    """
    sets = list(frame.test_set.unique())
    named = [level.partition(", ") for level in frame.level.unique()]
    ticks = ["\n".join([level, *textwrap.wrap(how, 6)]) for level, _, how in named]
    line = "-" if len({how for *_, how in named}) == 1 else ""  # between networks of several schedules nothing runs
    lines = math.ceil(len(sets) / 2)
    height = 2.0 + 0.15 * max(tick.count("\n") for tick in ticks)
    figure = Figure((WIDTH, 0.5 + lines * height), layout="constrained")
    panels = figure.subplots(lines, 2, sharey=True, squeeze=False)
    for axes, name in zip(panels.flat, sets):
        rows = frame[frame.test_set == name]
        places = np.arange(len(rows))
        interval = [rows.measured - rows.low, rows.high - rows.measured]
        look = {"color": PALETTE[0], "fmt": f"o{line}", "capsize": 3, "label": "this run, 95 % interval"}
        axes.errorbar(places, rows.measured, interval, **look)
        axes.plot(places, rows.published, "kD", **PUBLISHED)
        axes.set_xticks(places, ticks)
        axes.set_title(_spaced(name))
        axes.margins(x=0.12, y=0.1)
    for axes in panels.flat[len(sets) :]:
        axes.set_visible(False)
    if quantity == "loss":
        axes.set_yscale("log")
        _plain_numbers(axes.yaxis)
    figure.supxlabel(factor, fontsize=11)
    figure.supylabel(quantity, fontsize=11)
    _legend(figure, panels[0, 0])
    return figure


@styled
def model_bars(frame: pd.DataFrame, quantity: str) -> Figure:
    """Compare networks on every test set by accuracy or loss (Tables 15-20 of the report).

    Args:
        frame: as in `level_curves`; the levels are networks.
        quantity: "accuracy" (0..1) or "loss" (nats; points on a logarithmic scale).
    """
    return _bars(frame, "test_set", "level", quantity)


@styled
def recall_bars(frame: pd.DataFrame) -> Figure:
    """Compare networks by the recall of each class.

    Args:
        frame: one row for each class and network, in order: class, network, measured (0..1), low, high (95 % interval).
    """
    return _bars(frame, "class", "network", "recall")


@styled
def sharpness(values: dict[str, np.ndarray]) -> Figure:
    """Compare how sharp sets of images are: the share of images (up) that is at most so sharp (across).

    Args:
        values: set of images -> float (n,), sharpness of each image, above 0 (say, the variance of its Laplacian).
    """
    figure = Figure((WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    for colour, style, (name, sharp) in zip(PALETTE, ("-", "--", "-.", ":"), values.items()):
        axes.ecdf(sharp, color=colour, linestyle=style, linewidth=1.8, label=name)
    axes.set_xscale("log")
    _plain_numbers(axes.xaxis)
    axes.set(xlabel="sharpness (variance of the Laplacian)", ylabel="share of the images")
    _legend(figure, axes)
    return figure


def _bars(frame, group, series, quantity):
    """Grouped horizontal bars (points, for a loss) with intervals; a column `published` gives diamonds."""

    def table(column):
        return frame.pivot(index=group, columns=series, values=column).loc[groups, frame[series].unique()]

    groups = frame[group].unique()
    figure = Figure((WIDTH, 0.6 + 0.3 * len(frame)), layout="constrained")
    axes = figure.subplots()
    points = quantity == "loss"  # one may be a hundred times another
    places = _grouped_bars(axes, table("measured"), table("low"), table("high"), points)
    if "published" in frame:
        axes.plot(table("published").to_numpy().T.ravel(), np.ravel(places), "kD", **PUBLISHED)
    axes.set_xlabel(f"{quantity} (this run: {'points' if points else 'bars'} with 95 % intervals)")
    if points:
        axes.set_xscale("log")
        _plain_numbers(axes.xaxis)
    else:
        axes.set_xlim(left=0)
    _legend(figure, axes)
    return figure


def _grouped_bars(axes, values, low=None, high=None, points=False):
    """Draw horizontal bars, or points at their ends, and return their places.

    The rows of `values` are groups from the top down, its columns the bars.
    """
    height = 0.84 / values.shape[1]
    places = [np.arange(len(values)) + (bar - (values.shape[1] - 1) / 2) * height for bar in range(values.shape[1])]
    for name, place, colour in zip(values, places, PALETTE):
        if points:
            axes.plot(values[name], place, "o", color=colour, label=_spaced(name))
        else:
            axes.barh(place, values[name], 0.92 * height, color=colour, label=_spaced(name))
        if low is not None:
            interval = [values[name] - low[name], high[name] - values[name]]
            axes.errorbar(values[name], place, xerr=interval, fmt="none", ecolor="black", elinewidth=1.2, capsize=2)
    axes.set_yticks(np.arange(len(values)), [_spaced(name) for name in values.index])
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.grid(False, axis="y")
    return places


def _not_run():
    figure = Figure((WIDTH, 0.6))
    figure.text(0.5, 0.5, "not run", ha="center", va="center", color="0.4")
    return figure


def _sheet(pixels):
    """A figure that holds one large picture with room for labels, no wider than the house allows."""
    height, width = pixels.shape[:2]
    inches = min(WIDTH, 1 + width / 60)
    figure = Figure((inches, inches * height / width), layout="constrained")
    axes = figure.subplots()
    axes.imshow(pixels)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return figure, axes


def _coloured(images):
    return images if images.ndim == 4 else np.repeat(images[..., None], 3, axis=3)


def _legend(figure, axes):
    """One legend above the panels; the report's diamonds, which matplotlib puts first as a line, come last."""
    entries = sorted(zip(*axes.get_legend_handles_labels()), key=lambda entry: entry[1] == "report")
    figure.legend(*zip(*entries), loc="outside upper center", ncols=3)


def _plain_numbers(axis):
    """Label a logarithmic axis 1, 2, 5, 10 ..."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def _spaced(name):
    return re.sub(r"_(?=[a-z])", " ", str(name))


@styled
def recognised(faces: Sequence, photo: np.ndarray, overlays: np.ndarray) -> Figure:
    """A photo with its faces boxed and named; below, for the largest: the crop, its heat map, and all probabilities.

    Args:
        faces: photo.Face, the largest first.
        photo: uint8 (H, W, 3).
        overlays: uint8 (n, 48, 48, 3), as from photo.heat, of the first n faces, which get a row each.
    """
    height, width = photo.shape[:2]
    tall = min(1.6 * WIDTH, WIDTH * height / width)
    figure = Figure(figsize=(WIDTH, tall + 1.5 * len(overlays)), layout="constrained")
    grid = figure.add_gridspec(1 + len(overlays), 4, height_ratios=[tall, *[1.5] * len(overlays)])
    axes = figure.add_subplot(grid[0, :])
    axes.imshow(photo)
    axes.axis("off")
    for number, face in enumerate(faces, start=1):
        left, top, side = face.box
        colour = PALETTE[(number - 1) % len(PALETTE)]
        axes.add_patch(Rectangle((left, top), side, side, fill=False, linewidth=2, edgecolor=colour))
        text = f"{number} {face.emotion} {face.probabilities.max():.0%}"
        axes.text(left, max(top, 0), text, color="white", backgroundcolor=colour, fontsize=9, va="bottom", clip_on=True)
    axes.set(xlim=(0, width), ylim=(height, 0))
    for row, (face, overlay) in enumerate(zip(faces, overlays), start=1):
        for column, image in enumerate((face.image, overlay)):
            shown = figure.add_subplot(grid[row, column])
            shown.imshow(image, cmap="gray", vmin=0, vmax=255)
            shown.axis("off")
            shown.set_title((f"face {row}", "heat map")[column], fontsize=9)
        bars = figure.add_subplot(grid[row, 2:])
        bars.barh(CLASSES, face.probabilities, color=PALETTE[(row - 1) % len(PALETTE)])
        bars.invert_yaxis()
        bars.set_xlim(0, 1)
        bars.xaxis.set_major_formatter(PercentFormatter(1))
        bars.tick_params(labelsize=8)
    return figure


@styled
def severity_curves(frame: pd.DataFrame) -> Figure:
    """Show how accuracy falls with the severity of each distortion, a line a network.

    Args:
        frame: one row each: distortion, severity (0: clean), network, accuracy (0..1).
    """
    names = list(frame.distortion.unique())
    figure = Figure((WIDTH, 2.1 * math.ceil(len(names) / 2) + 0.4), layout="constrained")
    panels = figure.subplots(math.ceil(len(names) / 2), 2, sharex=True, sharey=True, squeeze=False)
    for axes, name in zip(panels.flat, names):
        lines = frame[frame.distortion == name].groupby("network", sort=False)
        for colour, line, (network, rows) in zip(PALETTE, itertools.cycle(("o-", "s--", "^:")), lines):
            axes.plot(rows.severity, rows.accuracy, line, color=colour, label=network)
        axes.set_title(_spaced(name))
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    for axes in panels.flat[: len(names)][-2:]:  # the lowest of each column
        axes.tick_params(labelbottom=True)
    figure.supxlabel("severity (0: clean)", fontsize=11)
    figure.supylabel("accuracy", fontsize=11)
    _legend(figure, panels[0, 0])
    return figure
