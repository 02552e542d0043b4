"""The parameters of a notebook: what its `parameters` cell declares, and the values that may replace the defaults.

Needs neither Jupyter nor papermill, so that `run_all.py --train-only` runs on a bare training machine.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import json
import math
from pathlib import Path

import numpy as np

from ferhelpers.errors import InputError
from ferhelpers.experiments import ANNEALINGS, PRECISIONS, SCALES, Settings

PROFILES = ("demo", "fast", "full")  # "fast" has the defaults of the notebooks; "full" is the report's protocol
FOLDER = Path(__file__).resolve().parents[1] / "profiles"
KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
TYPES = {kind.__name__: kind for kind in KINDS}

# The parameters that mean the same in every notebook: type, whether a value is allowed, and what is.
SHARED = {
    "DATA": (str, bool, "auto, builtin, kaggle or a path"),
    "OUTPUT": (str, bool, "the path of a folder"),
    "TRAIN": (str, lambda v: v in ("", *PROFILES), f"empty or one of {', '.join(PROFILES)}"),
    "RESULTS": (str, lambda v: True, "the path of a folder, or empty"),
    "FRACTION": (float, lambda v: 0 < v <= 1, "more than 0 and at most 1"),
    "SPLITS": (str, lambda v: v in ("official", "folders"), "official or folders"),
    "SUBSET": (bool, lambda v: True, "true or false"),
    "SEED": (int, lambda v: 0 <= v < 2**31 - 100, "0 to 2147483547"),  # the seeds that follow it have room, too
    "SEEDS": (int, lambda v: 1 <= v <= 100, "1 to 100"),
    "EPOCHS": (int, lambda v: 1 <= v <= 10_000, "1 to 10000"),
    "WIDTH": (float, lambda v: 0 < v <= 4, "more than 0 and at most 4"),
    "LEARNING_RATE": (float, lambda v: 0 < v <= 1, "more than 0 and at most 1"),
    "ANNEALING": (str, lambda v: v in ANNEALINGS, f"one of {', '.join(ANNEALINGS)}"),
    "SCALE": (str, lambda v: v in SCALES, f"one of {', '.join(SCALES)}"),
    "BATCH_SIZE": (int, lambda v: 1 <= v <= 4096, "1 to 4096"),
    "PRECISION": (str, lambda v: v in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
    "ROBUST_EPOCHS": (int, lambda v: 1 <= v <= 10_000, "1 to 10000"),
    "ROBUST_WIDTH": (float, lambda v: 0 < v <= 2, "more than 0 and at most 2"),
    "ROBUST_BATCH_SIZE": (int, lambda v: 1 <= v <= 1024, "1 to 1024"),
    "WEIGHTS": (str, bool, "none, imagenet or the path of a weights file"),
}


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One line `NAME: type = default` of a `parameters` cell."""

    name: str
    type: type
    default: str | int | float | bool


def declared(notebook: Path) -> dict[str, Parameter]:
    """The parameters that a notebook declares, in the order of its `parameters` cell.

    Args:
        notebook: path of an .ipynb file.

    Raises:
        InputError: no such file, not a notebook, not exactly one cell tagged `parameters`, or a line in it that is
            not `NAME: type = literal`.
    """
    cells = [cell for cell in read_cells(notebook) if "parameters" in cell["metadata"].get("tags", [])]
    if len(cells) != 1:
        raise InputError(f"{notebook}: {len(cells)} cells are tagged `parameters`; it needs exactly one")
    try:
        lines = ast.parse(cells[0]["source"]).body
    except SyntaxError as error:
        raise InputError(f"{notebook}: `parameters` cell, line {error.lineno}: not Python") from error
    parameters = {}
    for line in lines:
        where = f"{notebook}: `parameters` cell, line {line.lineno}"
        try:
            name, kind, value = line.target.id, TYPES[line.annotation.id], ast.literal_eval(line.value)
        except (AttributeError, KeyError, ValueError) as error:
            raise InputError(f"{where}: write NAME: type = literal, with type {', '.join(TYPES)}") from error
        if type(value) is not kind:
            raise InputError(f"{where}: the default of {name} is not of type {kind.__name__}")
        parameters[name] = Parameter(name, kind, value)
    return parameters


