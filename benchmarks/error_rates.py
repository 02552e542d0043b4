#!/usr/bin/env python
"""How often are the tests of `ferhelpers.evaluation` wrong, and how often do they find what is there?

    python benchmarks/error_rates.py [--simulations 2000]     benchmarks/error_rates.csv, and its table on the terminal

Values of two networks are drawn as the networks of the study give them: some images are hard for all networks, some for
all seeds of one, the rest is luck. The columns of the CSV:

    function        of `evaluation`
    values          accuracy; loss (standard deviation over the images 1.5 times the mean, as on clean images);
                    heavy loss (6 times, as under salt and pepper); curve (epochs that resemble their neighbours)
    seeds           of each network, or curves
    spread          between seeds, over all possible images: standard deviation of accuracies, or as a share of the loss
    stated          `spread` of `paired` over the true one, with one or two seeds
    correlation     of neighbouring epochs
    difference      the true one: of accuracies, as a share of the loss, or in standard deviations of an epoch
    rate            share of simulations with p < 0.05; of `mean_interval`: whose interval misses the mean
    seeds_alone     that share for Student's t test on the seeds' means, which leaves out the choice of images
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special, stats

from ferhelpers import evaluation

REFERENCE = Path(__file__).with_suffix(".csv")
IMAGES, EPOCHS, PLATEAU = 3589, 100, (20, 30)
# Shares of the variance of an image's difficulty. Then two networks of the reference agree as they do here: the
# correlation of "recognised" is 0.45 between two networks, and 0.6 between two seeds.
ALL, NETWORK, SEED = 0.65, 0.16, 0.19
ACCURACY = 0.57
LOG_SPREAD = {"loss": 1.09, "heavy loss": 1.9}  # of log-normal losses


def values(kind: str, seeds: tuple[int, int], spread: float, difference: float, rng) -> list[np.ndarray]:
    """Two networks on the same images, the first better or worse by `difference`: float (seeds, N) each."""
    everyone, networks = _normal(rng, ALL, IMAGES), []
    for count, shift in zip(seeds, (difference, 0)):
        difficulty = everyone + _normal(rng, NETWORK, IMAGES) + _normal(rng, SEED, (count, IMAGES))
        level = shift + spread * rng.normal(size=(count, 1))
        if kind == "accuracy":
            networks.append(difficulty < special.ndtri(ACCURACY + level))
        else:
            sigma = LOG_SPREAD[kind]
            networks.append((1 + level) * np.exp(sigma * difficulty - sigma**2 / 2))
    return networks


def _normal(rng, variance: float, shape) -> np.ndarray:
    return variance**0.5 * rng.standard_normal(shape, dtype=np.float32)


def curves(seeds: int, correlation: float, difference: float, rng) -> np.ndarray:
    """Autoregressive epochs of standard deviation 1, which rise by `difference` from the middle of the plateau on."""
    epochs = rng.normal(size=(seeds, EPOCHS))
    for epoch in range(1, EPOCHS):
        epochs[:, epoch] *= (1 - correlation**2) ** 0.5
        epochs[:, epoch] += correlation * epochs[:, epoch - 1]
    start = sum(PLATEAU) // 2
    return epochs + difference * np.clip(np.arange(EPOCHS) - start, 0, None) / (EPOCHS - start)


def paired(kind, seeds, spread, stated=1.0, difference=0.0, *, simulations, rng) -> dict:
    """The row of `evaluation.paired`."""
    several, few = min(seeds) > 1, max(seeds) < evaluation.FEWEST
    p_values, means = [], []
    for _ in range(simulations):
        networks = values(kind, seeds, spread, difference, rng)
        p_values.append(evaluation.paired(*networks, spread=stated * spread).p)
        means.append([network.mean(axis=1) for network in networks])
    alone = stats.ttest_ind(*np.swapaxes(means, 0, 1), axis=1).pvalue if several else None
    return {
        "function": "paired",
        "values": kind,
        "seeds": " and ".join(map(str, dict.fromkeys(seeds))),
        "spread": spread,
        "stated": stated if few else np.nan,
        "difference": difference,
        "rate": np.mean(np.array(p_values) < 0.05),
        "seeds_alone": np.mean(alone < 0.05) if several else np.nan,
    }


def mean_interval(kind, seeds, spread, *, simulations, rng) -> dict:
    """The row of `evaluation.mean_interval`, the spread rightly stated."""
    mean, missed = ACCURACY if kind == "accuracy" else 1.0, 0
    for _ in range(simulations):
        network, _ = values(kind, (seeds, 1), spread, 0.0, rng)
        low, high = evaluation.mean_interval(network, spread)
        missed += not low <= mean <= high
    stated = 1.0 if seeds < evaluation.FEWEST else np.nan
    row = {"function": "mean_interval", "values": kind, "seeds": seeds, "spread": spread, "stated": stated}
    return row | {"rate": missed / simulations}


def rise(seeds, correlation, difference=0.0, *, simulations, rng) -> dict:
    """The row of `evaluation.rise`."""
    p_values = [evaluation.rise(curves(seeds, correlation, difference, rng), PLATEAU).p for _ in range(simulations)]
    row = {"function": "rise", "values": "curve", "seeds": seeds, "correlation": correlation, "difference": difference}
    return row | {"rate": np.mean(np.array(p_values) < 0.05)}


def simulate(simulations: int) -> pd.DataFrame:
    """Every row."""
    settings = {"simulations": simulations, "rng": np.random.default_rng(0)}
    rows = []
    for kind, unit in (("accuracy", 0.01), ("loss", 0.05), ("heavy loss", 0.05)):
        spreads = (0.5 * unit, unit, 1.5 * unit)
        rows += [paired(kind, (1, 1), *case, **settings) for case in itertools.product(spreads, (0.0, 0.5, 1.0, 2.0))]
        several = (2, 2), (1, 2), (3, 3), (5, 5), (1, 3)
        rows += [paired(kind, seeds, spread, **settings) for seeds in several for spread in spreads]
        differences = itertools.product((1, 3, 5), spreads if kind == "accuracy" else (unit,), (1, 2, 3, 5))
        rows += [
            paired(kind, (seeds, seeds), spread, difference=units * unit, **settings)
            for seeds, spread, units in differences
        ]
        rows += [mean_interval(kind, seeds, unit, **settings) for seeds in (1, 3, 5)]
    correlations = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9)
    rows += [rise(*case, **settings) for case in itertools.product((1, 3, 5), correlations)]
    rows += [rise(*case, **settings) for case in itertools.product((1, 3, 5), (0.3, 0.7), (1.0, 2.0, 4.0))]
    columns = ["function", "values", "seeds", "spread", "stated", "correlation", "difference", "rate", "seeds_alone"]
    return pd.DataFrame(rows, columns=columns).round(4)


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--output", type=Path, default=REFERENCE, metavar="CSV")
    options = parser.parse_args(arguments)
    frame = simulate(options.simulations)
    frame.to_csv(options.output, index=False)
    print(frame.to_string(index=False, na_rep=""))


if __name__ == "__main__":
    main()
