"""Every form of FER-2013 reads to the same images, and whatever is wrong with one is named in one line."""

import gzip
import io
import os
import random
import re
import tarfile
import zipfile

import fake_fer
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from ferhelpers import containers, readers
from ferhelpers.errors import InputError

SPLITS = fake_fer.arrays()
CSV = fake_fer.csv(SPLITS)
FILES = fake_fer.members(SPLITS)
FIRST = "train/angry/Training_1000.jpg"


def assert_equal(actual, expected):
    for split, (images, labels) in expected.items():
        np.testing.assert_array_equal(actual[split][0], images)
        np.testing.assert_array_equal(actual[split][1], labels)


def write(path, content):
    path.write_bytes(content)
    return path


def refused(path, *parts):
    """The reader refuses the source in one printable line that holds each of `parts`."""
    with pytest.raises(InputError) as caught:
        readers.read(path)
    line = str(caught.value)
    assert line.isprintable() and len(line) < 500, line
    for part in (path.name, *parts):
        assert str(part) in line, line


# What is right


@pytest.mark.parametrize(
    "content",
    [
        CSV,
        fake_fer.csv(SPLITS, ("emotion", " Usage", " pixels")),  # icml_face_data.csv
        fake_fer.csv(SPLITS, newline="\r\n"),
        b"\xef\xbb\xbf" + CSV,
        re.sub(rb"([^,\n]+)", rb'"\1"', CSV).rstrip(),  # every value quoted, no last newline
    ],
)
def test_csv_layouts(tmp_path, content):
    splits, form = readers.read(write(tmp_path / "a.csv", content))
    assert form == "csv"
    assert_equal(splits, SPLITS)


@settings(max_examples=20, deadline=None)
@given(of_each=st.integers(1, 12), seed=st.integers(0, 2**32), top=st.sampled_from([0, 9, 10, 99, 100, 255]))
def test_csv_round_trip(tmp_path_factory, of_each, seed, top):
    splits = fake_fer.arrays(of_each, seed)
    expected = {split: (np.minimum(images, top), labels) for split, (images, labels) in splits.items()}
    path = write(tmp_path_factory.mktemp("csv") / "a.csv", fake_fer.csv(expected))
    assert_equal(readers.read(path)[0], expected)


@pytest.mark.parametrize("seed", range(3))
def test_csv_with_its_splits_mixed(tmp_path, seed):
    header, *lines = CSV.splitlines(keepends=True)
    images, labels = map(np.concatenate, zip(*SPLITS.values()))
    order = random.Random(seed).sample(range(21), 21)
    expected = {split: [row for row in order if row // 7 == k] for k, split in enumerate(SPLITS)}
    splits, _ = readers.read(write(tmp_path / "a.csv", header + b"".join(lines[row] for row in order)))
    assert_equal(splits, {split: (images[rows], labels[rows]) for split, rows in expected.items()})


def test_folder_zip_and_tar_are_equal(tmp_path):
    """The images are in the order of their file names, whatever the order in an archive."""
    splits = fake_fer.arrays(of_each=2)
    files = fake_fer.members(splits)
    pixels = np.array([np.asarray(Image.open(io.BytesIO(content))) for content in files.values()])
    expected = {split: (pixels[14 * k :][:14], labels) for k, (split, (_, labels)) in enumerate(splits.items())}
    shuffled = dict(random.Random(0).sample(list(files.items()), len(files)))
    sources = [fake_fer.write_folder(tmp_path / "f", files), fake_fer.write_zip(tmp_path / "fer.zip", shuffled)]
    for source in sources + [fake_fer.write_tar(tmp_path / name, shuffled) for name in fake_fer.TAR_MODES]:
        splits, form = readers.read(source)
        assert form == "folder"
        assert_equal(splits, expected)


# What is wrong. test_bad_input.py has the tables of bad files; here is what chance and what needs a closer look.


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 22), st.integers(0, 2303), st.binary(max_size=6).filter(lambda value: b"\n" not in value))
@example(2, 0, b"")
@example(22, 2303, b"1 1")
@example(22, 2303, b"1,")
def test_a_wrong_value_is_named_by_its_line(tmp_path_factory, number, position, value):
    def changed(emotion, text, usage):
        values = text.split(b" ")
        values[position] = value
        return emotion, b" ".join(values), usage

    path = write(tmp_path_factory.mktemp("csv") / "a.csv", fake_fer.change_line(CSV, number, changed))
    stripped = value.strip(b' \t\r\n"') if position in (0, 2303) else value
    if stripped.isdigit() and len(stripped) < 4 and int(stripped) < 256:
        readers.read(path)
    else:
        refused(path, f"line {number}")


