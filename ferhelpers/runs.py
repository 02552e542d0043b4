"""A run, which is a folder with the numbers of one training, and `Runs`, of which tables and claims are made.

    runs/cnn2-dropout0.65-unit-augmented-55epochs-seed0-1f0c2ab94d31/
        config.json      format, experiment, key, command, data (provenance), environment (versions, hardware,
                         precision), parameters (how many), chosen images
        history.csv      one line an epoch
        predictions.npz  logits (float16) of every test set and of the validation images, and their labels
        metrics.json     what evaluation.scores makes of them
        gradcam.npz      heat maps of every convolution on the chosen images, clean and occluded (no EfficientNet)
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
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ferhelpers import distortions, evaluation
from ferhelpers.errors import InputError
from ferhelpers.experiments import PACE, PROTOCOL, Experiment, Settings
from ferhelpers.published import NETWORKS, ROBUST

if TYPE_CHECKING:
    import keras

MANIFEST = "manifest.json"
FORMAT = 9  # of a run: raised whenever the code changes what a run holds or means, so that an older one is trained anew
NOT_RUN = "not run"
STARTS = {"none": "random weights", "imagenet": "ImageNet weights"}
INTERVALS = {"accuracy": ["low", "high"], "loss": ["loss_low", "loss_high"]}  # metric -> its columns in `Runs.scores`


class Predictions:
    """Logits of every test set, with the labels of the splits that they were computed on.

    Args:
        arrays: name -> array as in predictions.npz: a test set -> float16 (N, 7), `labels/<split>` -> uint8 (N,).
    """

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays = arrays

    def logits(self, test_set: str) -> np.ndarray:
        """float32 (N, 7) of "validation", or of what distortions.test_sets, .noise_sets or robust.test_sets name."""
        return self.arrays[test_set].astype("float32")

    def labels(self, test_set: str) -> np.ndarray:
        """uint8 (N,), 0..6."""
        split = next((split for split in ("private", "validation") if test_set.startswith(split)), "public")
        labels = self.arrays[f"labels/{split}"]
        whole = len(self.arrays[test_set]) == len(labels)
        return labels if whole else labels[distortions.section("gaussian_noise", len(labels))]


class Run(Predictions):
    """A finished training, read from its folder; each file is checked against the manifest when it is first read."""

    def __init__(self, folder: Path):
        self.folder = folder
        if not (folder / MANIFEST).is_file():
            raise InputError(f"{folder} is not a stored run: it has no {MANIFEST}")
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

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """What predictions.npz holds (see Predictions)."""
        return self._arrays("predictions.npz")

    @property
    def views(self) -> bool:
        """Whether its logits are means over the four `robust.views` of an image: where it has a recipe."""
        return bool(self.config["experiment"].get("recipe"))

    @property
    def layers(self) -> list[str]:
        """The layers that have heat maps: the convolutions, from input to output."""
        return [name.removeprefix("clean/") for name in self._arrays("gradcam.npz") if name.startswith("clean/")]

    def heatmaps(self, layer: str, test_set: str = "clean") -> np.ndarray:
        """Grad-CAM of one layer on the chosen images: float32 (n, h, w), 0..1, at the layer's own resolution.

        Args:
            layer: one of `layers`.
            test_set: "clean" or "occlusion".
        """
        return self._arrays("gradcam.npz")[f"{test_set}/{layer}"].astype("float32")

    def model(self) -> keras.Model:
        """The trained network (keras.Model); only where the run holds its weights."""
        import keras

        from ferhelpers import layers  # noqa: F401  registers the classes that the file names

        if not (self.folder / "model.keras").exists():
            again = f"{self.config['command']} --output outputs/again"  # the last --output counts
            raise InputError(f"{self.folder} holds numbers without the network; to have it, train it again: {again}")
        self._read("model.keras")
        return keras.saving.load_model(self.folder / "model.keras", compile=False, safe_mode=True)

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


class Runs(dict[str, list[Run]]):
    """What tables and claims are made from: name of an experiment -> its runs, one a seed.

    A name is one of `published.NETWORKS` or a reader's own; one that is missing has no runs: `runs["final"] == []`.
    """

    def __missing__(self, name: str) -> list[Run]:
        return []

    def only(self, *names: str) -> Runs:
        """The runs of these experiments, in this order."""
        return Runs({name: self[name] for name in names})

    def first(self) -> dict[str, Run]:
        """The first seed of every experiment that was run."""
        return {name: seeds[0] for name, seeds in self.items() if seeds}

    def where(self, fits: Callable[[str, Run], bool]) -> Runs:
        """Those runs that fit, by the name of their experiment and by themselves."""
        return Runs({name: [run for run in seeds if fits(name, run)] for name, seeds in self.items()})

    def trained_as(self, experiments: dict[str, Experiment]) -> Runs:
        """Those runs that had the schedule of the experiment of their name (`Experiment.followed_by`)."""
        return self.where(
            lambda name, run: name in experiments and experiments[name].followed_by(run.config["experiment"])
        )

    def as_reported(self) -> Runs:
        """Those runs that had the report's schedule and, for EfficientNet, pre-trained weights."""
        return self.trained_as(PROTOCOL)

    def on_fer2013(self) -> Runs:
        """Those runs whose images are FER-2013's."""
        return self.where(lambda name, run: run.config["data"]["form"] in ("csv", "folder"))

    def one_schedule(self, *names: str) -> bool:
        """Whether those of these experiments that were run had one `study_epochs` and one `experiments.PACE`."""
        contents = [run.config["experiment"] for run in self.only(*names).first().values()]
        return len({tuple(content[field] for field in ("study_epochs", *PACE)) for content in contents}) <= 1

    def annealed(self, *names: str) -> bool:
        """Whether the learning rate fell to 0 in every training of these experiments."""
        return all(run.config["experiment"]["annealing"] != "none" for name in names for run in self[name])

    def epochs(self, name: str) -> str:
        """How long an experiment was trained, of how long the report trained it: "2 of 100"."""
        if not self[name]:
            return NOT_RUN
        asked = PROTOCOL[name].epochs if name in PROTOCOL else Settings.epochs
        return f"{self[name][0].config['experiment']['epochs']} of {asked}"

    def schedule(self, name: str) -> str:
        """What is added to an experiment's name where these runs had no common schedule: ", 2 of 100 epochs".

        With its learning rate, where another experiment had as many epochs at another rate. (The network without
        normalisation does not count: it may have a lower rate, see `experiments.UNNORMALISED_RATE`.)
        """
        if not self[name] or self.one_schedule(*(other for other in self if other != "no_normalisation")):
            return ""
        epochs = self.epochs(name)
        rates = {other: run.config["experiment"]["learning_rate"] for other, run in self.first().items()}
        several = len({rate for other, rate in rates.items() if self.epochs(other) == epochs}) > 1
        return f", {epochs} epochs" + (f" at rate {rates[name]:g}" if several else "")

    def label(self, name: str) -> str:
        """What tables call an experiment: EfficientNet with the weights it started from, each with its `schedule`."""
        start = ""
        if name == "efficientnet" and self[name]:
            weights = self[name][0].config["experiment"]["weights"]
            start = f" ({STARTS.get(weights, 'weights from a file')})"
        return {**NETWORKS, **ROBUST}.get(name, name) + start + self.schedule(name)

    def not_run(self, *names: str) -> pd.DataFrame | None:
        """A table that says which of these experiments lack a run; None where none does."""
        missing = [self.label(name) for name in names if not self[name]]
        return pd.DataFrame({"network": missing, "result": NOT_RUN}) if missing else None

    def histories(self) -> dict[str, list[pd.DataFrame]]:
        """Label -> the history of each seed, of the experiments that were run."""
        return {self.label(name): [run.history for run in seeds] for name, seeds in self.items() if seeds}

    def confusions(self) -> dict[str, np.ndarray]:
        """Label -> confusion matrix of the first seed on the clean test images, of the experiments that were run."""
        return {
            self.label(name): evaluation.confusion(run.logits("clean"), run.labels("clean"))
            for name, run in self.first().items()
        }

    def labels(self, test_set: str, *names: str) -> np.ndarray:
        """uint8 (N,): the labels of a whole test set.

        Raises:
            InputError: they are not the same for all runs of these experiments, so their images are not, either.
        """
        first, *others = [evaluation.predictions(run, test_set)[1] for name in names for run in self[name]]
        if not all(np.array_equal(first, labels) for labels in others):
            raise InputError(f"runs of {' and '.join(names)} differ in their images of {test_set!r}: use the same data")
        return first

    def per_image(self, name: str, test_set: str, metric: str) -> np.ndarray:
        """float64 (seeds, N): whether each image of a whole test set is recognised ("accuracy"), or its "loss"."""
        measure = evaluation.MEASURES[metric]
        return np.array([measure(*evaluation.predictions(run, test_set)) for run in self[name]], dtype=np.float64)

    def mean(self, name: str, test_set: str, metric: str) -> float:
        """The metric of an experiment on a whole test set, mean over its seeds."""
        return float(self.per_image(name, test_set, metric).mean())

    def recalls(self, name: str, test_set: str = "clean") -> np.ndarray:
        """float64 (7,): recall of each class on a whole test set, mean over seeds; NaN without images."""
        return np.mean([evaluation.recall(run.logits(test_set), run.labels(test_set)) for run in self[name]], axis=0)

    def scores(self, name: str) -> pd.DataFrame:
        """What `evaluation.scores` says of an experiment that was run, mean over its seeds, by (test_set, layout).

        With several seeds an interval covers the choice of images and of seeds; with one, that of the images alone.
        """
        metrics = pd.concat([run.metrics for run in self[name]])
        frame = metrics.groupby(["test_set", "layout"], sort=False).mean()
        if len(self[name]) > 1:
            for test_set, layout in frame.index:
                predictions = [evaluation.predictions(run, test_set, layout) for run in self[name]]
                for metric, columns in INTERVALS.items():
                    values = np.array([evaluation.MEASURES[metric](*of_seed) for of_seed in predictions])
                    spread = evaluation.seed_spread(test_set, metric, values, annealed=self.annealed(name))
                    most = 1 if metric == "accuracy" else None
                    frame.loc[(test_set, layout), columns] = np.clip(evaluation.mean_interval(values, spread), 0, most)
        return frame
