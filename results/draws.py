"""How much does the draw of a distortion matter? Every stored network whose weights are at hand, under several draws.

    python results/draws.py --data fer2013.zip      results/draws.csv, from results/fer2013/runs/*/model.keras

Blur is the same in every draw and is left out. Weights are not in git: they lie where a network was trained.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from ferhelpers import data, distortions, evaluation, training
from ferhelpers.store import Results

HERE = Path(__file__).parent
TABLE = HERE / "draws.csv"
SEEDS = range(8)


def measure(source: str) -> pd.DataFrame:
    """One row a network, distortion and draw: accuracy and loss on all of PublicTest, in the report's form."""
    public, rows = data.load(source).public, []
    for run in Results(HERE / "fer2013").runs:
        if (run.folder / "model.keras").exists():
            model, views = run.model(), run.views
            for name in distortions.NAMES[1:]:
                for seed in SEEDS:
                    images = distortions.apply(name, public.images, seed=seed)
                    logits = training.predict(model, images, views)
                    accuracy = evaluation.accuracy(logits, public.labels)
                    loss = evaluation.cross_entropy(logits, public.labels)
                    rows.append((run.folder.name, name, seed, round(accuracy, 4), round(loss, 4)))
    return pd.DataFrame(rows, columns=["run", "distortion", "draw", "accuracy", "loss"])


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over the draws, a row a network and distortion."""
    means, spreads = (
        frame.groupby(["run", "distortion"], sort=False)[["accuracy", "loss"]].agg(how).reset_index()
        for how in ("mean", "std")
    )
    for metric in ("accuracy", "loss"):
        means[metric] = [f"{mean:.3f} ± {spread:.3f}" for mean, spread in zip(means[metric], spreads[metric])]
    return means.rename(columns={"run": "network"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="auto", metavar="SOURCE", help="as for run_all.py")
    frame = measure(parser.parse_args().data)
    if frame.empty:
        raise SystemExit("No stored network has its weights here: train one with --output results/fer2013")
    before = pd.read_csv(TABLE) if TABLE.exists() else frame[:0]
    kept = before[~before.run.isin(frame.run)]
    pd.concat([kept, frame]).astype({"draw": np.int64}).to_csv(TABLE, index=False)
    print(summary(frame).to_string(index=False))
