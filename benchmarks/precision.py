#!/usr/bin/env python
"""Does speed cost skill? The final network in float32 with Keras' own normalisation beside the fast way, seed by seed.

    python benchmarks/precision.py --data fer2013.zip   outputs/bench/precision.csv, and the comparison on the terminal
    python benchmarks/precision.py --readme             the table of benchmarks/README.md, from the last precision.csv

The fast way is what the study does on this machine: the precision that the hardware computes in, the fused
normalisation. Trained on `--fraction` of Training, tested on all test images. A call that was cut off continues.
The network has the wiring, scale and validation images that the study had first.
"""

import argparse
import dataclasses
import shutil
from pathlib import Path
from unittest import mock

import pandas as pd
from bench import OUTPUT, write_readme
from scipy import stats

from ferhelpers import backend, data, experiments, training
from ferhelpers.store import Store

REFERENCE = Path(__file__).with_name("precision.csv")  # what the table of benchmarks/README.md is made from


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="auto", metavar="SOURCE", help="as for run_all.py")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--fraction", type=float, default=0.1, help="share of Training (default: 0.1)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=float, default=1.0, help="factor on the numbers of filters (default: 1)")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--readme", action="store_true", help="write the table of benchmarks/README.md")
    options = parser.parse_args(arguments)
    if options.readme:
        shutil.copyfile(options.output / "precision.csv", REFERENCE)
        write_readme("precision", table(pd.read_csv(REFERENCE)))
    else:
        frame = compare(options)
        frame.to_csv(options.output / "precision.csv", index=False)
        print(table(frame))


def compare(options) -> pd.DataFrame:
    """One row a training: side, precision, seed, accuracy and loss on PublicTest and PrivateTest together."""
    dataset = data.load(options.data)
    dataset = dataclasses.replace(dataset, training=dataset.subset(options.fraction).training)
    final = experiments.readings(experiments.Settings(width=options.width))["final_earlier"]
    rows = []
    for seed in range(options.seeds):
        for side in ("fast", "plain"):
            experiment = dataclasses.replace(
                final, epochs=options.epochs, seed=seed, precision="auto" if side == "fast" else "float32"
            )
            store = Store(options.output / "precision" / side)
            own = {"fast": backend.fused_batch_normalisation, "plain": lambda *arguments: None}  # None: Keras' layer
            with mock.patch.object(backend, "fused_batch_normalisation", own[side]):
                run = training.train(experiment, dataset, store, f"{side}, seed {seed}")
            scores = run.metrics.set_index("test_set").loc[["clean", "private"], ["accuracy", "loss"]].mean()
            precision = run.config["environment"]["precision"]
            rows.append({"side": side, "precision": precision, "seed": seed, **scores})
    return pd.DataFrame(rows)


def table(frame: pd.DataFrame) -> str:
    """Both sides over the seeds, and their difference with Welch's interval, in Markdown."""
    lines = ["| | fast | plain | fast - plain |", "|---|---|---|---|"]
    for metric in ("accuracy", "loss"):
        fast, plain = (frame[frame.side == side][metric] for side in ("fast", "plain"))
        test = stats.ttest_ind(fast, plain, equal_var=False)
        low, high = test.confidence_interval()
        spreads = " | ".join(f"{values.mean():.3f} ± {values.std():.3f}" for values in (fast, plain))
        difference = f"{fast.mean() - plain.mean():+.3f} ({low:+.3f} to {high:+.3f}; p {test.pvalue:.2f})"
        lines.append(f"| {metric} | {spreads} | {difference} |")
    precisions = frame.groupby("side").precision.first()
    return "\n".join(
        [*lines, "", f"fast: {precisions['fast']}; plain: {precisions['plain']}; {frame.seed.nunique()} seeds each."]
    )


if __name__ == "__main__":
    main()
