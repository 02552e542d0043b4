"""The study as HTML: a page for every notebook and one for the whole, readable offline, on paper and on a phone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pandas as pd
from markupsafe import Markup
from nbconvert import HTMLExporter
from PIL import Image
from pygments.formatters import HtmlFormatter

from ferhelpers.environment import hardware
from ferhelpers.errors import InputError
from ferhelpers.files import write_atomically
from ferhelpers.notebook import render, table_html
from ferhelpers.parameters import read_cells
from ferhelpers.progress import duration
from ferhelpers.runs import MANIFEST, Run

TEMPLATES = Path(__file__).parent / "templates"
INSTALLER = re.compile(r"# On Colab")  # the first code cell, of no use on a page
NOTEBOOK_LINK = re.compile(r"\[([^\]]*)\]\((\w+)\.ipynb\)")
LEADING = ["six_sets", "faces_heat"]  # the figures that lead on the first page, in this order
REMOTE_IMAGE = re.compile(r"!\[([^\]]*)\]\(https?://[^)]*\)")


def title_and_question(notebook: Path) -> tuple[str, str]:
    """The H1 of a notebook, and the question in bold that the next cell begins with; empty where there is none."""
    title, question, *_ = [cell["source"] for cell in read_cells(notebook)] + ["", ""]
    bold = re.match(r"\*\*(.+?)\*\*", question, re.DOTALL)
    return title.lstrip("# ").strip() or notebook.stem, " ".join(bold[1].split()) if bold else ""


def notebook_page(executed: Path, page: Path, previous: str = "", following: str = "") -> None:
    """Write an executed notebook as a page that loads nothing: no script, no font, no image from elsewhere.

    Args:
        executed: .ipynb with outputs; a NAME.json that `Study.end` left beside it says whether the faces are drawn.
        page: the .html file to write.
        previous, following: names of the notebooks before and after it, if they have pages.

    Raises:
        InputError: the record beside the notebook is damaged.
    """

    def link(match: re.Match) -> str:
        return f"[{match[1]}]({match[2]}.html)" if match[2] in (previous, following) else match[1]

    notebook = nbformat.read(executed, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if not INSTALLER.match(cell.source)]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":  # a badge from the network would be a hole in the page offline
            cell.source = REMOTE_IMAGE.sub(r"\1", cell.source)
            cell.source = NOTEBOOK_LINK.sub(link, cell.source)
        if cell.cell_type == "code":  # standard error is the chatter of libraries; the executed notebook has it
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.get("outputs", []):
            if "<table" in (text := output.get("data", {}).get("text/html", "")):
                output.data["text/html"] = f'<div class="scroll">{text}</div>'
    record = _record(executed.with_suffix(".json"))
    data = record["data"] if record else {"drawn": False}
    context = {
        "title": title_and_question(executed)[0],
        "style": _style(),
        "drawn": data["banner"] if data["drawn"] else "",
        "previous": previous,
        "next": following,
    }
    exporter = HTMLExporter(
        template_name="notebook", extra_template_basedirs=[str(TEMPLATES)], exclude_anchor_links=True
    )
    body, _ = exporter.from_notebook_node(notebook, resources={"page": context})
    write_atomically(page, lambda file: file.write(body.encode()))


def index_page(output: Path, notebooks: list[Path], command: str) -> Path:
    """Write OUTPUT/index.html, the first page of a run, from what the notebooks left in OUTPUT.

    Args:
        output: folder of one run of the study: notebooks/*.json, figures/, runs/, *.html.
        notebooks: the source notebooks of the whole series, in order (titles and questions).
        command: the command line that made it.

    Returns:
        The path of the page.

    Raises:
        InputError: a notebook's record is damaged.
    """
    entries, records, figures = [], [], []
    for notebook in notebooks:
        record = _record(output / "notebooks" / f"{notebook.stem}.json")
        page = f"{notebook.stem}.html" if record and (output / f"{notebook.stem}.html").is_file() else ""
        title, question = title_and_question(notebook)
        note = duration(record["seconds"]) if record else "not part of this run"
        entries.append({"title": title, "question": question, "page": page, "note": note})
        if record:
            records.append(record)
            for figure in record["figures"]:
                if figure["main"]:
                    with Image.open(output / "figures" / f"{figure['name']}.png") as image:
                        figures.append({**figure, "width": image.width, "height": image.height, "page": page})
    figures.sort(key=lambda figure: [*LEADING, figure["name"]].index(figure["name"]))
    text = render(
        "index.html.j2",
        style=_style(),
        drawn=list(dict.fromkeys(record["data"]["banner"] for record in records if record["data"]["drawn"])),
        answer=[sentence for record in records for sentence in record["answer"]],
        figures=figures,
        notebooks=entries,
        claims=next((record["claims"] for record in reversed(records) if record["claims"]), []),
        facts=[*_facts(records), ("Command", command)],
        trainings=_trainings({Path(run) for record in records for run in record["runs"]}),
    )
    page = output / "index.html"
    write_atomically(page, lambda file: file.write(text.encode()))
    return page


def _record(path: Path) -> dict | None:
    """What `Study.end` left of a notebook, None if it has not come to its end."""
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text()))
    except ValueError as error:
        raise InputError(
            f"{path} is damaged; delete it and run this notebook again (--only {path.stem[:2]})"
        ) from error


def _facts(records: list[dict]) -> list[tuple[str, str]]:
    """What the notebooks share; where they differ, every value is listed. Stored runs have settings of their own."""
    training = [record["environment"] for record in records if "backend" in record["environment"]]
    versions = {name: value for record in records for name, value in record["environment"]["versions"].items()}
    settings = {}
    for record in records:
        for name, value in record["parameters"].items():
            if name not in ("DATA", "OUTPUT", "RESULTS", "TRAIN"):
                settings.setdefault(name, []).append(value)
    stored = any(record["parameters"].get("RESULTS") for record in records)
    facts = {
        "Data": [record["data"]["banner"] for record in records if record["data"]["banner"]],
        "Hardware": [hardware(environment) for environment in training],
        "Precision": [f"{environment['precision']}, {environment['backend']} backend" for environment in training],
        "Versions": [_listed(versions)],
        "Asked for" if stored else "Settings": [_listed({name: _unique(values) for name, values in settings.items()})],
    }
    return [(name, _unique(values, "; ")) for name, values in facts.items() if any(values)]


def _trainings(folders: set[Path]) -> str:
    """An HTML table of these runs, from their config.json."""
    rows = []
    for folder in sorted(folder for folder in folders if (folder / MANIFEST).is_file()):
        config = Run(folder).config
        experiment, environment = config["experiment"], config["environment"]
        rows.append(
            {
                "Run": folder.name,
                "Epochs": experiment["epochs"],
                "Seed": experiment["seed"],
                "Weights": f"{config['parameters']:,}",
                "Precision": environment["precision"],
                "Made on": hardware(environment),
                "With": _listed(environment["versions"]),
                "Data": config["data"]["fingerprint"][:12],
                "Made by": config["command"],
            }
        )
    return table_html(pd.DataFrame(rows), "The trained networks that the numbers come from") if rows else ""


def _style() -> Markup:
    """The stylesheet, with the colours of code for light and dark screens."""
    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("friendly", "github-dark"))
    dark = f"@media (prefers-color-scheme: dark) {{\n{dark}\n}}"
    own = ".highlight, .highlight .err { background: none; border: 0; }"
    return Markup("\n".join([(TEMPLATES / "style.css").read_text(), light, dark, own]))


def _listed(values: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _unique(values: list, separator: str = " | ") -> str:
    return separator.join(dict.fromkeys(map(str, values)))
