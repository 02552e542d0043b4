"""What numbers were computed with: versions, backend, precision and hardware; nothing else may change them."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version

import platformdirs

from ferhelpers.errors import InputError

PACKAGES = ("ferhelpers", "numpy", "pandas", "opencv-python-headless", "matplotlib")
BACKENDS = ("tensorflow", "jax")
# What a shell may hold: variables that would change numbers, and those that may, which a run's record names.
REMOVED = (
    *("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED"),
    *("TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS", "NVIDIA_TF32_OVERRIDE"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    *("JAX_ENABLE_X64", "JAX_DEFAULT_DTYPE_BITS", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_DEFAULT_PRNG_IMPL"),
    *("JAX_DISABLE_JIT", "JAX_NUMPY_DTYPE_PROMOTION", "JAX_NUMPY_RANK_PROMOTION", "JAX_THREEFRY_PARTITIONABLE"),
)
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "PJRT_NPROC")
RECORDED = (
    *("XLA_FLAGS", "TF_DETERMINISTIC_OPS", "TF_CUDNN_DETERMINISTIC", "TF_FORCE_UNIFIED_MEMORY"),
    *THREADS,  # which sum in another order
)


def isolate() -> None:
    """Keep the user's own settings of Keras, TensorFlow, JAX and matplotlib out of the study.

    Called when the package is imported, before any of these. Keras gets a folder of its own for its keras.json and for
    downloaded weights. Only a matplotlib backend that Jupyter has chosen stays.
    """
    for name in REMOVED:
        os.environ.pop(name, None)
    os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or "tensorflow"
    cache = os.environ.get("FERHELPERS_CACHE") or platformdirs.user_cache_dir("ferhelpers")
    os.environ["KERAS_HOME"] = os.path.abspath(os.path.join(cache, "keras"))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reports what it does not find, such as a GPU
    if not os.environ.get("MPLBACKEND", "").startswith("module://"):
        os.environ.pop("MPLBACKEND", None)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def threads(count: int) -> dict[str, str]:
    """Variables that give a process so many threads, if they are set before it imports TensorFlow or JAX."""
    return dict.fromkeys(THREADS, str(count))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what libraries write to standard error while they load out of the terminal."""
    sys.stderr.flush()
    terminal, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nothing)


def check_backend() -> None:
    """Raises InputError unless KERAS_BACKEND names a backend that the series runs on, and it is installed."""
    name = os.environ["KERAS_BACKEND"]
    if name not in BACKENDS:
        raise InputError(f"KERAS_BACKEND is {name!r}; the series runs on tensorflow (the default) or jax")
    if importlib.util.find_spec(name) is None:
        raise InputError(f"{name}, which Keras is to run on (KERAS_BACKEND), is not installed")


def environment(precision: str = "") -> dict:
    """The environment of a run or of a notebook, as JSON: `versions` and, where networks are trained, the rest.

    Args:
        precision: that networks are trained in; where it is empty, no backend is loaded.

    Returns:
        versions (package -> version), backend, precision, processor, cores, gpus (names); variables (name -> value),
        where any of RECORDED is set.
    """
    packages, training = PACKAGES, {}
    if precision:
        import keras

        from ferhelpers import backend

        name = keras.backend.backend()
        packages = (*PACKAGES, "keras", name)
        training = {"backend": name, "precision": precision, **backend.machine()}
        if variables := {name: os.environ[name] for name in RECORDED if os.environ.get(name)}:
            training["variables"] = variables
    return {**training, "versions": {"python": platform.python_version(), **installed(packages)}}


def installed(packages: Iterable[str]) -> dict[str, str]:
    """The versions of these packages; those that are not installed, such as ferhelpers in a clone, are left out."""
    versions = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def hardware(record: dict) -> str:
    """Processor, cores and GPUs of an `environment`, in one line."""
    cores = f"{record['cores']} core{'s' if record['cores'] != 1 else ''}"
    return f"{record['processor']}, {cores}, {', '.join(record['gpus']) or 'no GPU'}"
