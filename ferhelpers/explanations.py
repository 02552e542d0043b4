"""What stored Grad-CAM maps show: over the faces, in numbers, and how they differ between networks.

Each network is shown by its first seed.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from ferhelpers import distortions
from ferhelpers.data import CLASSES, IMAGE_SIZE, Dataset
from ferhelpers.errors import InputError
from ferhelpers.gradcam import overlay, resize
from ferhelpers.runs import Runs


def grid(
    runs: Runs, dataset: Dataset, layers: list[str] | None = None, test_sets: tuple[str, ...] = ("clean",)
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The faces that stored maps belong to, and below them these maps laid over them, ready for `plots.image_rows`.

    Args:
        dataset: the one that the networks were tested on.
        layers: names of convolutions; None: all that the first network has.
        test_sets: of "clean" and "occlusion".

    Returns:
        label -> uint8 (n, 48, 48) or (n, 48, 48, 3): for each test set its faces, then each layer of each network; and
        the classes of the n faces. Networks that were not run are left out; ({}, []) if none was.
    """
    networks = runs.first()
    rows, titles = {}, []
    for test_set in test_sets if networks else ():
        first = next(iter(networks.values()))
        faces = distortions.test_sets(dataset)[test_set].take(first.chosen)
        titles = [CLASSES[label] for label in faces.labels]
        rows[test_set] = faces.images
        for layer in layers or first.layers:
            for name, run in networks.items():
                parts = [
                    layer,
                    *[runs.label(name).partition(" (")[0]] * (len(networks) > 1),
                    *[test_set] * (len(test_sets) > 1),
                ]
                rows[", ".join(parts)] = overlay(faces.images, resize(run.heatmaps(layer, test_set)))
    return rows, titles


def black_quarter(runs: Runs, layer: str) -> pd.DataFrame:
    """Does a network look at the quarter that was blacked out? The report says so of its baseline.

    Args:
        layer: name of a convolution, whose stored maps count.

    Returns:
        DataFrame, one row a network: network, faces (those with heat in both maps), the mean share of a map's heat in
        the black quarter (an even map: 0.25), in the same quarter of the whole face, the difference, and low and
        high, its 95 % interval (paired t).

    Raises:
        InputError: a network has no maps of this layer.

    Source: report, 6.1.2 and Figure 9.
    """
    if not runs.first():
        return runs.not_run(*runs)
    rows = []
    for name, run in runs.first().items():
        if layer not in run.layers:
            raise InputError(f"{name} has no maps of {layer}; it has those of {', '.join(run.layers)}")
        white = np.full((len(run.labels("clean")), IMAGE_SIZE, IMAGE_SIZE), 255, np.uint8)
        black = distortions.apply("occlusion", white)[run.chosen] == 0  # the same quarters, whatever the pixels
        maps = np.stack([resize(run.heatmaps(layer, test_set)) for test_set in ("occlusion", "clean")])
        heat, in_black = maps.sum(axis=(2, 3)), (maps * black).sum(axis=(2, 3))
        warm = heat.all(axis=0)
        shares = in_black[:, warm] / heat[:, warm]
        low, high = stats.ttest_rel(*shares).confidence_interval()
        occluded, whole = shares.mean(axis=1)
        rows.append(
            {
                "network": runs.label(name),
                "faces": shares.shape[1],
                "heat in the black quarter": occluded,
                "in that quarter of the whole face": whole,
                "difference": occluded - whole,
                "low": low,
                "high": high,
            }
        )
    return pd.DataFrame(rows)


def likeness(runs: Runs) -> pd.DataFrame:
    """How alike are a layer's maps of different faces? The report finds those of block 5 all the same.

    Returns:
        DataFrame, one row a layer, one column a network: the mean correlation between the stored maps of two different
        faces, -1 to 1, at the layer's own resolution; maps without heat are passed over ("no heat" where fewer than two
        are left). Networks that were not run are left out, or named if none was.

    Source: report, 8.1.
    """
    columns = {}
    for name, run in runs.first().items():
        column = columns[runs.label(name)] = {}
        for layer in run.layers:
            maps = run.heatmaps(layer)
            correlations = pd.DataFrame(maps.reshape(len(maps), -1).T).corr().to_numpy()
            mean = pd.Series(correlations[np.triu_indices(len(maps), 1)]).mean()  # passes over NaN
            column[layer] = "no heat" if np.isnan(mean) else f"{mean:.2f}"
    if not columns:
        return runs.not_run(*runs)
    return pd.DataFrame(columns).rename_axis("layer").fillna("no such layer")
