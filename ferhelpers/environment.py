"""What numbers were computed with: versions, backend, precision and hardware."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("ferhelpers", "numpy", "pandas", "opencv-python-headless", "matplotlib")


def environment(precision: str = "") -> dict:
    """The environment of a run or of a notebook, as JSON: `versions` and, where networks are trained, the rest.

    Args:
        precision: that networks are trained in; where it is empty, no backend is loaded.

    Returns:
        versions (package -> version), backend, precision, processor, cores, gpus (names).
    """
    packages, training = PACKAGES, {}
    if precision:
        import keras

        from ferhelpers import backend

        name = keras.backend.backend()
        packages = (*PACKAGES, "keras", name)
        training = {"backend": name, "precision": precision, **backend.machine()}
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # from a folder without installation
            continue
    return {**training, "versions": versions}


def hardware(record: dict) -> str:
    """Processor, cores and GPUs of an `environment`, in one line."""
    cores = f"{record['cores']} core{'s' if record['cores'] != 1 else ''}"
    return f"{record['processor']}, {cores}, {', '.join(record['gpus']) or 'no GPU'}"