def read_cells(notebook: Path) -> list[dict]:
    """The cells of an .ipynb file: cell_type, metadata and source (one text); raises InputError if it is none."""
    try:
        cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
        return [
            {"cell_type": cell["cell_type"], "metadata": dict(cell["metadata"]), "source": "".join(cell["source"])}
            for cell in cells
        ]
    except FileNotFoundError as error:
        raise InputError(f"{notebook}: no such notebook") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{notebook}: not a Jupyter notebook") from error


def merge(parameters: dict[str, Parameter], *layers: tuple[str, dict]) -> dict:
    """The defaults, replaced by layer after layer.

    Args:
        parameters: what the notebook declares.
        layers: (where the values come from, {name: value}); text is read as the parameter's type.

    Returns:
        {name: value} for every declared parameter.

    Raises:
        InputError: a name that is not declared, a value of another type or out of range.
    """
    values = {name: parameter.default for name, parameter in parameters.items()}
    for where, given in layers:
        for name, value in given.items():
            if name not in parameters:
                raise InputError(f"{where}: there is no parameter {name}; there are {', '.join(parameters)}")
            values[name] = convert(parameters[name], value, where)
    return values


def convert(parameter: Parameter, value, where: str) -> str | int | float | bool:
    """`value` as the parameter's type (NumPy numbers, paths and text such as "1e-4" are read).

    Raises:
        InputError: a value of another type or, for a shared parameter, out of range.
    """
    value = value.item() if isinstance(value, np.generic) else str(value) if isinstance(value, Path) else value
    if isinstance(value, str) and parameter.type is bool:
        value = {"true": True, "false": False}.get(value.lower(), value)
    elif isinstance(value, str) or (parameter.type is float and type(value) is int):
        with contextlib.suppress(ValueError, OverflowError):  # below it is said what is wrong
            value = parameter.type(value)
    _, allowed, right = SHARED.get(parameter.name, (None, lambda v: True, "a number"))
    if type(value) is not parameter.type:
        raise InputError(f"{where}: {parameter.name} takes {KINDS[parameter.type]}, not {value!r}")
    if not allowed(value) or (parameter.type is float and not math.isfinite(value)):
        raise InputError(f"{where}: {parameter.name} cannot be {value!r}; it must be {right}")
    return value


def of_scope(scope: dict) -> dict:
    """A notebook's parameters from its `globals()`: the names in SHARED; where TRAIN names a profile, with its values.

    Raises:
        InputError: a value of another type or out of range.
    """
    known = {name: parameter for name, parameter in _shared().items() if name in scope}
    values = merge(known, ("the parameters cell", {name: scope[name] for name in known}))
    if values.get("TRAIN"):
        profile = {**read_profile(values["TRAIN"]), "RESULTS": ""}
        values |= {name: value for name, value in profile.items() if name in known}
    return values


def read_profile(profile: str) -> dict:
    """The values of a profile, {parameter: value}; those of "full" are the defaults of `Settings`.

    Args:
        profile: one of PROFILES; profiles/PROFILE.yml has lines NAME: value, for every notebook that declares NAME.

    Raises:
        InputError: unreadable, not YAML, an unknown parameter, a wrong value.
    """
    import yaml

    if profile == "full":
        protocol = {field.name.upper(): field.default for field in dataclasses.fields(Settings)}
        return {name: value for name, value in protocol.items() if name in SHARED and name != "SEED"}
    path = FOLDER / f"{profile}.yml"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: a profile has lines NAME: value")
    merged = merge(_shared(), (str(path), values))
    return {name: merged[name] for name in values}


def _shared() -> dict[str, Parameter]:
    return {name: Parameter(name, kind, kind()) for name, (kind, *_) in SHARED.items()}
