#!/usr/bin/env python
"""Speed and memory, side by side: ours against what a user would otherwise do, which plain_*.py hold.

    python benchmarks/bench.py              all of it: outputs/bench/bench.json, bench.md, bench.png
    python benchmarks/bench.py --only csv   some of it anew
    python benchmarks/bench.py --readme     the table of benchmarks/README.md, from the last outputs/bench/bench.json

Every measurement has a process of its own, which starts cold and whose peak memory is its own; the two sides alternate,
`--repeats` times, and the median counts. The bound is what training would reach if it were one large matrix product.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "outputs" / "bench"
README = Path(__file__).with_name("README.md")
REFERENCE = Path(__file__).with_name("bench.json")  # what the table of benchmarks/README.md is made from
WHAT = {
    "training_1": ("Training, 1 block", "images/s"),
    "training_2": ("Training, 2 blocks", "images/s"),
    "training_3": ("Training, 3 blocks", "images/s"),
    "training_5": ("Training, 5 blocks", "images/s"),
    "minutes": ("Training until 0.65 on clean validation images", "min"),
    "csv": ("Reading fer2013.csv", "s"),
    "distortions": ("Five distortions of 3,589 images", "s"),
    "gradcam": ("Grad-CAM of 17 layers, 32 images", "s"),
    "bound_2": ("Share of the bound, 2 blocks", "images/s"),
    "bound_5": ("Share of the bound, 5 blocks", "images/s"),
}
BATCH = 64
LEVEL = 0.65  # accuracy on clean validation images
PLATEAU = 20  # epochs until the tutorial's network levels out, at about 0.67 (report 6.1.1, Figure 7): taken as its way
PLAIN = {"wiring": "sequential", "scale": "byte"}  # the network of plain_networks.py


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help=f"some of {','.join(WHAT)}")
    parser.add_argument("--repeats", type=int, default=2, help="processes a side (default: 2)")
    parser.add_argument("--size", type=float, default=1.0, help="share of the work, to try it out (default: 1)")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument(
        "--readme", action="store_true", help="write the table of benchmarks/README.md from the last results"
    )
    parser.add_argument("--measure", nargs=2, metavar=("NAME", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure, options.size)))
    elif options.readme:
        shutil.copyfile(options.output / "bench.json", REFERENCE)
        write_readme("speed", table(json.loads(REFERENCE.read_text())))
    else:
        names = options.only.split(",") if options.only else list(WHAT)
        if unknown := set(names) - set(WHAT):
            parser.error(f"--only: there is no {', '.join(sorted(unknown))}; there are {', '.join(WHAT)}")
        write([compare(name, options.repeats, options.size) for name in names], options.output)


def compare(name: str, repeats: int, size: float) -> dict:
    """One line of the table: {"name", "ours", "other", "ratio", "unit", peak memory of both in GiB, machine}."""
    measured = {"ours": [], "other": []}
    for _ in range(repeats):
        for side, values in measured.items():
            command = [sys.executable, __file__, "--measure", name, side, "--size", str(size)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            values.append(json.loads(done.stdout.splitlines()[-1]))
    ours, other = (statistics.median(value["value"] for value in values) for values in measured.values())
    unit = WHAT[name][1]
    line = {
        "name": name,
        "ours": ours,
        "other": other,
        "ratio": ours / other if unit == "images/s" else other / ours,
        "unit": unit,
        **{f"{side}_gib": statistics.median(value["gib"] for value in values) for side, values in measured.items()},
        "machine": measured["ours"][0]["machine"],
    }
    print(row(line), flush=True)
    return line


def measure(name: str, side: str, size: float) -> dict:
    """One measurement, in this process: {"value", "gib", "machine"}."""
    kind, _, blocks = name.partition("_")
    function = {
        "training": training,
        "minutes": minutes,
        "bound": bound,
        "csv": csv,
        "distortions": distortions,
        "gradcam": gradcam,
    }[kind]
    value = function(side, size, *([int(blocks)] if blocks else []))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB
    from ferhelpers import backend

    machine = backend.machine()
    parts = [machine["processor"], f"{machine['cores']} cores", *machine["gpus"], backend.best_precision()]
    return {"value": value, "gib": peak, "machine": ", ".join(parts)}


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Random uint8 (count, 48, 48): the speed of nothing here depends on what they show."""
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 48), dtype=np.uint8)


