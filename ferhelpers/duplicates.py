"""Images that occur more than once, under one label or several, in one split or several; and images that show nothing.

The report does not mention them. A test image that was also trained on measures memory, and one face with two labels cannot be
recognised twice.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ferhelpers import evaluation, report
from ferhelpers.data import SPLITS, Dataset, pictures


def find(dataset: Dataset) -> pd.DataFrame:
    """Every image of a data set, by what its pixels are.

    Returns:
        DataFrame, one row an image in the order training, public, private: split, label, picture (the same number for the
        same pixels), blank (all pixels equal).

    Used in: 01, 07.
    """
    splits = [getattr(dataset, name) for name in SPLITS]
    images = np.concatenate([split.images for split in splits]).reshape(sum(map(len, splits)), -1)
    return pd.DataFrame(
        {
            "split": np.repeat(SPLITS, [len(split) for split in splits]),
            "label": np.concatenate([split.labels for split in splits]),
            "picture": pictures(images),
            "blank": (images == images[:, :1]).all(axis=1),
        }
    )


def summary(images: pd.DataFrame) -> pd.DataFrame:
    """What `find` found, split by split.

    Returns:
        DataFrame, one row a split: images; repeated in the split (copies beyond the first); also in each other split;
        with several labels (images whose pixels occur anywhere under another label); blank.

    Used in: 01.
    """
    contradictory = images.groupby("picture").label.transform("nunique") > 1
    rows = {}
    for name in SPLITS:
        own = images[images.split == name]
        rows[name] = {"images": len(own), "repeated in it": int(own.picture.duplicated().sum())}
        for other in SPLITS:
            shared = own.picture.isin(images.picture[images.split == other])
            rows[name][f"also in {other}"] = int(shared.sum()) if other != name else "–"
        rows[name] |= {"with several labels": int(contradictory[own.index].sum()), "blank": int(own.blank.sum())}
    return pd.DataFrame(rows).T.rename_axis("split")


def accuracy_without(runs: dict, dataset: Dataset) -> pd.DataFrame:
    """Clean accuracy of each network, on all test images, on those whose pixels do not occur in training, and on those that do.

    Args:
        runs: name -> its runs; the first seed of each is shown.
        dataset: the one that they were trained and tested on.

    Returns:
        DataFrame, one row a network and split: network, test split, accuracy, images left, accuracy on these, difference,
        accuracy on the images that are not left (NaN where there are none).

    Used in: 07.
    """
    images = find(dataset)
    trained = images.picture[images.split == "training"]
    rows = []
    for name, found in runs.items():
        for test_set, split in (("clean", "public"), ("private", "private")):
            cells = (report.NOT_RUN,) * 5
            if found:
                hits = evaluation.correct(found[0].logits(test_set), found[0].labels(test_set))
                known = images.picture[images.split == split].isin(trained)
                new = hits[~known]
                cells = (
                    hits.mean(),
                    len(new),
                    new.mean(),
                    new.mean() - hits.mean(),
                    hits[known].mean() if known.any() else np.nan,
                )
            rows.append((report.network_name(runs, name), test_set, *cells))
    columns = [
        "network",
        "test set",
        "accuracy",
        "images that training lacks",
        "accuracy on these",
        "difference",
        "accuracy on the others",
    ]
    return pd.DataFrame(rows, columns=columns)
