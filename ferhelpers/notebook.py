"""What every notebook calls first and last: parameters, data, store, and how its results are shown and kept.

study = begin("03_baseline", globals())
study.figure(plots.learning_curves(histories), "baseline_curves", "Training and validation loss by epoch ...")
study.table(frame, "table_02", "Table 2: the baseline on distorted images, report | this run")
study.answer(["Two blocks are the most accurate.", ...])
study.claims(claims.verdicts(runs))
study.end()
"""

from __future__ import annotations

import html
import importlib.util
import io
import os
import re
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ferhelpers import data, parameters
from ferhelpers.environment import check_backend, environment, hardware
from ferhelpers.errors import InputError
from ferhelpers.experiments import Experiment, Settings
from ferhelpers.files import write_atomically, write_json, writing
from ferhelpers.runs import Runs
from ferhelpers.store import Results, Store

if TYPE_CHECKING:
    from ipywidgets import FileUpload

DRAWN = "built-in drawn faces, not FER-2013"
HERE = Path(__file__).resolve().parents[1] / "notebooks"  # not there where the package is installed elsewhere
OTHER_SPLITS = "not FER-2013's official splits"
NOT_STORED = "not among the stored results; to train it, empty RESULTS or name a profile as TRAIN"
# 0.687, 3,589, 15 %, 0.71 ± 0.02, 0.69 (0.67-0.70)
NUMBER = re.compile(r"[+\-−±]?\d[\d.,]*(e-?\d+)?( ?%)?( ?[±(].*)?|[–—]|")


def begin(name: str, scope: dict) -> Study:
    """Start a notebook: check its parameters, load its data, print what it runs on.

    Args:
        name: the notebook's file name without ".ipynb".
        scope: the notebook's `globals()`, with its parameters.

    Returns:
        The Study that the notebook works with.

    Raises:
        InputError: a parameter, the data or Keras' backend is wrong.
    """
    began = time.perf_counter()
    check_backend()
    values = parameters.of_scope(scope)
    dataset = None
    if "DATA" in values:
        options = {"allow_subset": values.get("SUBSET", False), "splits": values.get("SPLITS", "official")}
        dataset = data.load(values["DATA"], **options).subset(values["FRACTION"])
    study = Study(name, values, dataset, began)
    print(study.description())
    return study


