"""What a folder, a zip or a tar holds, file by file, without unpacking anything to disk.

What an archive declares is checked before it is read, against the limits below, so that a hostile one costs neither
memory nor disk: only its compressed size on disk is taken as given.
"""

import bz2
import gzip
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from ferhelpers.errors import InputError

OPENERS = {b"PK": zipfile.ZipFile, b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}  # by first bytes
TREES = ("train", "test", "validation")  # the folders of images in the releases of FER-2013
LITTER = ("__macosx", "thumbs.db", "desktop.ini", "@eadir")  # in any case; what begins with a dot is litter, too

MAX_UNPACKED = 2**30  # bytes of all files of an archive; FER-2013's CSV has about 300 million
MAX_MEMBERS = 80_000  # files of an archive; the folder release has 35,887, macOS adds a hidden one to each
MAX_OVERHEAD = 2**24  # bytes of an archive that are not files: names, headers, directory; the release has 4 million
MAX_HEADER = 4_096  # bytes of headers and padding that a tar may spend on each file besides

# What Python's readers raise when an archive is damaged, here or while a member is read.
DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
)


def members(path: Path) -> Iterator[tuple[tuple[str, ...], str, Callable]]:
    """The files in a folder or archive, one at a time; each must be read before the next is asked for.

    Args:
        path: a folder, a zip or a tar, packed or not: the content decides, not the name. Of a folder only the CSVs and
            what lies in one of TREES are looked at, at any depth.

    Returns:
        Iterator of (folders and name, where it is (for errors), what opens it), without LITTER; in the order of the
        container.

    Raises:
        InputError: links, devices, encryption, unsafe names, more or larger files than FER-2013 can have.
        DAMAGED: what the readers of archives raise.
    """
    files = _folder if path.is_dir() else _zip if opener_of(path) is zipfile.ZipFile else _tar
    total = 0
    for count, (name, size, opener) in enumerate(files(path), start=1):
        where = f"{show(path.name)}: {show(name)}"
        total += size
        if count > MAX_MEMBERS or total > MAX_UNPACKED or size < 0:
            raise InputError(f"{where}: too many or too large files ({count:,}, {total:,} bytes); FER-2013 has 35,887")
        name = name.replace("\\", "/")  # the zips of PowerShell
        if name.startswith("/") or "\0" in name or ".." in name.split("/"):
            raise InputError(f"{where}: an unsafe name; names should be like train/happy/Training_1.jpg")
        parts = PurePosixPath(name).parts
        if parts and not any(map(is_litter, parts)):
            yield parts, where, opener


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is left by a system or a program, and is no data."""
    return name.startswith(".") or name.lower() in LITTER


def opener_of(path: Path) -> Callable:
    """What opens the file, by its first bytes: one of OPENERS, or `open` if it is not packed."""
    with open(path, "rb") as file:
        start = file.read(6)
    return next((opener for magic, opener in OPENERS.items() if start.startswith(magic)), open)


def signature(path: Path) -> list:
    """A value that changes when the source does: size and time of the file, or of all files of a folder."""
    states = [(name, entry.stat()) for name, entry in _entries(path)] if path.is_dir() else [("", path.stat())]
    return sorted((name, state.st_size, state.st_mtime_ns) for name, state in states)


def show(text: object) -> str:
    """`text` as one short quoted piece of an error line, whatever characters it holds."""
    shown = repr(text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text))
    return shown if len(shown) <= 120 else f"{shown[:60]}...{shown[-50:]}"


def _folder(root):
    for name, entry in _entries(root):
        if not entry.is_file():
            raise InputError(f"{show(root.name)}: {show(name)} should be a regular file")
        yield name, 0, partial(open, entry.path, "rb")  # nothing to unpack: its size does not count


def _entries(root):
    """(name below root, os.DirEntry) of what may be FER-2013: the CSVs, and all that is in one of TREES."""
    pending, count = [(root, "")], 0
    while pending:
        folder, above = pending.pop()
        for entry in os.scandir(folder):
            name, count = above + entry.name, count + 1
            if count > 2 * MAX_MEMBERS:
                raise InputError(
                    f"{show(root.name)} holds too many files; give the folder that train/ and test/ are in"
                )
            if is_litter(entry.name):
                continue
            if entry.is_dir():
                pending.append((entry.path, f"{name}/"))
            elif name.lower().endswith(".csv") or not set(TREES).isdisjoint(re.split(r"[/\\]", name)[:-1]):
                yield name, entry


def _zip(path):
    with open(path, "rb") as file:
        bounded = _Bounded(file, path)
        with zipfile.ZipFile(bounded) as archive:
            bounded.left = MAX_UNPACKED
            for info in archive.infolist():
                where = f"{show(path.name)}: {show(info.filename)}"
                if info.flag_bits & 1:
                    raise InputError(f"{where} is encrypted; unpack the archive with its password and give the folder")
                method = info.compress_type
                if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise InputError(f"{where} is packed by method {method}; it should be stored or deflated")
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise InputError(f"{where} is a link; it should be a regular file")
                if not info.filename.endswith(("/", "\\")):
                    yield info.filename, info.file_size, partial(archive.open, info)


def _tar(path):
    with opener_of(path)(path, "rb") as file:
        bounded = _Bounded(file, path)
        with tarfile.open(fileobj=bounded, mode="r:") as archive:
            where = show(path.name)
            for info in archive:
                where = f"{show(path.name)}: {show(info.name)}"
                if not info.isreg() and not info.isdir():
                    raise InputError(f"{where} is a link or a device; it should be a regular file")
                if info.isreg():
                    bounded.left += max(info.size, 0) + MAX_HEADER
                    yield info.name, info.size, partial(archive.extractfile, info)
            while block := bounded.read(2**16):  # to the end, so that the checksum of the compression is checked
                if block.strip(b"\0"):
                    raise InputError(
                        f"{where}: the archive is damaged after this file; download it again, or pack it anew"
                    )


class _Bounded:
    """A file that can be read only as far as was granted: the headers of an archive cannot ask for gigabytes."""

    def __init__(self, file, path):
        self.file, self.path, self.left = file, path, MAX_OVERHEAD
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size=-1):
        data = self.file.read(size if 0 <= size <= self.left else self.left + 1)
        self.left -= len(data)
        if self.left < 0:
            raise InputError(
                f"{show(self.path.name)}: more than {MAX_OVERHEAD:,} bytes of headers; this is not FER-2013"
            )
        return data
