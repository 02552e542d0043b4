#!/usr/bin/env python
"""Kills a run of the study at random moments, lets it go on, and compares what it leaves with an undisturbed run's.

    python tests/torture.py                            25 kills of the demo on the built-in faces
    python tests/torture.py --kills 3 --only 06        fewer, of a part; other options go to run_all.py, too

Each kill comes up to three epochs and some seconds after the start. By chance it hits a run with notebooks or one with
--train-only, and run_all.py alone (which leaves its kernel an orphan) or all of its processes. Exit status 0 if both
stores hold the same runs: same histories, same logits and heat maps, bit for bit, and nothing half written.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from ferhelpers.runs import Run  # noqa: E402

MEASURED = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs" / "torture", help="emptied first")
    options, rest = parser.parse_known_args(arguments)
    shutil.rmtree(options.folder, ignore_errors=True)
    undisturbed, killed = options.folder / "undisturbed", options.folder / "killed"

    finish(start(undisturbed, rest))
    moments = random.Random(options.seed)
    kills, differences = 0, []
    while kills < options.kills:
        process = start(killed, rest + moments.choice([[], ["--train-only"]]))
        epochs, seconds = moments.randint(0, 3), moments.uniform(0, 10)
        victims, kill = moments.choice([("run_all.py", os.kill), ("all processes", os.killpg)])
        while epochs and (line := process.stdout.readline()):
            epochs -= ": epoch " in line
        try:
            finish(process, seconds)
            finish(start(killed, rest))  # it came to its end: once more with notebooks, then from the beginning
            differences += compare(undisturbed, killed)
            shutil.rmtree(killed)
        except subprocess.TimeoutExpired:
            kill(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            at = ", ".join(path.parent.name for path in sorted(killed.glob("runs/*/checkpoint")))
            print(f"{kills}: killed {victims}; in training: {at or 'nothing'}", flush=True)
    finish(start(killed, rest))
    differences += compare(undisturbed, killed)
    print("\n".join(differences) or "The killed run left what the undisturbed one left.")
    return 1 if differences else 0


def start(output: Path, options: list[str]) -> subprocess.Popen:
    """run_all.py in a session of its own."""
    command = [sys.executable, str(ROOT / "run_all.py"), "--data", "builtin", "--output", str(output), *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process: subprocess.Popen, seconds: float | None = None) -> None:
    """Wait for its end; ends this program, too, if it failed."""
    output, _ = process.communicate(timeout=seconds)
    if process.returncode != 0:
        sys.exit(f"{' '.join(process.args)} failed:\n{output}")


def compare(one: Path, other: Path) -> list[str]:
    """What differs between two outputs, a line each."""
    one_files, other_files = (
        {str(path.relative_to(output)) for path in output.rglob("*") if path.suffix != ".lock"}
        for output in (one, other)
    )
    differences = [f"only in one of the two: {name}" for name in sorted(one_files ^ other_files)]
    for folder in sorted(path.parent for path in (one / "runs").glob("*/manifest.json")):
        runs = [Run(folder), Run(other / "runs" / folder.name)]
        if not runs[0].history[MEASURED].equals(runs[1].history[MEASURED]):
            differences.append(f"{folder.name}: the histories differ")
        for name in ("predictions.npz", "gradcam.npz"):
            with np.load(runs[0].folder / name) as left, np.load(runs[1].folder / name) as right:
                if left.files != right.files or any(not np.array_equal(left[key], right[key]) for key in left.files):
                    differences.append(f"{folder.name}: {name} differs")
    return differences


if __name__ == "__main__":
    sys.exit(main())
