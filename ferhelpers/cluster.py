"""Trainings on a Ray cluster, one task each, the longest first. Where they run and what is tried again is Ray's matter.

Needs the package `ray` (the extra of that name).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

import ray
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from tqdm import tqdm

import ferhelpers
from ferhelpers.data import Dataset
from ferhelpers.environment import PACKAGES, installed, threads
from ferhelpers.errors import InputError
from ferhelpers.experiments import Experiment, longest_first, with_seeds
from ferhelpers.files import write_atomically
from ferhelpers.runs import MANIFEST
from ferhelpers.store import Store

RETRIES = 3  # of a training whose worker or node was lost


def train_all(
    experiments: dict[str, Experiment],
    dataset: Dataset,
    store: Store,
    seeds: int = 1,
    address: str = "",
    cpus: float | None = None,
    gpus: float | None = None,
    progress: Callable[[str], None] = print,
) -> dict[str, str]:
    """Train what is not in the store, as training.train_all does, on the nodes of a Ray cluster.

    A node that sees the store's folder trains in it, so that a lost training goes on from its last epoch on another
    node. Of a node that does not, the finished run is sent back and written here.

    Args:
        experiments, dataset, store, seeds, progress: as in training.train_all.
        address: of a running cluster ("auto", "host:port" or "ray://host:port"); empty starts one on this machine.
        cpus, gpus: of one training; below 1, several share one. Left out: one GPU where the cluster has any; else an
            equal share of all cores, at most those of one node.

    Returns:
        {name and seed of a training that failed: why}. The others are in the store.

    Raises:
        InputError: no cluster answers, no node has so many cores or GPUs, or a node has other packages.
    """
    trainings = {
        f"{name}, seed {experiment.seed}": experiment
        for name, experiment in longest_first(with_seeds(experiments, seeds))
        if not store.find(experiment, dataset.fingerprint)
    }
    if not trainings:
        return {}
    token = store.folder / f".driver-{uuid.uuid4().hex}"  # a node that sees it sees the folder
    _connect(address)
    try:
        cpus, gpus = _resources(cpus, gpus, len(trainings))
        _check_packages()
        write_atomically(token, lambda file: None)
        return _run(trainings, dataset, store, token, cpus, gpus, progress)
    finally:
        ray.shutdown()  # which stops the tasks that are left
        token.unlink(missing_ok=True)


def _connect(address: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    job = {
        "py_modules": [str(Path(ferhelpers.__file__).parent)],  # the same code everywhere
        "env_vars": {"KERAS_BACKEND": os.environ["KERAS_BACKEND"]},
    }
    local = {} if address else {"include_dashboard": False}
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if host:  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address or "local", runtime_env=job, log_to_driver=False, logging_level="ERROR", **local)
    except Exception as error:  # OSError, ValueError, RuntimeError and gRPC's own
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"--ray {address}: no Ray cluster could be had there ({reason}); docs/scaling.md helps"
        ) from error


def _resources(cpus: float | None, gpus: float | None, trainings: int) -> tuple[float, float]:
    """Of one training, checked against what the nodes have."""
    if gpus is None:
        gpus = min(1, _largest("GPU"))
    if cpus is None:
        share = ray.cluster_resources().get("CPU", 0) // trainings
        cpus = 1 if gpus else max(1, min(share, _largest("CPU")))
    _check_room(cpus, gpus)
    return cpus, gpus


def _largest(kind: str) -> float:
    return max(node["Resources"].get(kind, 0) for node in ray.nodes() if node["Alive"])


def _check_room(cpus: float, gpus: float) -> None:
    """Raises InputError unless some node has so many cores and GPUs."""
    for option, asked, kind in (("--cpus", cpus, "CPU"), ("--gpus", gpus, "GPU")):
        if asked > _largest(kind):
            raise InputError(f"{option} {asked:g}: the largest node of the Ray cluster has {_largest(kind):g}")


def _check_packages() -> None:
    """Raises InputError unless every node has the packages that numbers depend on in the versions that are here."""
    here, ask = _packages(), ray.remote(num_cpus=0)(_packages)
    nodes = {node["NodeManagerAddress"]: node["NodeID"] for node in ray.nodes() if node["Alive"]}
    strategies = (NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes.values())
    answers = ray.get([ask.options(scheduling_strategy=strategy).remote() for strategy in strategies])
    for node, other in zip(nodes, answers, strict=True):
        if differences := [f"{name} {other[name]} (here {here[name]})" for name in here if other[name] != here[name]]:
            raise InputError(f"the node {node} has {', '.join(differences)}; install the same versions")


def _packages() -> dict[str, str]:
    packages = (*PACKAGES[1:], "keras", os.environ["KERAS_BACKEND"])  # ferhelpers itself is sent along
    return dict.fromkeys(packages, "not installed") | installed(packages)


def _run(trainings, dataset, store, token, cpus, gpus, progress) -> dict[str, str]:
    """One task a training; their lines as they come, their runs as they finish."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    lines = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    images = ray.put((dataset.training, dataset.public, dataset.private, dataset.provenance))
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_calls=1, max_retries=RETRIES)(_train)  # a process each
    limits = _limits(cpus, gpus)
    left = {
        task.remote(name, experiment, images, dataset.fingerprint, token, store.command, lines, limits): name
        for name, experiment in trainings.items()
    }
    failures, done = {}, dict.fromkeys(trainings, 0.0)
    bar_format = "{percentage:3.0f}% |{bar:20}| {elapsed}, {remaining} left"
    total = sum(experiment.cost for experiment in trainings.values())
    with tqdm(total=total, bar_format=bar_format, disable=None) as bar:
        while left:
            finished, _ = ray.wait(list(left), timeout=1)
            _check_room(cpus, gpus)  # nodes can be lost
            for line in lines.get_nowait_batch(lines.qsize()):
                with bar.external_write_mode():
                    progress(line)
                if epoch := re.match(r"(.*): epoch (\d+)/(\d+)", line):
                    done[epoch[1]] = int(epoch[2]) / int(epoch[3])
            for reference in finished:
                name = left.pop(reference)
                try:
                    if files := ray.get(reference):
                        _keep(files, store.path(trainings[name], dataset.fingerprint))
                    done[name] = 1.0
                except Exception as error:  # the training's own, or Ray's where its worker was lost too often
                    failures[name] = str(error).strip().splitlines()[-1]
            bar.n = sum(done[name] * experiment.cost for name, experiment in trainings.items())
            bar.refresh()
    return failures


