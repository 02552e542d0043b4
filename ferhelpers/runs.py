"""The store: one folder a run, found by the content of its experiment and of the data.

    runs/cnn2-dropout0.65-augmented-55epochs-seed0-1f0c2ab94d31/
        config.json      format, experiment, key, data (provenance), environment (versions, hardware, precision), chosen images
        history.csv      one line an epoch
        predictions.npz  logits of every test set and of the validation images, and their labels
        metrics.json     what evaluation.scores makes of them
        gradcam.npz      heat maps of every convolution on the chosen images, clean and occluded (CNNs)
        model.keras      the trained network
        manifest.json    SHA-256 of each of these; written last, atomically: a folder without it is not a run yet
        checkpoint       only while it trains; replaced atomically after every epoch, with its own SHA-256

Tables and figures are made from the numbers alone: a run whose model.keras was left out can still be shown.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from ferhelpers.errors import InputError
from ferhelpers.experiments import Experiment, with_seeds
from ferhelpers.files import hold, write_json

MANIFEST = "manifest.json"
FORMAT = 1  # of a run: raised whenever the code changes what a run holds or means, so that an older one is trained anew


class Predictions:
    """Logits of every test set, with the labels of the splits that they were computed on.

    Args:
        arrays: name -> array as in predictions.npz: a test set's name -> float32 (N, 7), `labels/<split>` -> uint8 (N,).
    """

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays = arrays

    def logits(self, test_set: str) -> np.ndarray:
        """float32 (N, 7). Test sets: those of `distortions.test_sets`, and "validation"."""
        return self.arrays[test_set]

    def labels(self, test_set: str) -> np.ndarray:
        """uint8 (N,), 0..6."""
        split = test_set if test_set in ("private", "validation") else "public"
        return self.arrays[f"labels/{split}"]


class Run:
    """A finished training, read from its folder; each file is checked against the manifest when it is first read.

    Used in: 03, 04, 05, 06, 07.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            self._manifest = dict(json.loads((folder / MANIFEST).read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{folder / MANIFEST} is damaged; delete the folder {folder} to train this run anew") from error
        self.config = json.loads(self._read("config.json"))
        self.key = self.config["key"]
        self.chosen = np.array(self.config["chosen"])
        self._predictions = None

    @property
    def history(self) -> pd.DataFrame:
        """One row an epoch: epoch, loss, accuracy, val_loss, val_accuracy, seconds."""
        return pd.read_csv(io.BytesIO(self._read("history.csv")))

    @property
    def metrics(self) -> list[dict]:
        """The rows of `evaluation.scores`."""
        return json.loads(self._read("metrics.json"))

    def logits(self, test_set: str) -> np.ndarray:
        """float32 (N, 7) of one test set (see Predictions)."""
        return self._all_predictions().logits(test_set)

    def labels(self, test_set: str) -> np.ndarray:
        """uint8 (N,) of one test set (see Predictions)."""
        return self._all_predictions().labels(test_set)

    @property
    def layers(self) -> list[str]:
        """The layers that have heat maps: the convolutions of a CNN, from input to output."""
        return [name.removeprefix("clean/") for name in self._arrays("gradcam.npz") if name.startswith("clean/")]

    def heatmaps(self, layer: str, test_set: str = "clean") -> np.ndarray:
        """Grad-CAM of one layer on the chosen images: float32 (n, h, w), 0..1, at the layer's own resolution.

        Args:
            layer: a convolution of a CNN.
            test_set: "clean" or "occlusion".
        """
        return self._arrays("gradcam.npz")[f"{test_set}/{layer}"].astype("float32")

    def model(self):
        """The trained network (keras.Model); only where the run holds its weights."""
        import keras

        from ferhelpers import layers  # noqa: F401  registers the classes that the file names

        self._read("model.keras")
        return keras.saving.load_model(self.folder / "model.keras", compile=False, safe_mode=True)

    def _all_predictions(self) -> Predictions:
        if self._predictions is None:
            self._predictions = Predictions(self._arrays("predictions.npz"))
        return self._predictions

    def _arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(io.BytesIO(self._read(name)), allow_pickle=False) as file:
            return dict(file)

    def _read(self, name: str) -> bytes:
        path = self.folder / name
        if not path.is_file():
            raise InputError(f"{path} is missing; delete the folder {self.folder} to train this run anew")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self._manifest.get(name):
            raise InputError(
                f"{path} is damaged (its SHA-256 is not the one in {MANIFEST}); "
                f"delete the folder {self.folder} to train this run anew"
            )
        return content


class Store:
    """A folder of runs.

    Args:
        folder: where runs are found and written.
        results: a folder of stored runs to show; when it is given, nothing is trained.
    """

    def __init__(self, folder: str | Path, results: str | Path | None = None):
        self.folder = Path(folder)
        self.results = Path(results) if results else None
        if self.results and not self.results.is_dir():
            raise InputError(f"RESULTS names no folder: {self.results}")

    def find(self, experiment: Experiment, fingerprint: str) -> Run | None:
        """The finished run of this experiment on the data with this fingerprint, or None.

        Raises:
            InputError: it is damaged, or among stored results and of another FORMAT.
        """
        place = self.results or self.folder
        for match in place.glob(f"*-{experiment.key(fingerprint)[:12]}/{MANIFEST}"):
            run = Run(match.parent)
            if run.config.get("format") == FORMAT:
                return run
            if self.results:
                raise InputError(f"{run.folder} was written by another version of the code; show it with that version")
        return None

    def find_all(self, experiments: dict[str, Experiment], fingerprint: str, seeds: int = 1) -> dict[str, list[Run]]:
        """The finished runs of these experiments, each with `seeds` seeds: name -> one run a seed. Used in: 07."""
        runs = {}
        for name, experiment in with_seeds(experiments, seeds):
            if run := self.find(experiment, fingerprint):
                runs.setdefault(name, []).append(run)
        return runs

    def path(self, experiment: Experiment, fingerprint: str) -> Path:
        """The folder of this run, finished or not."""
        return self.folder / f"{experiment.slug}-{experiment.key(fingerprint)[:12]}"

    def lock(self, experiment: Experiment, fingerprint: str, waiting: Callable[[], None]):
        """Hold this run while it trains (see files.hold)."""
        return hold(self.folder / f".{experiment.key(fingerprint)[:12]}.lock", waiting)

    @staticmethod
    def seal(folder: Path) -> Run:
        """Write the manifest over all files of the folder: from now on it is a run."""
        files = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "checkpoint")))
        write_json(folder / MANIFEST, {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files})
        return Run(folder)
