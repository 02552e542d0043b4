"""Where runs are kept: a `Store`, which training writes to, and the `Results` of an earlier study, only read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from ferhelpers.errors import InputError
from ferhelpers.experiments import Experiment, with_seeds
from ferhelpers.files import hold, write_json
from ferhelpers.runs import FORMAT, MANIFEST, Run, Runs


class Store:
    """A folder of runs, each found by the content of its experiment and of the data.

    Args:
        folder: where runs are found and written.
        command: what makes runs here, such as a command line; every run keeps it.
    """

    def __init__(self, folder: str | Path, command: str = ""):
        self.folder, self.command = Path(folder), command

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

    def find_all(self, experiments: dict[str, Experiment], fingerprint: str, seeds: int = 1) -> Runs:
        """The finished runs of these experiments, each with `seeds` seeds.

        Raises:
            InputError: a run is damaged.
        """
        runs = Runs({name: [] for name in experiments})
        for name, experiment in with_seeds(experiments, seeds):
            if run := self.find(experiment, fingerprint):
                runs[name].append(run)
        return runs

    def path(self, experiment: Experiment, fingerprint: str) -> Path:
        """The folder of this run, finished or not."""
        return self.folder / f"{experiment.slug}-{experiment.key(fingerprint)[:12]}"

    def lock(
        self, experiment: Experiment, fingerprint: str, waiting: Callable[[], None]
    ) -> AbstractContextManager[None]:
        """Hold this run while it trains (see files.hold)."""
        return hold(self.folder / f".{experiment.key(fingerprint)[:12]}.lock", waiting)

    @staticmethod
    def seal(folder: Path) -> Run:
        """Write the manifest over all files of the folder: from now on it is a run."""
        files = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "checkpoint", MANIFEST)))
        write_json(folder / MANIFEST, {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files})
        return Run(folder)


class Results:
    """The runs of an earlier study, to be shown.

    Args:
        folder: the study's output folder, which holds `runs`.

    Attributes:
        runs: all of them, in the order of their names.

    Raises:
        InputError: there are no runs, or some of another FORMAT, or damaged ones.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder) / "runs"
        self.runs = [Run(path.parent) for path in sorted(self.folder.glob(f"*/{MANIFEST}"))]
        if not self.runs:
            raise InputError(
                f"RESULTS: {self.folder} holds no runs; give the output folder of an earlier run, such as outputs/demo"
            )
        for run in self.runs:
            if run.config.get("format") != FORMAT:
                raise InputError(f"{run.folder} was written by another version of the code; show it with that version")

    def find_all(self, experiments: dict[str, Experiment], fingerprint: str) -> Runs:
        """The runs of these experiments on the data with this fingerprint, with all their seeds.

        Of each, the training that is asked for or, where it is not there, the longest of this network (for
        EfficientNet, of those from stored weights if there are any): full-protocol runs replace shorter ones by being
        there.

        Raises:
            InputError: no run is of this data.
        """
        runs = [run for run in self.runs if run.config["data"]["fingerprint"] == fingerprint]
        if not runs:
            raise InputError(
                f"{self.folder} holds no run on these images; name those that it was trained on by --data or $FER2013"
            )
        return Runs({name: _nearest(experiment, runs) for name, experiment in experiments.items()})


def _nearest(experiment: Experiment, runs: list[Run]) -> list[Run]:
    """Those of this experiment's network that were trained on the nearest schedule, in the order of their seeds."""
    network, schedules = Experiment.network(experiment.content()), {}
    for run in runs:
        content = run.config["experiment"]
        if Experiment.network(content) == network:
            schedule = json.dumps({**content, "seed": None})
            rank = experiment.followed_by(content), content["weights"] != "none", content["epochs"], schedule
            schedules.setdefault(rank, {})[content["seed"]] = run
    return [run for _, run in sorted(schedules[max(schedules)].items())] if schedules else []
