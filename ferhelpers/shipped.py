"""The trained network that comes with the package: `weights/robust.npz`, numbers alone, and its card beside it.

`results/ship.py` makes both from a stored run; docs/model_card.md says what the network is for and where it fails.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import keras
import numpy as np

from ferhelpers import models
from ferhelpers.errors import InputError
from ferhelpers.experiments import Experiment, Recipe

FOLDER = Path(__file__).parent / "weights"


def card() -> dict:
    """What is known of the network: its run, experiment, command, data, size, temperature, sha256, and its scores."""
    return json.loads((FOLDER / "robust.json").read_text(encoding="utf-8"))


def experiment() -> Experiment:
    """The training that made the network."""
    fields = card()["experiment"]
    return Experiment(**fields | {"recipe": Recipe(**fields["recipe"])})


def load() -> keras.Model:
    """The network, in float32 (its weights are stored in float16).

    Returns:
        keras.Model (N, 48, 48, 1), 0..255 -> logits (N, 7).

    Raises:
        InputError: the file of weights is missing or damaged.
    """
    path = FOLDER / "robust.npz"
    if not path.is_file() or hashlib.sha256(content := path.read_bytes()).hexdigest() != card()["sha256"]:
        raise InputError(f"{path} is missing or damaged: install the package again, or git checkout {FOLDER}")
    with models.precision("float32"):
        model = models.build(experiment())
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        model.set_weights([file[name].astype("float32") for name in file.files])
    return model
