"""The `parameters` cell is read as it stands, and every value is of the declared type and in range, or refused."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferhelpers import parameters
from ferhelpers.errors import InputError
from ferhelpers.experiments import Settings
from ferhelpers.parameters import Parameter

FIXTURES = Path(__file__).parent / "fixtures"


def notebook(tmp_path, source, tags=("parameters",)):
    path = tmp_path / "notebook.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "metadata": {"tags": list(tags)}, "source": source}]}))
    return path


def test_declared_reads_names_types_and_defaults(tmp_path):
    source = [
        'RATE: float = 1e-4  # step of "Adam" # at the start\n',
        "\n",
        'NAME: str = "a # b"\n',
        "DEEP: bool = True  # or not\n",
        "DEPTH: int = (\n    3  # wrapped\n)",
    ]
    assert list(parameters.declared(notebook(tmp_path, source)).values()) == [
        Parameter("RATE", float, 1e-4),
        Parameter("NAME", str, "a # b"),
        Parameter("DEEP", bool, True),
        Parameter("DEPTH", int, 3),
    ]


@pytest.mark.parametrize(
    "source, what",
    [
        ("RATE = 1.0", "NAME: type = literal"),
        ("RATE: float = 2 * HALF", "NAME: type = literal"),
        ("RATE: list = []", "NAME: type = literal"),
        ("RATE: float = 1", "not of type float"),
        ("import os", "NAME: type = literal"),
        ("RATE: float = (", "not Python"),
    ],
)
def test_declared_refuses_other_lines(tmp_path, source, what):
    with pytest.raises(InputError, match=what):
        parameters.declared(notebook(tmp_path, [source]))


def test_declared_wants_one_parameters_cell_in_a_notebook(tmp_path):
    with pytest.raises(InputError, match="0 cells are tagged"):
        parameters.declared(FIXTURES / "no_parameters.ipynb")
    with pytest.raises(InputError, match="no such notebook"):
        parameters.declared(tmp_path / "none.ipynb")
    for content in ("{", "[]", '{"cells": 3}', "\x00"):
        (tmp_path / "bad.ipynb").write_text(content)
        with pytest.raises(InputError, match="not a Jupyter notebook"):
            parameters.declared(tmp_path / "bad.ipynb")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_written_as_text_is_read_back(number):
    assert parameters.convert(Parameter("X", float, 0.0), repr(number), "here") == number


@given(st.integers())
def test_an_integer_written_as_text_is_read_back(number):
    assert parameters.convert(Parameter("X", int, 0), str(number), "here") == number
    with pytest.raises(InputError, match="X takes a whole number"):
        parameters.convert(Parameter("X", int, 0), f"{number}.5", "here")


@given(
    st.sampled_from([int, float, bool]), st.text() | st.none() | st.lists(st.integers()) | st.binary() | st.booleans()
)
def test_anything_becomes_the_declared_type_or_an_input_error(kind, value):
    try:
        converted = parameters.convert(Parameter("X", kind, kind()), value, "here")
    except InputError as error:
        assert "here: X" in str(error)
        assert len(str(error).splitlines()) == 1
    else:
        assert type(converted) is kind
        assert kind is not float or math.isfinite(converted)


@pytest.mark.parametrize(
    "name, given, value",
    [
        ("EPOCHS", np.int64(4), 4),
        ("FRACTION", 1, 1.0),
        ("WIDTH", np.float32(0.5), 0.5),
        ("LEARNING_RATE", "1e-3", 0.001),  # YAML 1.1, too, takes 1e-3 for text
        ("DATA", Path("x"), "x"),
        ("SUBSET", np.True_, True),
    ],
)
def test_a_notebook_may_write_values_of_related_types(name, given, value):
    values = parameters.of_scope({name: given, "np": np, "EPOCH": 3})
    assert values == {name: value} and type(values[name]) is type(value)


@pytest.mark.parametrize(
    "name, value, what",
    [
        ("WIDTH", None, "WIDTH takes a number, not None"),
        ("EPOCHS", 4.0, "EPOCHS takes a whole number, not 4.0"),
        ("SEED", "zero", "SEED takes a whole number, not 'zero'"),
        ("SEEDS", [1], "SEEDS takes a whole number, not [1]"),
        ("SUBSET", 1, "SUBSET takes true or false, not 1"),
        ("DATA", 3, "DATA takes text, not 3"),
        ("TRAIN", "demon", "TRAIN cannot be 'demon'; it must be empty or one of demo, fast, full"),
    ],
)
def test_a_notebook_s_wrong_values_are_refused_by_name(name, value, what):
    with pytest.raises(InputError) as refusal:
        parameters.of_scope({name: value})
    assert str(refusal.value) == f"the parameters cell: {what}"


def test_train_replaces_the_values_by_those_of_a_profile_and_shows_no_results():
    scope = {"TRAIN": "", "RESULTS": "../results", "EPOCHS": 7, "WIDTH": 1.0, "SEED": 3}
    assert parameters.of_scope(scope) == scope
    demo = {"TRAIN": "demo", "RESULTS": "", "EPOCHS": 6, "WIDTH": 0.25, "SEED": 3}  # its other values are not declared
    assert parameters.of_scope({**scope, "TRAIN": "demo"}) == demo
    full = {"TRAIN": "full", "RESULTS": "", "EPOCHS": 100, "WIDTH": 1.0, "SEED": 3}
    assert parameters.of_scope({**scope, "TRAIN": "full"}) == full
    assert Settings.from_parameters(parameters.read_profile("full")) == Settings()


@pytest.mark.parametrize(
    "name, right, wrong",
    [
        ("FRACTION", [0.001, 1.0], [0.0, -0.1, 1.01, math.nan, math.inf]),
        ("SEED", [0, 2**31 - 101], [-1, 2**31 - 100]),
        ("SEEDS", [1, 100], [0, 101]),
        ("EPOCHS", [1, 100], [0, -1, 10_001]),
        ("WIDTH", [0.05, 4.0], [0.0, -1.0, 4.5, math.nan]),
        ("LEARNING_RATE", [1e-9, 1.0], [0.0, 2.0, math.nan]),
        ("BATCH_SIZE", [1, 4096], [0, 4097]),
        ("ROBUST_BATCH_SIZE", [1, 1024], [0, 1025]),
        ("PRECISION", ["auto", "float32"], ["float64", ""]),
        ("WEIGHTS", ["none", "imagenet", "a.h5"], [""]),
        ("DATA", ["auto"], [""]),
    ],
)
def test_ranges_of_the_shared_parameters(name, right, wrong):
    for value in right:
        assert parameters.of_scope({name: value}) == {name: value}
    for value in wrong:
        with pytest.raises(InputError, match=f"cell: {name} cannot be"):
            parameters.of_scope({name: value})


def test_merge_replaces_layer_by_layer_and_knows_its_names():
    declared = {"EPOCHS": Parameter("EPOCHS", int, 8), "WIDTH": Parameter("WIDTH", float, 0.25)}
    assert parameters.merge(declared) == {"EPOCHS": 8, "WIDTH": 0.25}
    assert parameters.merge(declared, ("a", {"EPOCHS": 4}), ("b", {"EPOCHS": "2"})) == {"EPOCHS": 2, "WIDTH": 0.25}
    with pytest.raises(InputError, match="a: there is no parameter DEPTH; there are EPOCHS, WIDTH"):
        parameters.merge(declared, ("a", {"DEPTH": 4}))
