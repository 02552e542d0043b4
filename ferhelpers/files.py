"""Files that are there whole or not at all, locks, and one clear line where a disk is full or read-only."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import filelock

from ferhelpers.errors import InputError

DIGEST = hashlib.sha256().digest_size


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make the folder of `path`, and turn the operating system's refusal to write there into an InputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BrokenPipeError:  # is about standard output, never about a file
        raise
    except OSError as error:
        named = error.filename if isinstance(error.filename, str) else path
        target, named = (Path(os.path.abspath(each)) for each in (path, named))  # without "..", which Path keeps
        if target.parent not in named.parents and named not in target.parents:  # it is about something else
            raise
        reason = error.strerror or error
        raise InputError(
            f"cannot write {path} ({reason}); make room or rights there, or choose another place"
        ) from error


@contextmanager
def hold(lock: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file; `waiting` is called if another process has it. It dies with its holder."""
    with writing(lock):
        lock = filelock.FileLock(lock)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            waiting()
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a file so that at any moment it is there whole or not at all.

    Raises:
        InputError: it cannot be written; what was there before is still there.
    """
    with writing(path), tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        try:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)  # a temporary file is for its owner alone
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def write_json(path: Path, content) -> None:
    """`write_atomically` for JSON."""
    write_atomically(path, lambda file: file.write((json.dumps(content, indent=1) + "\n").encode()))


def write_sealed(path: Path, content: bytes) -> None:
    """`write_atomically` after the content's own SHA-256, for `read_sealed`."""
    write_atomically(path, lambda file: file.writelines([hashlib.sha256(content).digest(), content]))


def read_sealed(path: Path) -> bytes | None:
    """What `write_sealed` wrote; None if any byte of it is not as it was."""
    content = path.read_bytes()
    return content[DIGEST:] if hashlib.sha256(content[DIGEST:]).digest() == content[:DIGEST] else None
