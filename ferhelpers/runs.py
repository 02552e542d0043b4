"""The store: one folder a run, found by the content of its experiment and of the data.

    runs/cnn2-dropout0.65-augmented-55epochs-seed0-1f0c2ab94d31/
        config.json      format, experiment, key, command, data (provenance), environment (versions, hardware, precision),
                         chosen images
        history.csv      one line an epoch
        predictions.npz  logits (float16) of every test set and of the validation images, and their labels
        metrics.json     what evaluation.scores makes of them
        gradcam.npz      heat maps of every convolution on the chosen images, clean and occluded (CNNs)
        model.keras      the trained network
        manifest.json    SHA-256 of each of these; written last, atomically: a folder without it is not a run yet
        checkpoint       only while it trains; replaced atomically after every epoch, with its own SHA-256

Tables and figures are made from the numbers alone: a run whose model.keras was left out can still be shown.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from ferhelpers import distortions
from ferhelpers.errors import InputError
from ferhelpers.experiments import Experiment, with_seeds
from ferhelpers.files import hold, write_json

MANIFEST = "manifest.json"
FORMAT = 6  # of a run: raised whenever the code changes what a run holds or means, so that an older one is trained anew


class Predictions:
    """Logits of every test set, with the labels of the splits that they were computed on.

    Args:
        arrays: name -> array as in predictions.npz: a test set's name -> float16 (N, 7), `labels/<split>` -> uint8 (N,).
    """

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays = arrays

    def logits(self, test_set: str) -> np.ndarray:
        """float32 (N, 7). Test sets: those of `distortions.test_sets` and `distortions.noise_sets`, and "validation"."""
        return self.arrays[test_set].astype("float32")

    def labels(self, test_set: str) -> np.ndarray:
        """uint8 (N,), 0..6."""
        split = test_set if test_set in ("private", "validation") else "public"
        labels = self.arrays[f"labels/{split}"]
        whole = len(self.arrays[test_set]) == len(labels)
        return labels if whole else labels[distortions.section("gaussian_noise", len(labels))]


class Run:
    """A finished training, read from its folder; each file is checked against the manifest when it is first read.

    Used in: 03, 04, 05, 06, 07.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            self._manifest = dict(json.loads((folder / MANIFEST).read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise self._unusable(f"{folder / MANIFEST} is damaged") from error
        self.config = json.loads(self._read("config.json"))
        self.chosen = np.array(self.config["chosen"])

    @property
    def history(self) -> pd.DataFrame:
        """One row an epoch: epoch, loss, accuracy, val_loss, val_accuracy, seconds."""
        return pd.read_csv(io.BytesIO(self._read("history.csv")))

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """What `evaluation.scores` says of its logits."""
        return pd.DataFrame(json.loads(self._read("metrics.json")))

    def logits(self, test_set: str) -> np.ndarray:
        """float32 (N, 7) of one test set (see Predictions)."""
        return self._predictions.logits(test_set)

    def labels(self, test_set: str) -> np.ndarray:
        """uint8 (N,) of one test set (see Predictions)."""
        return self._predictions.labels(test_set)

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

    @cached_property
    def _predictions(self) -> Predictions:
        return Predictions(self._arrays("predictions.npz"))

    def _arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(io.BytesIO(self._read(name)), allow_pickle=False) as file:
            return dict(file)

    def _read(self, name: str) -> bytes:
        path = self.folder / name
        if not path.is_file():
            raise self._unusable(f"{path} is missing")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self._manifest.get(name):
            raise self._unusable(f"{path} is damaged (its SHA-256 is not the one in {MANIFEST})")
        return content

    def _unusable(self, why: str) -> InputError:
        return InputError(f"{why}; delete the folder {self.folder}, and this run counts as one that was never trained")


class Store:
    """A folder of runs.

    Args:
        folder: where runs are found and written.
        results: the output folder of an earlier run of the study, whose runs are shown; when it is given, nothing is trained.
        command: what makes runs here, such as a command line; every run keeps it.

    Raises:
        InputError: `results` holds no runs, or some of another FORMAT, or damaged ones.
    """

    def __init__(self, folder: str | Path, results: str | Path | None = None, command: str = ""):
        self.folder, self.command = Path(folder), command
        self.results = _results(Path(results) / "runs") if results else None

    def find(self, experiment: Experiment, fingerprint: str) -> Run | None:
        """The finished run of this experiment on the data with this fingerprint, or None.

        Raises:
            InputError: it is damaged.
        """
        for match in self.folder.glob(f"*-{experiment.key(fingerprint)[:12]}/{MANIFEST}"):
            run = Run(match.parent)
            if run.config.get("format") == FORMAT:
                return run
        return None

    def find_all(self, experiments: dict[str, Experiment], fingerprint: str, seeds: int = 1) -> dict[str, list[Run]]:
        """The finished runs of these experiments, each with `seeds` seeds: name -> one run a seed, [] where there is none.

        Among stored results, the training that is asked for or, where it is not there, the longest of this network (for
        EfficientNet, of those from stored weights if there are any), with all its seeds: full-protocol runs replace shorter ones
        by being there.

        Raises:
            InputError: a run is damaged; no stored result is of this data.

        Used in: 03 to 07.
        """
        if self.results is not None:
            return {name: self._stored(experiment, fingerprint) for name, experiment in experiments.items()}
        runs = {name: [] for name in experiments}
        for name, experiment in with_seeds(experiments, seeds):
            if run := self.find(experiment, fingerprint):
                runs[name].append(run)
        return runs

    def find_as_asked(
        self, experiments: dict[str, Experiment], fingerprint: str, seeds: int = 1
    ) -> dict[str, list[Run]]:
        """As `find_all`, but only runs that were trained on the schedule that is asked for (`Experiment.followed_by`)."""
        found = self.find_all(experiments, fingerprint, seeds)
        return {
            name: [run for run in found[name] if experiment.followed_by(run.config["experiment"])]
            for name, experiment in experiments.items()
        }

    def find_stopped(
        self, experiments: dict[str, Experiment], fingerprint: str, seeds: int = 1
    ) -> dict[str, list[Run]]:
        """As `find_as_asked`, but runs that ended where the validation loss of the asked-for one (of its first seed) is lowest: name -> one run a
        seed, [] where one of the two is not there, or it is lowest at its end. An epoch does not depend on how many follow, so this is the
        asked-for training, stopped early.

        Used in: 07, and in the README.
        """
        stopped = {}
        for name, runs in self.find_as_asked(experiments, fingerprint, seeds).items():
            if runs:
                history = runs[0].history
                lowest = int(history.epoch[history.val_loss.idxmin()])
                if lowest < len(history):
                    stopped[name] = dataclasses.replace(experiments[name], epochs=lowest)
        return {name: [] for name in experiments} | self.find_as_asked(stopped, fingerprint, seeds)

    def _stored(self, experiment: Experiment, fingerprint: str) -> list[Run]:
        on_this_data = [run for run in self.results if run.config["data"]["fingerprint"] == fingerprint]
        if not on_this_data:
            raise InputError(
                f"{self.results[0].folder.parent} holds no run on these images: give the data that they were trained on"
            )
        network, schedules = Experiment.network(experiment.content()), {}
        for run in on_this_data:
            content = run.config["experiment"]
            if Experiment.network(content) == network:
                schedule = json.dumps({**content, "seed": None})
                rank = experiment.followed_by(content), content["weights"] != "none", content["epochs"], schedule
                schedules.setdefault(rank, {})[content["seed"]] = run
        return [run for _, run in sorted(schedules[max(schedules)].items())] if schedules else []

    def path(self, experiment: Experiment, fingerprint: str) -> Path:
        """The folder of this run, finished or not."""
        return self.folder / f"{experiment.slug}-{experiment.key(fingerprint)[:12]}"

    def lock(self, experiment: Experiment, fingerprint: str, waiting: Callable[[], None]):
        """Hold this run while it trains (see files.hold)."""
        return hold(self.folder / f".{experiment.key(fingerprint)[:12]}.lock", waiting)

    @staticmethod
    def seal(folder: Path) -> Run:
        """Write the manifest over all files of the folder: from now on it is a run."""
        files = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "checkpoint", MANIFEST)))
        write_json(folder / MANIFEST, {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files})
        return Run(folder)


def _results(folder: Path) -> list[Run]:
    runs = [Run(path.parent) for path in sorted(folder.glob(f"*/{MANIFEST}"))]
    if not runs:
        raise InputError(
            f"RESULTS: {folder} holds no runs; give the output folder of an earlier run, such as outputs/demo"
        )
    for run in runs:
        if run.config.get("format") != FORMAT:
            raise InputError(f"{run.folder} was written by another version of the code; show it with that version")
    return runs