class Study:
    """A notebook's context.

    Attributes:
        name: the notebook's.
        parameters: {name: value}.
        dataset: the Dataset, cut to FRACTION; None where the notebook has no parameter DATA.
        settings: what the parameters change of the report's protocol.
        output: the folder of this run of the study.
        store: the Store of runs in it.
        results: the Results that are shown, None where RESULTS is empty.
    """

    def __init__(self, name: str, values: dict, dataset: data.Dataset | None, began: float):
        self.name, self.parameters, self.dataset, self._began = name, values, dataset, began
        self.settings = Settings.from_parameters(values)
        self.output = _folder(values["OUTPUT"])
        self._figures, self._tables, self._runs, self._otherwise = {}, {}, [], []
        self._answer, self._claims, self._drawn = [], [], dataset is not None and dataset.drawn
        with writing(self._record):
            self._record.unlink(missing_ok=True)  # it is there when the notebook has come to its end

    @cached_property
    def store(self) -> Store:
        return Store(self.output / "runs", os.environ.get("RUN_ALL_COMMAND", f"notebook {self.name}"))

    @cached_property
    def results(self) -> Results | None:
        folder = self.parameters.get("RESULTS")
        return Results(_folder(folder)) if folder else None

    @property
    def fingerprint(self) -> str:
        """Of the images that the shown networks were tested on: the data's or, where RESULTS lacks them, its own."""
        stored = [run.config["data"]["fingerprint"] for run in self.results.runs] if self.results else []
        own = self.dataset.fingerprint
        return own if not stored or own in stored else stored[0]

    @property
    def pictures(self) -> bool:
        """Whether the data are the images that the shown networks were tested on, so that these can be shown."""
        return self.dataset is None or self.fingerprint == self.dataset.fingerprint

    @cached_property
    def environment(self) -> dict:
        """See `environment.environment`; its precision where this notebook trains."""
        precision = self.parameters.get("PRECISION", "")
        if precision == "auto":
            from ferhelpers import backend

            precision = backend.best_precision()
            if "WEIGHTS" in self.parameters and (other := backend.best_precision(depthwise=True)) != precision:
                precision = f"{precision} (EfficientNet: {other})"
        return environment(precision)

    def description(self) -> str:
        """The block that `begin` prints: data, versions, hardware, precision and seed."""
        record = self.environment
        lines = [("data", banner(self.dataset))] if self.dataset and self.pictures else []
        lines.append(("versions", ", ".join(f"{name} {version}" for name, version in record["versions"].items())))
        if "backend" in record:
            lines += [("hardware", hardware(record)), ("precision", f"{record['precision']} on {record['backend']}")]
        lines += [("seed", self.parameters["SEED"])] if "SEED" in self.parameters and not self.results else []
        if self.results:
            lines.append(("showing", f"the stored results in {self.results.folder}; nothing is trained"))
        if not self.pictures:
            lines.append(("", "their images are not at hand (set DATA or $FER2013), so no picture of them is shown"))
        return "\n".join([self.name, *(f"  {key:10} {value}" for key, value in lines)])

    def train(self, factory: Callable[[Settings], dict[str, Experiment]]) -> Runs:
        """The runs of one table of `experiments`: those of RESULTS or, where that is empty, trained if need be."""
        if self.results:
            runs = self.stored(factory)
        else:
            from ferhelpers import training

            asked = factory(self.settings)
            runs = training.train_all(asked, self.dataset, self.store, seeds=self.parameters["SEEDS"])
            runs = self._shown(asked, runs)
        for name, seeds in runs.items():
            print(f"{name}: {', '.join(run.folder.name for run in seeds) or NOT_STORED}")
        print(*self._otherwise, sep="\n", end="\n" * len(self._otherwise))
        return runs

    def stored(self, factory: Callable[[Settings], dict[str, Experiment]], profile: str = "") -> Runs:
        """As `train`, but nothing is trained: what is not in the store or the results has no runs.

        Args:
            profile: show the trainings of this profile, and no others.
        """
        settings = self.settings
        if profile:
            settings = Settings.from_parameters({**parameters.read_profile(profile), "SEED": self.settings.seed})
        asked = factory(settings)
        if self.results:
            runs = self.results.find_all(asked, self.fingerprint)
        else:
            runs = self.store.find_all(asked, self.fingerprint, self.parameters["SEEDS"])
        return self._shown(asked, runs.trained_as(asked) if profile else runs)

    def _shown(self, asked: dict[str, Experiment], runs: Runs) -> Runs:
        """Keeps for the record which runs were shown, and for the captions how they were trained, and on what."""
        self._runs += [str(run.folder.resolve()) for seeds in runs.values() for run in seeds]
        contents = [(asked[name], run.config["experiment"]) for name, seeds in runs.items() for run in seeds]
        others = [
            f"{content['epochs']} of {experiment.epochs} epochs at rate {content['learning_rate']:g}"
            for experiment, content in contents
            if not experiment.followed_by(content)
        ]
        some = "some " * (len(others) < len(contents))
        self._otherwise = [f"{some}trained otherwise than asked: {', '.join(sorted(set(others)))}"] if others else []
        self._drawn = self._drawn and self.pictures
        return runs

    @property
    def _notes(self) -> list[str]:
        """What every figure and measured table says of the data and of the networks shown last."""
        other_splits = self.dataset is not None and self.dataset.provenance.get("splits") == "folders"
        return [DRAWN] * self._drawn + [OTHER_SPLITS] * other_splits + self._otherwise

    def figure(self, fig, name: str, alt: str, main: bool = False) -> None:
        """Show a matplotlib figure, and keep it as OUTPUT/figures/NAME.png.

        Args:
            fig: matplotlib Figure. One of drawn faces, or of networks trained otherwise than asked, gets a line under
                it that says so.
            name: lower-case letters, digits and underscores; once in the whole series.
            alt: what the figure shows, in a sentence, for readers who do not see it.
            main: show it on the first page, too.

        Raises:
            InputError: the name cannot name a file, or the description is empty.
        """
        from IPython.display import display
        from matplotlib import pyplot

        from ferhelpers import plots

        _check_caption(name, alt)
        png = plots.png(fig, self._notes)
        pyplot.close(fig)  # one that pyplot knows would be shown twice
        write_atomically(self.output / "figures" / f"{name}.png", lambda file: file.write(png))
        self._figures[name] = {"name": name, "alt": alt, "main": main}
        display({"image/png": png, "text/plain": alt}, raw=True, metadata={"image/png": {"alt": alt}})

    def table(self, frame: pd.DataFrame, name: str, caption: str, measured: bool = True) -> None:
        """Show a table, and keep it as OUTPUT/tables/NAME.csv.

        Args:
            frame: numbers as text are shown as they are, other floats with three decimals; an index without a
                name is not shown.
            name: as in `figure`.
            caption: what the table shows.
            measured: False for a table that would be the same with any data.

        Raises:
            InputError: the name cannot name a file, or the caption is empty.
        """
        _check_caption(name, caption)
        if self._notes and measured:
            caption = f"{caption} ({'; '.join(self._notes)})"
        csv = frame.to_csv(index=_has_index(frame)).encode()
        write_atomically(self.output / "tables" / f"{name}.csv", lambda file: file.write(csv))
        self._tables[name] = {"name": name, "caption": caption}
        _display(table_html(frame, caption))

    def answer(self, sentences: list[str]) -> None:
        """Show what the study found, and keep it for the first page.

        Args:
            sentences: plain text, about three, computed from this run.
        """
        self._answer = sentences
        _display(render("answer.html.j2", answer=sentences, notes=self._notes))

    def claims(self, frame: pd.DataFrame) -> None:
        """Show the report's claims, a line each with the evidence folded, and keep them for the first page.

        Args:
            frame: as `claims.verdicts` returns it; a column "short schedule" may hold a second verdict.
        """
        self._claims = frame.fillna("").to_dict("records")
        _display(render("claims.html.j2", claims=self._claims, notes=self._notes))

    def end(self) -> None:
        """Write OUTPUT/notebooks/NAME.json: what the first page shows of this notebook, and that it came to its end."""
        about = {"drawn": False, "banner": ""}
        if self.dataset:
            about = {**self.dataset.provenance, "drawn": self.dataset.drawn, "banner": banner(self.dataset)}
        record = {
            "notebook": self.name,
            "seconds": round(time.perf_counter() - self._began, 1),
            "data": about,
            "environment": self.environment,
            "parameters": self.parameters,
            "figures": list(self._figures.values()),
            "tables": list(self._tables.values()),
            "answer": self._answer,
            "claims": self._claims,
            "runs": sorted(set(self._runs)),
        }
        write_json(self._record, record)
        print(f"{self.name}: figures: {len(self._figures)}, tables: {len(self._tables)}, in {self.output}")

    @property
    def _record(self) -> Path:
        return self.output / "notebooks" / f"{self.name}.json"


