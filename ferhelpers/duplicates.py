"""Images that occur more than once, under one label or several, in one split or several; and images that show nothing.

The report does not mention them. A test image that was also trained on measures memory, and one face with two labels
cannot be recognised twice.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ferhelpers.data import SPLITS, Dataset, pictures


def find(dataset: Dataset) -> pd.DataFrame:
    """Every image of a data set, by what its pixels are.

    Returns:
        DataFrame, one row an image in the order training, public, private: split, label, picture (the same number for
        the same pixels), blank (all pixels equal).
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


def in_training(images: pd.DataFrame, split: str) -> np.ndarray:
    """Which images of a split have their pixels among the training images, too: bool (N,). images: as from `find`."""
    trained = images.picture[images.split == "training"]
    return images.picture[images.split == split].isin(trained).to_numpy()


def summary(images: pd.DataFrame) -> pd.DataFrame:
    """What `find` found, split by split.

    Returns:
        DataFrame, one row a split: images; repeated in the split (copies beyond the first); also in each other split;
        with several labels (images whose pixels occur anywhere under another label); blank.
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
