"""The files that set the environment up say the same thing."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
INSTALLED = ("notebooks", "photo", "export", "test")  # by make env
REQUIREMENTS = [*PROJECT["dependencies"], *(line for extra in INSTALLED for line in EXTRAS[extra])]
EXACT = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]


def test_conda_has_the_requirements_of_pip():
    packages = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert packages[-1]["pip"] == [*REQUIREMENTS, "--editable=."]


def test_the_exact_set_lies_in_the_ranges_and_holds_no_address():
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!]+", line) for line in EXACT)
    exact = {name.lower(): number for name, number in (line.split("==") for line in EXACT)}
    for requirement in map(Requirement, REQUIREMENTS):
        assert requirement.specifier.contains(exact[requirement.name]), requirement.name


def test_what_is_installed_lies_in_the_ranges():
    for requirement in map(Requirement, REQUIREMENTS):
        assert requirement.specifier.contains(version(requirement.name)), requirement.name