def test_one_row_more_than_fer_2013(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MAX_IMAGES", 20)
    refused(write(tmp_path / "a.csv", CSV), "line 22", "more rows than the 20")


def test_links_and_devices_in_archives(tmp_path):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        with tarfile.open(tmp_path / "fer.tar", "w") as archive:
            link = tarfile.TarInfo(FIRST)
            link.type, link.linkname = kind, "/etc/passwd"
            archive.addfile(link)
        refused(tmp_path / "fer.tar", FIRST, "link or a device")
    link = zipfile.ZipInfo(FIRST)
    link.external_attr = 0o120777 << 16
    fake_fer.write_zip(tmp_path / "fer.zip", {link: b"/etc/passwd"})
    refused(tmp_path / "fer.zip", FIRST, "is a link")


def test_what_is_no_regular_file(tmp_path):
    folder = fake_fer.write_folder(tmp_path / "fer", FILES)
    os.mkfifo(folder / "train/angry/Training_2.jpg")
    refused(folder, "Training_2.jpg", "regular file")
    os.mkfifo(tmp_path / "fer.csv")
    refused(tmp_path / "fer.csv", "regular file")


def test_a_damaged_byte_is_noticed(tmp_path):
    for name in ("fer.zip", "fer.tar.gz", "fer.tar.bz2", "fer.tar.xz"):
        path = (fake_fer.write_zip if name == "fer.zip" else fake_fer.write_tar)(tmp_path / name, FILES)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0x10
        refused(write(path, content))


def test_damaged_header_inside_a_tar(tmp_path):
    path = fake_fer.write_tar(tmp_path / "fer.tar", FILES)
    content = bytearray(path.read_bytes())
    content[content.find(b"train/happy") + 148] ^= 0x01  # the checksum of its header
    refused(write(path, content), "damaged after this file")


# Bombs: small files that ask for much. Each would take a gigabyte or minutes if it were believed.


def test_zip_bombs(tmp_path):
    path = fake_fer.write_zip(tmp_path / "fer.zip", {FIRST: bytes(10**7)})
    refused(path, FIRST, "not a JPEG")
    refused(fake_fer.patch_zip(path, 24, "<L", 5_000), "fer.zip")  # declares 5,000 bytes
    path = fake_fer.write_zip(path, {"README": b""})
    refused(fake_fer.patch_zip(path, 24, "<L", 2**31), "README", "too large")
    refused(fake_fer.write_zip(path, {"fer2013.csv": CSV + bytes(10**7)}), "line 23", "16,384")


def test_tar_bombs(tmp_path):
    huge = tarfile.TarInfo("x")
    huge.size = 10 * 2**30
    for kind, part in (
        (tarfile.XHDTYPE, "headers"),
        (tarfile.XGLTYPE, "headers"),
        (tarfile.GNUTYPE_LONGNAME, "headers"),
        (tarfile.REGTYPE, "too large"),
    ):
        huge.type = kind
        with gzip.open(tmp_path / "fer.tar.gz", "wb", 1) as file:
            file.write(huge.tobuf(tarfile.GNU_FORMAT) + bytes(2**25))
        refused(tmp_path / "fer.tar.gz", part)


def test_crowds_of_members(tmp_path, monkeypatch):
    folders = tarfile.TarInfo("train")
    folders.type = tarfile.DIRTYPE
    with gzip.open(tmp_path / "fer.tar.gz", "wb", 1) as file:
        file.write(folders.tobuf() * 40_000)
    refused(tmp_path / "fer.tar.gz", "headers")
    monkeypatch.setattr(containers, "MAX_MEMBERS", 20)
    refused(fake_fer.write_zip(tmp_path / "fer.zip", FILES), "too many")


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["fer.zip", "fer.tar", "fer.tar.gz"]),
    st.lists(st.tuples(st.integers(0), st.binary(max_size=8)), min_size=1, max_size=4),
)
def test_a_scribbled_archive_is_read_or_refused(tmp_path_factory, name, scribbles):
    write_archive = fake_fer.write_zip if name == "fer.zip" else fake_fer.write_tar
    path = write_archive(tmp_path_factory.getbasetemp() / name, FILES)
    content = bytearray(path.read_bytes())
    for position, scribble in scribbles:
        position %= len(content)
        content[position : position + len(scribble)] = scribble
    write(path, content)
    try:
        readers.read(path)
    except InputError as error:
        assert str(error).isprintable()
