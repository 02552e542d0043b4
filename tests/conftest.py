"""Data that several test files share. Real FER-2013 is used where the environment variable FER2013 names it."""

import os
import random

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # as ferhelpers does, for tests that import Keras first


@pytest.fixture(scope="session")
def faces():
    """A small data set of built-in faces: 100 training, 20 public and 20 private images."""
    from ferhelpers import data

    return data.load("builtin").subset(0.05)


@pytest.fixture(autouse=True)
def the_same_networks():
    """Keras draws its seeds from Python's generator: with these a test sees the same networks at every run."""
    random.seed(0)


def pytest_collection_modifyitems(items):
    """The whole series first: it takes longest, and beside it another process runs the other tests."""
    items.sort(key=lambda item: item.path.stem != "test_study")
