#!/usr/bin/env python
"""Runs the study: checks everything it was given, runs the notebooks in order, writes them and an index as HTML.

    python run_all.py                                   the demo, on the built-in faces unless FER-2013 is at hand
    python run_all.py --profile full --data fer2013.csv
    python run_all.py --only 03,05 --set EPOCHS=2       some notebooks, one parameter changed
    python run_all.py --profile full --train-only       the trainings alone, without Jupyter
    python run_all.py --train-only --networks final     one of them

Exit status: 0 if all that was asked for is there, 1 if a notebook or a training failed, 2 if the input was wrong, 130
after Ctrl-C, 141 if standard output was closed.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import multiprocessing
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ferhelpers import data, parameters
from ferhelpers.containers import show
from ferhelpers.environment import check_backend, cores, quiet, threads
from ferhelpers.errors import InputError
from ferhelpers.experiments import (
    ASIDE,
    STUDY,
    Experiment,
    Settings,
    everything,
    longest_first,
    weights_file,
    with_seeds,
)
from ferhelpers.files import hold
from ferhelpers.notebook import banner
from ferhelpers.progress import Progress, duration
from ferhelpers.store import Results, Store

ROOT = Path(__file__).resolve().parent
NOTEBOOKS = (
    "01_data",
    "02_distortions",
    "03_baseline",
    "04_layer_ablation",
    "05_dropout_ablation",
    "06_final_model",
    "07_efficientnet",
    "08_verdicts",
    "09_robust_training",
    "10_your_photo",
)
# One value for all notebooks, so they have options of their own.
RUN_WIDE = {"DATA": "--data", "OUTPUT": "--output", "RESULTS": "--results", "TRAIN": "--profile"}


@dataclass(frozen=True)
class Plan:
    """What a command line asks for, checked."""

    values: dict[str, dict]  # notebook -> {parameter: value}, in the order of the series
    dataset: data.Dataset
    output: Path
    command: str
    pages: bool
    networks: list[str]  # to train; all others are left out

    def promised(self) -> list[Path]:
        """The files that a successful run has left in the output folder."""
        notebooks = [self.output / "notebooks" / f"{name}{end}" for name in self.values for end in (".ipynb", ".json")]
        pages = [self.output / f"{name}.html" for name in (*self.values, "index")]
        return notebooks + (pages if self.pages else [])


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (the shell closed it: >&-)
    if _loop_runs():
        return _process(arguments)
    command = shlex.join(["python", "run_all.py", *arguments])
    try:
        options = _options(arguments)
        plan = make_plan(options, command)
        fraction = next(iter(plan.values.values())).get("FRACTION", 1.0)
        print(f"{banner(plan.dataset.subset(fraction))}\n{plan.dataset.provenance['note']}", flush=True)
        progress = functools.partial(print, flush=True) if options.train_only else str  # which shows nothing
        with _helpers(plan, options.jobs, progress):
            if options.train_only:
                return train(plan, options, progress)
            wait = f"Waiting for another run_all.py that writes to {plan.output}"
            with hold(plan.output / ".lock", lambda: print(wait, flush=True)):
                return run(plan)
    except InputError as error:
        print(f"run_all.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nStopped. What is finished is kept; to go on: {command}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # which Python flushes at its end
        print(f"Stopped: standard output was closed. To go on: {command}", file=sys.stderr)
        return 141


def _loop_runs() -> bool:
    """Whether this is a cell of a notebook, where no second event loop can run."""
    try:
        return bool(asyncio.get_running_loop())
    except RuntimeError:
        return False


def _process(arguments: list[str]) -> int:
    """The same command line in a process of its own, which Ctrl-C stops."""
    command = [sys.executable, str(Path(__file__).resolve()), *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            print(process.stdout.read(), end="")
    return process.returncode


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise InputError(f"{message}; see python run_all.py --help")


def _options(arguments: list[str]) -> argparse.Namespace:
    jobs = 1 if shutil.which("nvidia-smi") else min(2, cores())
    parser = _Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument(
        "--profile",
        choices=parameters.PROFILES,
        default="demo",
        help="demo and fast: profiles/*.yml; full: the report's protocol (default: demo)",
    )
    parser.add_argument(
        "--data",
        default="auto",
        metavar="SOURCE",
        help="auto (FER-2013 where $FER2013 or data/ holds it, else the built-in faces; the default), builtin, "
        "kaggle, or the path of fer2013.csv, icml_face_data.csv or the folder release as a folder, .zip or .tar",
    )
    parser.add_argument("--output", metavar="DIR", help="where everything goes (default: outputs/PROFILE)")
    parser.add_argument("--only", metavar="03,05", help="run these notebooks")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter, in every notebook that has it; may be repeated",
    )
    parser.add_argument("--results", metavar="DIR", help="show the runs of that output folder; train nothing")
    parser.add_argument("--train-only", action="store_true", help="run the trainings without Jupyter")
    parser.add_argument("--networks", metavar="final,blocks_1", help="with --train-only: train these networks")
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="with --train-only: train on a Ray cluster (auto, HOST:PORT or ray://HOST:PORT; nothing: this machine's)",
    )
    parser.add_argument("--cpus", type=_amount, metavar="N", help="with --ray: cores of one training")
    parser.add_argument("--gpus", type=_amount, metavar="X", help="with --ray: GPUs of one training, such as 0.25")
    parser.add_argument(
        "--jobs",
        type=_count,
        metavar="N",
        help=f"without --ray: processes that train side by side (default: {jobs} here; more need more memory)",
    )
    parser.add_argument("--no-html", action="store_true", help="leave the notebooks as .ipynb")
    options = parser.parse_args(arguments)
    if options.jobs and options.ray is not None:
        raise InputError("--jobs is for this machine alone; on a Ray cluster --cpus says how much a training takes")
    options.jobs = options.jobs or (jobs if options.ray is None else 1)
    return options


def _count(text: str) -> int:
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")


def _amount(text: str) -> float:
    with suppress(ValueError):
        if float(text) >= 0 and (float(text) < 1 or float(text).is_integer()):  # as Ray has it
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number nor a share below 1")


def make_plan(options: argparse.Namespace, command: str = "") -> Plan:
    """Checks all that was asked for before anything is written.

    Raises:
        InputError: the first thing that is wrong.
    """
    check_backend()
    declared = {name: parameters.declared(_notebook(name)) for name in NOTEBOOKS}
    chosen = _choose(options.only)
    profile = parameters.read_profile(options.profile)
    for name in profile.keys() & RUN_WIDE.keys():
        raise InputError(f"profiles/{options.profile}.yml: {name}: use {RUN_WIDE[name]} instead")
    changes = _changes(options, {name: declared[name] for name in chosen})
    output = ROOT / "outputs" / options.profile if options.output is None else _path("--output", options.output)
    if output.exists() and not output.is_dir():
        raise InputError(f"--output {output} is a file; give a folder")
    if (output / "notebooks").resolve() == ROOT / "notebooks":
        raise InputError(
            f"--output {output} is the project itself, whose notebooks would be overwritten; give another folder"
        )
    results = "" if options.results is None else _path("--results", options.results)
    if results and not (results / "runs").is_dir():
        raise InputError(
            f"--results {results}: it has no folder named runs; "
            "give the output folder of an earlier run, such as outputs/demo"
        )
    if results and any("SEEDS" in change for _, change in changes):
        raise InputError(
            "--results shows every seed that is stored, and SEEDS says how many to train: give one of the two"
        )
    for option in ("ray", "cpus", "gpus"):
        needed = "train_only" if option == "ray" else "ray"
        if getattr(options, option) is not None and getattr(options, needed) in (None, False):
            raise InputError(f"--{option} goes with --{needed.replace('_', '-')}")
    if results and options.train_only:
        raise InputError("--results trains nothing, and --train-only shows nothing; give one of the two")
    shared = {"DATA": _source(options.data), "OUTPUT": str(output), "TRAIN": "", "RESULTS": str(results)}
    values = {}
    for name in chosen:
        layers = [(f"profile {options.profile}", profile), *changes, ("command line", shared)]
        own = [(where, {key: layer[key] for key in layer if key in declared[name]}) for where, layer in layers]
        values[name] = parameters.merge(declared[name], *own)
        if values[name].get("WEIGHTS", "none") not in ("none", "imagenet"):  # a file, named from the user's folder
            values[name]["WEIGHTS"] = str(weights_file(_path("WEIGHTS", values[name]["WEIGHTS"])))
        if "PHOTO" in values[name] and any("PHOTO" in change for _, change in changes):
            values[name]["PHOTO"] = str(_path("PHOTO", values[name]["PHOTO"]))
    networks = _networks(options, values)
    if options.train_only and not networks:
        raise InputError(f"--train-only --only {options.only}: no chosen notebook trains a network")
    first = values[chosen[0]]
    dataset = data.load(options.data, allow_subset=first.get("SUBSET", False), splits=first.get("SPLITS", "official"))
    if results and any("RESULTS" in own for own in values.values()):
        _check_results(results, values, dataset)
    if not results:
        _check_weights(values, dataset, output, networks)
    return Plan(values, dataset, output, command, not options.no_html, networks)


def _choose(only: str | None) -> list[str]:
    if only is None:
        return list(NOTEBOOKS)
    chosen = set()
    for text in only.split(","):
        matches = [name for name in NOTEBOOKS if text.strip().zfill(2) in (name, name[:2])]
        if not matches:
            raise InputError(f"--only {only}: there is no notebook {text.strip()!r}; there are {', '.join(NOTEBOOKS)}")
        chosen.update(matches)
    return [name for name in NOTEBOOKS if name in chosen]


def _networks(options, values: dict[str, dict]) -> list[str]:
    known = list(dict.fromkeys(network for name, own in values.items() for network in _experiments(name, own)))
    if options.networks is None:
        aside = {network for factory in ASIDE.values() for network in factory(Settings())}
        return [network for network in known if network not in aside]
    networks = [text.strip() for text in options.networks.split(",")]
    if not options.train_only:
        raise InputError("--networks chooses what --train-only trains; a notebook needs all of its networks")
    for network in networks:
        if network not in known:
            raise InputError(
                f"--networks {options.networks}: by this profile no chosen notebook trains {network!r}; there are "
                + ", ".join(known)
            )
    return networks


def _experiments(notebook: str, values: dict) -> dict[str, Experiment]:
    """What a notebook trains with these parameters, and what it shows where that was trained."""
    settings = Settings.from_parameters(values)
    factories = [factories[notebook] for factories in (STUDY, ASIDE) if notebook in factories]
    return {name: experiment for factory in factories for name, experiment in factory(settings).items()}


def _check_results(results: Path, values: dict, dataset: data.Dataset) -> None:
    stored = Results(results)
    for name, own in values.items():
        if "RESULTS" in own:
            experiments = STUDY.get(name, everything)(Settings.from_parameters(own))
            if any(stored.find_all(experiments, dataset.subset(own["FRACTION"]).fingerprint).values()):
                return
    raise InputError(
        f"--results {results} holds none of the networks to show: was it made with another --profile, such as fast, "
        "or another WIDTH?"
    )


def _check_weights(values: dict, dataset: data.Dataset, output: Path, networks: list[str]) -> None:
    """Weights that cannot be had are missed here, not after all the trainings that need none."""
    for name in values:
        for network, experiment in _experiments(name, values[name]).items():
            if experiment.weights == "none" or network not in networks:
                continue
            if not Store(output / "runs").find(experiment, dataset.subset(values[name]["FRACTION"]).fingerprint):
                from ferhelpers import training

                training.build(experiment)


def _changes(options, declared: dict) -> list[tuple[str, dict]]:
    """--set as (where, {name: text}); each must be a parameter of at least one chosen notebook."""
    changes = []
    for text in options.set:
        name, equals, value = text.partition("=")
        where = f"--set {text}"
        known = sorted({key for names in declared.values() for key in names} - RUN_WIDE.keys())
        if not equals:
            raise InputError(f"{where}: write NAME=VALUE")
        if name in RUN_WIDE:
            raise InputError(f"{where}: use {RUN_WIDE[name]} instead")
        if name not in known:
            raise InputError(f"{where}: no chosen notebook has a parameter {name}; there are {', '.join(known)}")
        changes.append((where, {name: value}))
    return changes


def _source(text: str) -> str:
    """The data source for the notebooks, which run in another folder: `auto` decided here, a path made absolute."""
    source = data.find()[0] if text == "auto" else text
    return source if source in ("builtin", "kaggle") else str(_path("--data", str(source)))


def _path(option: str, text: str) -> Path:
    """What an option names, absolute; whether anything is there is another question."""
    if not text:
        raise InputError(f"{option} is empty; give a path")
    try:
        text.encode()  # a notebook's parameters are UTF-8
        path = Path(text).expanduser().resolve()
        path.exists()  # asks the system, which has its say on names
    except (OSError, RuntimeError, UnicodeError) as error:
        raise InputError(f"{option} {show(text)} cannot be the path of a file ({show(error)}); give another") from error
    return path


def _trainings(plan: Plan) -> tuple[dict[str, Experiment], data.Dataset, Store, int]:
    """What training.train_all is called with."""
    notebooks = [name for name in plan.values if name in STUDY]
    known = {key: value for name in notebooks for key, value in _experiments(name, plan.values[name]).items()}
    experiments = {network: experiment for network, experiment in known.items() if network in plan.networks}
    values = plan.values[notebooks[0]]  # SEEDS and FRACTION are the same in all
    store = Store(plan.output / "runs", command=plan.command)
    return experiments, plan.dataset.subset(values["FRACTION"]), store, values["SEEDS"]


@contextmanager
def _helpers(plan: Plan, jobs: int, progress: Callable[[str], object]) -> Iterator[None]:
    """Train in further processes, too, the longest first; each of all `jobs` has its share of the cores.

    What they have not finished when this process ends goes on with the next run.
    """
    before, helpers = dict(os.environ), []
    if plan.networks and not any(values.get("RESULTS") for values in plan.values.values()):
        experiments, dataset, store, seeds = _trainings(plan)
        trainings = with_seeds(experiments, seeds)
        jobs = min(jobs, len(trainings))
        if jobs > 1:  # the same number of threads, and so the same numbers, where only some are missing
            os.environ.update(threads(max(1, cores() // jobs)) | os.environ)
        missing = [name for name, experiment in trainings if not store.find(experiment, dataset.fingerprint)]
        asked = dict(longest_first(list(experiments.items()))), dataset, store, seeds, progress
        process = multiprocessing.get_context("spawn").Process
        helpers = [process(target=_help, args=asked) for _ in range(min(jobs, len(missing)) - 1)]
    try:
        for helper in helpers:
            helper.start()
        yield
    finally:
        for helper in helpers:
            helper.kill()
            helper.join()
        os.environ.clear()
        os.environ.update(before)


def _help(experiments, dataset, store, seeds, progress) -> None:
    """A helper. Of errors it says nothing: the process that it helps will come to the same one."""

    def say(line: str) -> None:
        multiprocessing.parent_process().is_alive() or os._exit(1)
        progress(line)

    with quiet(), suppress(Exception, KeyboardInterrupt):
        from ferhelpers import training

        training.train_all(experiments, dataset, store, seeds, say)


def train(plan: Plan, options: argparse.Namespace, progress: Callable[[str], None]) -> int:
    """Runs every training of the chosen notebooks, without Jupyter."""
    experiments, dataset, store, seeds = asked = _trainings(plan)
    if options.ray is None:
        from ferhelpers import training

        runs, failures = training.train_all(*asked, progress), {}
    else:
        try:
            from ferhelpers import cluster
        except ModuleNotFoundError as error:
            raise InputError(f"{error.name} is not installed: pip install '.[ray]'") from error
        failures = cluster.train_all(*asked, options.ray, options.cpus, options.gpus, progress)
        runs = store.find_all(experiments, dataset.fingerprint, seeds)
    for name, reason in failures.items():
        print(f"{name} failed: {reason}", file=sys.stderr)
    print(f"In the store: {', '.join(f'{name} ({len(seeds)})' for name, seeds in runs.items())}", flush=True)
    return 1 if failures else 0


def run(plan: Plan) -> int:
    """Runs the chosen notebooks and writes their pages; stops at the first that fails."""
    try:
        from ferhelpers import execution, pages
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed: run make env, or use --train-only") from error

    os.environ["RUN_ALL_COMMAND"] = plan.command  # which every run that a notebook trains keeps
    started = time.monotonic()
    with Progress(sum(_cells(name) for name in plan.values)) as progress:
        for name, values in plan.values.items():
            progress.start(name)
            executed = plan.output / "notebooks" / f"{name}.ipynb"
            try:
                execution.execute(_notebook(name), executed, values, progress)
            except execution.NotebookError as error:
                progress.close()
                print(f"\n{name} failed in this cell:\n\n{error}\n", file=sys.stderr)
                print(f"The notebook as far as it came: {executed}", file=sys.stderr)
                return 1
            if plan.pages:
                pages.notebook_page(executed, plan.output / f"{name}.html", *_neighbours(name, plan))
            progress.finish()
    if plan.pages:
        pages.index_page(plan.output, [_notebook(name) for name in NOTEBOOKS], plan.command)
    missing = [str(path) for path in plan.promised() if not path.is_file()]
    if missing:
        print(f"Not everything was made; missing: {', '.join(missing)}", file=sys.stderr)
        return 1
    shown = plan.output / "index.html" if plan.pages else plan.output
    print(f"Done in {duration(time.monotonic() - started)}: {shown}", flush=True)
    return 0


def _notebook(name: str) -> Path:
    return ROOT / "notebooks" / f"{name}.ipynb"


def _cells(name: str) -> int:
    """Code cells of a notebook as papermill runs it, which adds a cell with the values."""
    return 1 + sum(cell["cell_type"] == "code" for cell in parameters.read_cells(_notebook(name)))


def _neighbours(name: str, plan: Plan) -> list[str]:
    """The notebooks before and after this one, where they have pages (or will have)."""
    paged = [other for other in NOTEBOOKS if other in plan.values or (plan.output / f"{other}.html").exists()]
    position = NOTEBOOKS.index(name)
    around = NOTEBOOKS[max(0, position - 1) : position], NOTEBOOKS[position + 1 : position + 2]
    return [next((other for other in others if other in paged), "") for others in around]


if __name__ == "__main__":
    sys.exit(main())