def _limits(cpus: float, gpus: float) -> dict[str, str]:
    """Environment of a task: as many threads as it has cores, and no more of a GPU than its share."""
    limits = threads(max(1, int(cpus)))
    if not gpus:
        return limits | {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    if gpus < 1:
        limits |= {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 * gpus:.3f}", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    return limits


def _train(name, experiment, images, fingerprint, token, command, lines, limits) -> dict[str, bytes]:
    """On a worker: train one experiment; the files of its run, unless they are in the driver's folder already."""
    os.environ.update(limits)  # which the backend reads when it is imported
    from ferhelpers import training

    dataset = Dataset(*images)
    if dataset.fingerprint != fingerprint:
        raise InputError("the images that came to this node are not those that were sent")
    if token.exists():
        training.train(experiment, dataset, Store(token.parent, command), name, lines.put)
        return {}
    with tempfile.TemporaryDirectory() as folder:
        run = training.train(experiment, dataset, Store(folder, command), name, lines.put)
        return {path.name: path.read_bytes() for path in run.folder.iterdir()}


def _keep(files: dict[str, bytes], folder: Path) -> None:
    """Check the files of a run that was trained elsewhere against its manifest, and write them, the manifest last."""
    sums = json.loads(files[MANIFEST])
    for name, digest in sums.items():
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise InputError(f"{name} came back damaged")
    for name in (*sums, MANIFEST):
        write_atomically(folder / name, lambda file, content=files[name]: file.write(content))