def training(side: str, size: float, blocks: int) -> float:
    """Images a second while training with augmentation, after the first two steps."""
    steps = max(2, round(size * {1: 40, 2: 20, 3: 12, 5: 8}[blocks]))
    images = pictures(BATCH * steps)
    if side == "ours":
        from ferhelpers import experiments

        _, train = _trainer(experiments.Experiment(blocks=blocks, augmentation=True, batch_size=BATCH, **PLAIN), images)
        return len(images) / _seconds(lambda: train(images))
    import plain_networks

    model = plain_networks.build(blocks)
    batches = plain_networks.batches(images, np.arange(len(images)) % 7, BATCH)
    model.fit(batches, steps_per_epoch=2, verbose=0)
    return len(images) / _seconds(lambda: model.fit(batches, steps_per_epoch=steps, verbose=0))


def _trainer(experiment, images: np.ndarray):
    """A network, and a function of such images that trains it for an epoch; the first two steps are behind it."""
    from ferhelpers import backend
    from ferhelpers import training as study

    model = study.build(experiment, len(images))
    epoch = backend.epoch_function(model, np.arange(len(images)) % 7, experiment.batch_size)
    epoch(images[..., None], np.arange(2 * experiment.batch_size))
    return model, lambda images: epoch(images[..., None], np.arange(len(images)))


def minutes(side: str, size: float) -> float:
    """Minutes until LEVEL: measured images a second, and the epochs of a stored training that reached it.

    Ours: the small residual network on clean images (notebook 9). Other: the tutorial's network, of which the report
    says when it levels out.
    """
    if side == "other":
        return PLATEAU * 28_709 / training(side, size, 5) / 60
    import pandas as pd

    from ferhelpers import experiments, robust
    from ferhelpers import training as study

    experiment = experiments.robust_training(experiments.Settings())["robust_clean"]
    [run] = (ROOT / "results" / "fer2013" / "runs").glob(f"{experiment.slug}-*")
    reached = pd.read_csv(run / "history.csv").query("val_accuracy >= @LEVEL").epoch.min()
    images = pictures(max(2, round(size * 40)) * experiment.batch_size)
    model, train = _trainer(experiment, images)

    def epoch():
        train(robust.training_images(images, experiment.recipe, (0, 1)))
        study.predict(model, images[: len(images) // 6])  # the validation images of an epoch

    return reached * 24_402 * _seconds(epoch) / len(images) / 60


def bound(side: str, size: float, blocks: int) -> float:
    """Ours: images a second while training. Other: if all arithmetic ran as fast as a 4096-cubed matrix product."""
    if side == "ours":
        return training(side, size, blocks)
    import tensorflow as tf

    from ferhelpers import backend

    dtype = "bfloat16" if "bfloat16" in backend.best_precision() else "float32"
    matrix = tf.cast(tf.random.normal((4096, 4096)), dtype)
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)))
    product()
    return 2 * 4096**3 / _seconds(lambda: product().numpy()) / flops(blocks)


def flops(blocks: int) -> float:
    """Arithmetic of the convolutions for a training image: forward, gradients by the weights and by the input."""
    from ferhelpers.models import BLOCKS

    total, channels, side = 0, 1, 48
    for filters, convolutions in BLOCKS[:blocks]:
        for _ in range(convolutions):
            forward = 2 * 9 * channels * filters * side**2
            total += forward * (3 if channels > 1 else 2)  # the image itself needs no gradient
            channels = filters
        side //= 2
    return total