def _folder(name: str) -> Path:
    """A folder that a parameter names: from the project's notebooks, wherever the kernel was started."""
    return ((HERE if HERE.is_dir() else Path()) / Path(name).expanduser()).resolve()


def chooser() -> FileUpload | None:
    """Show a button that uploads an image, where a reader is there to press it; on a phone it offers the camera."""
    if "RUN_ALL_COMMAND" in os.environ or importlib.util.find_spec("ipywidgets") is None:
        return None
    from IPython.display import display
    from ipywidgets import FileUpload

    button = FileUpload(accept="image/*", description="Choose a photo")
    display(button)
    return button


def chosen(button: FileUpload | None, path: str) -> str | io.BytesIO:
    """What was uploaded with a `chooser`, or else the path."""
    return io.BytesIO(button.value[0].content) if button and button.value else path


def banner(dataset: data.Dataset) -> str:
    """One line that says loudly which data this is."""
    training, public, private = (len(split) for split in (dataset.training, dataset.public, dataset.private))
    sizes = f"{training:,} training, {public:,} public and {private:,} private test images"
    if dataset.drawn:
        return f"BUILT-IN DRAWN FACES, not FER-2013: {sizes}; no number here says anything about real faces"
    origin = dataset.provenance
    cut = "" if origin["fraction"] == 1.0 else f" ({origin['fraction']:g} of it)"
    if origin["form"] == "own":
        return f"{origin['source']}{cut}, not FER-2013: {sizes}"
    if origin.get("splits") == "folders":
        return f"FER-2013{cut}, but {OTHER_SPLITS.upper()}, from {origin['source']}: {sizes}"
    cut = cut or ("" if origin["official"] else " (a part of it)")
    return f"FER-2013{cut} from {origin['source']}: {sizes}"


def table_html(frame: pd.DataFrame, caption: str) -> str:
    """A plain HTML table with a caption; the columns that hold nothing but numbers have the class `n`."""
    if _has_index(frame):
        frame = frame.reset_index()
    columns = [[_text(value) for value in frame.iloc[:, number]] for number in range(frame.shape[1])]
    marks = [' class="n"' if all(map(NUMBER.fullmatch, column)) else "" for column in columns]
    head = "".join(f'<th scope="col"{mark}>{_escape(name)}</th>' for mark, name in zip(marks, frame.columns))
    body = "\n".join(
        "<tr>" + "".join(f"<td{mark}>{_escape(text)}</td>" for mark, text in zip(marks, row)) + "</tr>"
        for row in zip(*columns)
    )
    caption = f"<caption><span>{_escape(caption)}</span></caption>"
    return f"<table>\n{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def render(template: str, **values) -> str:
    """The HTML of a template of ferhelpers/templates with these values, which are escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ferhelpers"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(values)


def _display(text: str) -> None:
    from IPython.display import HTML, display

    display(HTML(text))


def _text(value) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "–"
    return f"{value:.3f}" if isinstance(value, (float, np.floating)) else str(value)


def _has_index(frame: pd.DataFrame) -> bool:
    return any(name is not None for name in frame.index.names)


def _escape(text) -> str:
    return html.escape(str(text), quote=False)


def _check_caption(name: str, caption: str) -> None:
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise InputError(f"{name!r} cannot name a file here; use lower-case letters, digits and underscores")
    if not caption.strip():
        raise InputError(f"{name} has no description; a figure needs alt text, a table a caption")
