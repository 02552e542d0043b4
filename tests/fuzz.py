#!/usr/bin/env python
"""Coverage-guided fuzzing of the readers: whatever the bytes, they are read, or refused in one printable line.

    pip install atheris
    python tests/fuzz.py FOLDER -max_total_time=1200 -rss_limit_mb=2048 -timeout=20

FOLDER keeps the inputs; it is filled with a small FER-2013 in every form first. What is found belongs in
test_readers.py or test_bad_input.py.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ferhelpers", "zipfile", "tarfile"]):
    import fake_fer

    from ferhelpers import readers
    from ferhelpers.errors import InputError

SUFFIXES = (".csv", ".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz")  # the first byte of an input chooses


def fill(folder: Path) -> None:
    """Seeds: one image of each class in each form, and each archive with the CSV."""
    splits = fake_fer.arrays()
    csv, files = fake_fer.csv(splits), dict(list(fake_fer.members(splits).items())[::4])
    with tempfile.TemporaryDirectory() as scratch:
        for kind, suffix in enumerate(SUFFIXES):
            for name, content in (("images", files), ("csv", {"fer2013.csv": csv[:40_000]})):
                path = Path(scratch) / f"fer{suffix}"
                if suffix == ".csv":
                    path.write_bytes(csv[:40_000])
                else:
                    (fake_fer.write_zip if suffix == ".zip" else fake_fer.write_tar)(path, content)
                (folder / f"seed-{name}{suffix}").write_bytes(bytes([kind]) + path.read_bytes())


def read(data: bytes) -> None:
    if data:
        path = SCRATCH / f"fer{SUFFIXES[data[0] % len(SUFFIXES)]}"
        path.write_bytes(data[1:])
        try:
            readers.read(path)
        except InputError as error:
            assert str(error).isprintable() and len(str(error)) < 500, str(error)


if __name__ == "__main__":
    fill(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as scratch:
        SCRATCH = Path(scratch)
        atheris.Setup(sys.argv, read)
        atheris.Fuzz()