def csv(side: str, size: float) -> float:
    """Seconds to read 35,887 rows, the first time: whoever reads them again has the cache."""
    import plain_data

    from ferhelpers import readers

    images = pictures(round(35_887 * size))
    usages = np.array(readers.USAGES)[np.digitize(np.linspace(0, 1, len(images)), (0.8, 0.9))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fer2013.csv"
        with open(path, "w") as file:
            file.write("emotion,pixels,Usage\n")
            for number, (image, usage) in enumerate(zip(images, usages)):
                file.write(f"{number % 7},{' '.join(map(str, image.ravel().tolist()))},{usage}\n")
            file.flush()
            os.fsync(file.fileno())  # or it would be written to disk while it is read
        return _seconds(lambda: readers.read(path) if side == "ours" else plain_data.read_csv(path), at_least=0)


def distortions(side: str, size: float) -> float:
    """Seconds for all five, in the report's form."""
    import plain_data

    from ferhelpers import distortions

    images = pictures(round(3589 * size))
    if side == "ours":
        return _seconds(lambda: [distortions.apply(name, images) for name in distortions.NAMES])
    return _seconds(lambda: plain_data.distort(images))


def gradcam(side: str, size: float) -> float:
    """Seconds for all layers of the 5-block network. The other side: one model for each layer and image."""
    import plain_networks

    from ferhelpers import experiments, gradcam
    from ferhelpers import training as study

    images = pictures(max(1, round(32 * size)))
    model = study.build(experiments.Experiment(normalisation=False, precision="float32", **PLAIN))
    if side == "ours":
        return _seconds(lambda: gradcam.heatmaps(model, images))
    layers = gradcam.conv_layers(model)
    return _seconds(lambda: [plain_networks.gradcam(model, image, layer) for layer in layers for image in images])


def _seconds(work, at_least: float = 1) -> float:
    """Of the fastest of as many calls as take this many seconds together, but at least one."""
    times = []
    while not times or sum(times) < at_least:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def row(line: dict) -> str:
    """One line of the table, in Markdown."""

    def number(value):
        return f"{value:,.3g}" if value < 100 else f"{value:,.0f}"

    title, unit = WHAT[line["name"]]
    ratio = f"{line['ratio']:.0%}" if line["name"].startswith("bound") else f"{line['ratio']:.1f}x"
    memory = f"{line['ours_gib']:.1f} / {line['other_gib']:.1f}"
    return f"| {title} | {number(line['ours'])} {unit} | {number(line['other'])} {unit} | {ratio} | {memory} |"


def table(lines: list[dict]) -> str:
    """The whole table, in Markdown."""
    head = ["| | ours | otherwise | ratio | peak memory, GiB |", "|---|---|---|---|---|"]
    machines = "; ".join(dict.fromkeys(line["machine"] for line in lines))
    return "\n".join([*head, *map(row, lines), "", f"Measured on: {machines}."])


def figure(lines: list[dict], path: Path) -> None:
    """Bars of the ratios."""
    from matplotlib.figure import Figure

    shown = [line for line in lines if not line["name"].startswith("bound")][::-1]
    drawing = Figure(figsize=(7, 0.5 + 0.4 * len(shown)), layout="constrained")
    axes = drawing.subplots()
    bars = axes.barh([WHAT[line["name"]][0] for line in shown], [line["ratio"] for line in shown])
    axes.bar_label(bars, [f"{line['ratio']:.1f}x" for line in shown], padding=3)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set(xscale="log", xlabel="times as fast as the tutorials' way")
    axes.margins(x=0.15)
    drawing.savefig(path, dpi=120)


def write(lines: list[dict], folder: Path) -> None:
    """bench.json, bench.md and bench.png, with the lines of an earlier bench.json that were not measured anew."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bench.json"
    known = {line["name"]: line for line in (json.loads(path.read_text()) if path.is_file() else []) + lines}
    lines = [known[name] for name in WHAT if name in known]
    path.write_text(json.dumps(lines, indent=1) + "\n")
    (folder / "bench.md").write_text(table(lines) + "\n")
    figure(lines, folder / "bench.png")
    print(f"Written: {folder}/bench.json, bench.md, bench.png")


def write_readme(name: str, text: str) -> None:
    """Put a text into benchmarks/README.md, between its two comments of this name."""
    between = re.compile(f"(?<=<!-- {name} -->\n).*(?=<!-- end of {name} -->)", re.DOTALL)
    README.write_text(between.sub(lambda _: f"{text}\n", README.read_text()))


if __name__ == "__main__":
    main()
