#!/usr/bin/env python
"""Kills a run of the study at random moments, lets it go on, and compares what it leaves with an undisturbed run's.

    python tests/torture.py                            25 kills of the demo on the built-in faces
    python tests/torture.py --kills 3 --only 06        fewer, of a part; other options go to run_all.py, too

Half of the kills hit run_all.py alone and leave its kernel an orphan, half hit all of its processes. Exit status 0 if
both stores hold the same runs: same histories, same logits and heat maps, bit for bit, and nothing half written.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from ferhelpers.runs import Run  # noqa: E402

START = 12  # seconds that a process needs before it trains: kills are spread over this and its share of the work
MEASURED = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs" / "torture", help="emptied first")
    options, rest = parser.parse_known_args(arguments)
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)

    def start(name):
        command = [sys.executable, str(ROOT / "run_all.py"), "--data", "builtin", "--output", str(options.folder / name), *rest]
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    with open(options.folder / "log.txt", "w") as log:
        began = time.monotonic()
        if start("undisturbed").wait() != 0:
            sys.exit(f"the undisturbed run failed: see {log.name}")
        took = time.monotonic() - began
        print(f"undisturbed: {took:.0f} s", flush=True)
        moments = random.Random(options.seed)
        for number in range(1, options.kills + 1):
            delay = moments.uniform(0, 2 * (START + took / options.kills))
            alone = moments.random() < 0.5
            process = start("killed")
            try:
                status = process.wait(timeout=delay)
            except subprocess.TimeoutExpired:
                (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
                status = process.wait()
            where = ", ".join(sorted(path.parent.name for path in options.folder.glob("killed/runs/*/checkpoint")))
            what = "run_all.py alone" if alone else "all processes"
            end = f"killed, {what}" if status == -signal.SIGKILL else f"had ended with {status}"
            print(f"{number}: after {delay:.1f} s {end}; in training: {where or 'nothing'}", flush=True)
            if status not in (0, -signal.SIGKILL):
                sys.exit(f"a run failed: see {log.name}")
        if start("killed").wait() != 0:
            sys.exit(f"the last run failed: see {log.name}")
    differences = compare(options.folder / "undisturbed", options.folder / "killed")
    print("\n".join(differences) or "The killed run left what the undisturbed one left.")
    return 1 if differences else 0


def compare(one: Path, other: Path) -> list[str]:
    """What differs between two outputs, a line each."""
    differences = []
    names = [{path.name for path in (output / "runs").iterdir() if path.is_dir()} for output in (one, other)]
    files = [
        {str(path.relative_to(output)) for path in output.rglob("*") if path.suffix != ".lock"} for output in (one, other)
    ]
    differences += [f"only in one of the two: {name}" for name in sorted(files[0] ^ files[1])]
    for name in sorted(names[0] & names[1]):
        runs = [Run(output / "runs" / name) for output in (one, other)]
        if not runs[0].history[MEASURED].equals(runs[1].history[MEASURED]):
            differences.append(f"{name}: the histories differ")
        for file in ("predictions.npz", "gradcam.npz"):
            with np.load(runs[0].folder / file) as left, np.load(runs[1].folder / file) as right:
                same = left.files == right.files and all(np.array_equal(left[key], right[key]) for key in left.files)
            if not same:
                differences.append(f"{name}: {file} differs")
    return differences


if __name__ == "__main__":
    sys.exit(main())
