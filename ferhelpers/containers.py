"""What a folder, a zip or a tar holds, file by file, without unpacking anything to disk.

What an archive declares is checked before it is read, against the limits below, so that a hostile one costs neither
memory nor disk: only its compressed size on disk is taken as given.
"""

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from ferhelpers.errors import InputError

TAR_OPENERS = {".tar": open, ".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
CSV_NAMES = ("fer2013.csv", "icml_face_data.csv")
LITTER = ("Thumbs.db", "desktop.ini")  # Windows leaves them; what macOS leaves is in __MACOSX/ or begins with a dot

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


@dataclass(frozen=True)
class Member:
    """One file: its parts (folders and name), its size in bytes, where it is (for errors), and how to open it."""

    parts: tuple[str, ...]
    size: int
    where: str
    open: Callable


def members(path):
    """The files in a folder or archive, one at a time; each must be read before the next is asked for.

    Args:
        path: Path of a folder, .zip, .tar, .tar.gz, .tgz, .tar.bz2 or .tar.xz. Of a folder only train/, test/ and the
            CSVs of FER-2013 are looked at.

    Returns:
        Iterator of Member, without the hidden files that Windows and macOS leave; in the order of the container.

    Raises:
        InputError: links, devices, encryption, unsafe names, more or larger files than FER-2013 can have; names the member.
        DAMAGED: what the readers of archives raise.
    """
    files = _folder if path.is_dir() else _zip if path.suffix.lower() == ".zip" else _tar
    total = 0
    for count, (name, size, opener) in enumerate(files(path), start=1):
        where = f"{show(path.name)}: {show(name)}"
        total += size
        if count > MAX_MEMBERS or total > MAX_UNPACKED or size < 0:
            raise InputError(f"{where}: too many or too large files ({count:,}, {total:,} bytes); FER-2013 has 35,887")
        if name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/"):
            raise InputError(f"{where}: an unsafe name; names should be like train/happy/Training_1.jpg")
        parts = PurePosixPath(name).parts
        if parts and parts[0] != "__MACOSX" and not parts[-1].startswith(".") and parts[-1] not in LITTER:
            yield Member(parts, size, where, opener)


def signature(path):
    """A value that changes when the source does: size and time of the file, or of all files of a folder."""
    states = [(name, entry.stat()) for name, entry in _entries(path)] if path.is_dir() else [("", path.stat())]
    return sorted((name, state.st_size, state.st_mtime_ns) for name, state in states)


def show(text):
    """`text` as one short quoted piece of an error line, whatever characters it holds."""
    shown = repr(text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text))
    return shown if len(shown) <= 120 else f"{shown[:60]}...{shown[-50:]}"


def _folder(root):
    for name, entry in _entries(root):
        if not entry.is_file():
            raise InputError(f"{show(root.name)}: {show(name)} should be a regular file")
        yield name, entry.stat().st_size, partial(open, entry.path, "rb")


def _entries(root):
    """(name below root, os.DirEntry) of what may be FER-2013: the CSVs, and all that is in train/ and test/."""
    for top in os.scandir(root):
        if top.name in CSV_NAMES:
            yield top.name, top
        if top.name in ("train", "test") and top.is_dir():
            for group in os.scandir(top):
                for leaf in os.scandir(group) if group.is_dir() else [None]:
                    yield f"{top.name}/{group.name}" + (f"/{leaf.name}" if leaf else ""), leaf or group


def _zip(path):
    with open(path, "rb") as file:
        bounded = _Bounded(file, path)
        with zipfile.ZipFile(bounded) as archive:
            bounded.left = MAX_UNPACKED
            for info in archive.infolist():
                where = f"{show(path.name)}: {show(info.filename)}"
                if info.flag_bits & 1:
                    raise InputError(f"{where} is encrypted; unpack the archive with its password and give the folder")
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise InputError(
                        f"{where} is packed by method {info.compress_type}; it should be stored or deflated"
                    )
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise InputError(f"{where} is a link; it should be a regular file")
                if not info.filename.endswith("/"):
                    yield info.filename, info.file_size, lambda: archive.open(info)


def _tar(path):
    with TAR_OPENERS[path.suffix.lower()](path, "rb") as file:
        bounded = _Bounded(file, path)
        with tarfile.open(fileobj=bounded, mode="r:") as archive:
            where = show(path.name)
            for info in archive:
                where = f"{show(path.name)}: {show(info.name)}"
                if not info.isreg() and not info.isdir():
                    raise InputError(f"{where} is a link or a device; it should be a regular file")
                if info.isreg():
                    bounded.left += max(info.size, 0) + MAX_HEADER
                    yield info.name, info.size, lambda: archive.extractfile(info)
            while block := bounded.read(2**16):  # to the end, so that the checksum of the compression is checked
                if block.strip(b"\0"):
                    raise InputError(f"{where}: the archive is damaged after this file; download it again")


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
