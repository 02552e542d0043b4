#!/usr/bin/env python
"""Does speed cost skill? The final network trained in float32 with Keras' own normalisation, and the fast way, from the same seeds.

    python benchmarks/precision.py --data fer2013.zip     outputs/bench/precision.csv, and the comparison on the terminal

The fast way is what the study does on this machine: the precision that the hardware computes in, the fused normalisation.
Trained on `--fraction` of Training, tested on all test images. A call that was cut off goes on where it stopped.
"""

import argparse
import dataclasses
from pathlib import Path
from unittest import mock

import pandas as pd
from scipy import stats

from ferhelpers import backend, data, experiments, training
from ferhelpers.runs import Store

OUTPUT = Path(__file__).resolve().parents[1] / "outputs" / "bench"


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="auto", metavar="SOURCE", help="as for run_all.py")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--fraction", type=float, default=0.1, help="share of Training (default: 0.1)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=float, default=1.0, help="factor on the numbers of filters, to try it out (default: 1)")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(arguments)

    dataset = data.load(options.data)
    dataset = dataclasses.replace(dataset, training=dataset.subset(options.fraction).training)
    final = experiments.final_model(experiments.Settings(width=options.width))["final"]
    rows = []
    for seed in range(options.seeds):
        for side in ("fast", "plain"):
            experiment = dataclasses.replace(
                final, epochs=options.epochs, seed=seed, precision="auto" if side == "fast" else "float32"
            )
            store = Store(options.output / "precision" / side)
            fused = backend.fused_batch_normalisation if side == "fast" else lambda *arguments: None  # None: Keras' own layer
            with mock.patch.object(backend, "fused_batch_normalisation", fused):
                run = training.train(experiment, dataset, store, f"{side}, seed {seed}")
            scores = run.metrics.set_index("test_set").loc[["clean", "private"], ["accuracy", "loss"]].mean()
            precision = run.config["environment"]["precision"]
            rows.append({"side": side, "precision": precision, "seed": seed, **scores, "seconds": run.history.seconds.sum()})
    frame = pd.DataFrame(rows)
    frame.to_csv(options.output / "precision.csv", index=False)
    print(frame.round(4).to_string(index=False))
    for metric in ("accuracy", "loss"):
        fast, plain = (frame[frame.side == side][metric] for side in ("fast", "plain"))
        test = stats.ttest_ind(fast, plain, equal_var=False)
        low, high = test.confidence_interval()
        print(
            f"{metric}, PublicTest and PrivateTest together: fast - plain {fast.mean() - plain.mean():+.4f} (95 % {low:+.4f} to {high:+.4f}, "
            f"p {test.pvalue:.2f}); standard deviation over seeds {fast.std():.4f} fast, {plain.std():.4f} plain"
        )


if __name__ == "__main__":
    main()
