"""Loading a source: which one, what it must hold, what is said about it, and the cache."""

import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import time
import types
import zipfile
from pathlib import Path

import fake_fer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ferhelpers import containers, data, faces, notebook, readers
from ferhelpers.errors import InputError

SPLITS = fake_fer.arrays(of_each=3)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FERHELPERS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def csv(tmp_path):
    (tmp_path / "fer2013.csv").write_bytes(fake_fer.csv(SPLITS))
    return tmp_path / "fer2013.csv"


def small(source="auto", **options):
    return data.load(source, allow_subset=True, **options)


def in_memory(provenance=None):
    return data.Dataset(*(data.Split(*arrays) for arrays in SPLITS.values()), provenance)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder without FER-2013, in which the tests run and the package lies."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "__file__", str(tmp_path / "project/ferhelpers/data.py"))
    monkeypatch.setattr(faces, "SIZES", (70, 70, 70))
    monkeypatch.delenv("FER2013", raising=False)
    return tmp_path


# What a dataset is and says


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (np.zeros((7, 64, 64), np.uint8), np.arange(7, dtype=np.uint8), r"images are uint8 \(7, 64, 64\); they should"),
        (np.zeros((7, 48, 48)), np.arange(7, dtype=np.uint8), "images are float64"),
        (np.zeros((6, 48, 48), np.uint8), np.arange(7, dtype=np.uint8), "as many as labels"),
        (np.zeros((7, 48, 48), np.uint8), list(range(7)), "labels are list"),
        (np.zeros((8, 48, 48), np.uint8), np.arange(8, dtype=np.uint8), "a label is 7; they should be 0..6"),
    ],
)
def test_a_split_of_other_images_or_labels_is_refused(images, labels, message):
    with pytest.raises(InputError, match=message):
        data.Split(images, labels)


def test_a_subset_is_taken_only_when_asked_for(csv):
    with pytest.raises(InputError, match=r"csv.*training has 3 images of angry.*3,995.*=true, or allow_subset=True\)$"):
        data.load(csv)
    dataset = small(csv)
    assert dataset.provenance == {
        "source": "fer2013.csv",
        "form": "csv",
        "official": False,
        "fraction": 1.0,
        "splits": "official",
        "note": "A subset of FER-2013.",
        "counts": {split: [3] * 7 for split in data.SPLITS},
        "sha256": dataset.fingerprint,
    }
    assert json.loads(json.dumps(dataset.provenance)) == dataset.provenance
    assert not dataset.drawn
    for name, (images, labels) in SPLITS.items():
        np.testing.assert_array_equal(getattr(dataset, name).images, images)
        np.testing.assert_array_equal(getattr(dataset, name).labels, labels)


def test_a_label_or_a_split_makes_another_fingerprint(csv):
    changed = [small(csv).fingerprint]
    for old, new in ((b"\n0,", b"\n1,"), (b"PublicTest", b"PrivateTest")):
        csv.write_bytes(fake_fer.csv(SPLITS).replace(old, new, 1))
        changed.append(small(csv).fingerprint)
    assert len(set(changed)) == 3


def test_arrays_are_read_only(csv):
    with pytest.raises(ValueError, match="read-only"):
        small(csv).training.images[0] = 0


@settings(max_examples=30, deadline=None)
@given(fraction=st.floats(0.0, 1.0, exclude_min=True), seed=st.integers(0, 100), of_each=st.integers(1, 20))
def test_subset(fraction, seed, of_each):
    labels = np.repeat(np.arange(7, dtype=np.uint8), of_each)
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None] * np.ones((1, 48, 48), np.uint8)
    split = data.Split(images, labels)
    dataset = data.Dataset(split, split, split, {"form": "builtin"})
    part = dataset.subset(fraction, seed)
    if fraction == 1:
        assert part is dataset
        return
    assert part.drawn and not part.provenance["official"] and part.provenance["fraction"] == fraction
    assert "subset" in part.provenance["note"]
    assert part.provenance["counts"]["public"] == [max(1, round(fraction * of_each))] * 7
    rows = part.public.images[:, 0, 0]
    assert np.all(np.diff(rows.astype(int)) > 0)  # in the old order, none twice
    np.testing.assert_array_equal(part.public.labels, labels[rows])
    assert dataset.subset(fraction, seed).fingerprint == part.fingerprint


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan"), "0.5", None, True])
def test_wrong_fraction(fraction):
    with pytest.raises(InputError, match="fraction is .* above 0 and up to 1"):
        in_memory().subset(fraction)


# Every form in which people have FER-2013


FILES, CSV = fake_fer.members(SPLITS), fake_fer.csv(SPLITS)
ANGRY = "train/angry/Training_1000.jpg"
LAYOUTS = {  # what may be around the same images: {member name: content}; a name that ends in "/" is an empty folder
    "wrapped": {f"archive/{name}": content for name, content in FILES.items()},
    "wrapped deeply": {f"./Daten ä/archive (1)/images/{name}": content for name, content in FILES.items()},
    "wrapped in test": {f"test/{name}": content for name, content in FILES.items()},
    "PowerShell": {name.replace("/", "\\"): content for name, content in FILES.items()},
    "PowerShell, wrapped": {f"archive/{name}".replace("/", "\\"): content for name, content in FILES.items()},
    "twice": {f"images/{name}": content for name, content in FILES.items()} | FILES,
    "Jupyter's empty folders": FILES | {"train/.ipynb_checkpoints/": b"", "test/sad/.ipynb_checkpoints/": b""},
    "Jupyter's copies": FILES
    | {"train/angry/.ipynb_checkpoints/Training_1000-checkpoint.jpg": b"x", ".ipynb_checkpoints/a.csv": CSV},
    "macOS": FILES
    | {"__MACOSX/train/angry/._Training_1000.jpg": b"x", "train/__MACOSX/a.jpg": b"x", "train/.DS_Store": b"x"},
    "Windows": FILES | {"train/angry/thumbs.db": b"x", "test/Desktop.ini": b"x", "THUMBS.DB": b"x"},
    "Synology": FILES | {"train/@eaDir/angry/a.jpg": b"x", f"@eaDir/{ANGRY}@SynoEAStream": b"x", "a/@eaDir/": b""},
    "other files": FILES | {"README.md": b"x", "notes/about.csv": b"a,b\n1,2\n", "more/x.jpg": b"x"},
}
WRITERS = {"fer": fake_fer.write_folder, "fer.zip": fake_fer.write_zip, "fer.tar.gz": fake_fer.write_tar}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_images_are_the_same_in_every_layout(tmp_path, layout, name):
    plain = small(fake_fer.write_folder(tmp_path / "plain", FILES))
    dataset = small(WRITERS[name](tmp_path / name, LAYOUTS[layout]))
    assert dataset.fingerprint == plain.fingerprint
    assert dataset.provenance["counts"] == {split: [3] * 7 for split in data.SPLITS}
    assert dataset.provenance["form"] == "folder"


def write_csv(path):
    """A CSV in the form that the ending of `path` names."""
    files = {"fer2013/fer2013.csv": CSV, "fer2013/README": b"about"}
    packed = ".csv" in path.suffixes and path.suffix != ".zip"
    write = fake_fer.write_packed if packed else fake_fer.write_zip if path.suffix == ".zip" else fake_fer.write_tar
    return write(path, CSV if packed else files)


@pytest.mark.parametrize("name", ("fer2013", "icml_face_data", "FER-2013 (1)"))
@pytest.mark.parametrize("ending", readers.ENDINGS)
def test_the_csv_is_the_same_in_every_form_and_auto_finds_it(project, ending, name):
    (project / "data").mkdir()
    path = write_csv(project / "data" / f"{name}{ending}")
    assert small(path).fingerprint == in_memory().fingerprint and small(path).provenance["form"] == "csv"
    auto = small()
    assert auto.fingerprint == in_memory().fingerprint and f"Found as data/{path.name}." in auto.provenance["note"]


@pytest.mark.parametrize(
    "name, content",
    {
        "gzip without its ending.csv": gzip.compress(CSV),
        "Safari unpacked it.csv.gz": CSV,
        "one after the other.csv.gz": gzip.compress(CSV[:9000]) + gzip.compress(CSV[9000:]),
        "UPPER.CSV.XZ": lzma.compress(CSV),
    }.items(),
)
def test_the_content_says_how_a_file_is_packed(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert small(tmp_path / name).fingerprint == in_memory().fingerprint


def test_archives_with_the_wrong_ending_or_another_name_inside(tmp_path):
    tar = fake_fer.write_tar(tmp_path / "a.tar.xz", {"my faces.csv": CSV}).rename(tmp_path / "a.zip")
    capitals = fake_fer.write_tar(tmp_path / "a.tar.gz", {"fer2013.csv": CSV}).rename(tmp_path / "A.TAR.GZ")
    files = {"fer2013.csv": CSV, "icml_face_data.csv": CSV, "test.csv": b"pixels"}
    zipped = fake_fer.write_zip(tmp_path / "b.zip", files).rename(tmp_path / "fer2013.csv")
    for path in (tar, capitals, zipped):
        assert small(path).fingerprint == in_memory().fingerprint


def test_a_folder_among_much_else(tmp_path):
    (tmp_path / "loop").symlink_to("nowhere")
    (tmp_path / "big.iso").touch()
    os.truncate(tmp_path / "big.iso", 2**40)
    os.mkfifo(tmp_path / "pipe")
    fake_fer.write_folder(tmp_path / "a/b", FILES)
    (tmp_path / "a/b/train").rename(tmp_path / "elsewhere")
    (tmp_path / "a/b/train").symlink_to(tmp_path / "elsewhere")
    plain = small(fake_fer.write_folder(tmp_path / ".plain", FILES))
    assert small(tmp_path).fingerprint == plain.fingerprint


# Releases with other splits


def test_folders_as_they_are(tmp_path):
    """Training is train/; of the others, by file name, the first, third, ... are public, the rest private."""
    path = fake_fer.write_zip(tmp_path / "faces.zip", fake_fer.reparted(SPLITS))
    dataset = small(path, splits="folders")
    pixels = [np.asarray(Image.open(io.BytesIO(content))) for content in fake_fer.reparted(SPLITS).values()]
    for split, rows in (("training", pixels[:21]), ("public", pixels[21::2]), ("private", pixels[22::2])):
        np.testing.assert_array_equal(getattr(dataset, split).images, rows)
    labels = np.concatenate([SPLITS["public"][1], SPLITS["private"][1]])
    np.testing.assert_array_equal(dataset.public.labels, labels[::2])
    np.testing.assert_array_equal(dataset.private.labels, labels[1::2])
    assert dataset.provenance["splits"] == "folders" and not dataset.provenance["official"]
    assert dataset.provenance["note"] == f"{data.OTHER_SPLITS} A subset of FER-2013."
    assert "NOT FER-2013'S OFFICIAL SPLITS" in notebook.banner(dataset)
    with pytest.raises(InputError, match="lacks PublicTest and PrivateTest"):  # not out of the cache
        small(path)


def test_the_official_files_in_two_folders_have_another_fingerprint(tmp_path):
    path = fake_fer.write_folder(tmp_path / "fer", FILES)
    fingerprints = [small(path, splits=splits).fingerprint for splits in ("official", "folders", "official", "folders")]
    assert fingerprints[:2] == fingerprints[2:] and fingerprints[0] != fingerprints[1]


def test_folders_hold_the_whole_or_a_subset_that_was_asked_for(tmp_path, monkeypatch):
    path = fake_fer.write_folder(tmp_path / "fer", fake_fer.reparted(SPLITS))
    with pytest.raises(InputError, match=r"the whole has 9 images of angry; FER-2013 has 4,953 .*SUBSET=true"):
        data.load(path, splits="folders")
    official = {"training": [3] * 7, "public": [2] * 7, "private": [4] * 7}
    monkeypatch.setattr(readers, "OFFICIAL_COUNTS", official)
    monkeypatch.setattr(readers, "MAX_IMAGES", 63)
    assert data.load(path, splits="folders").provenance["note"] == data.OTHER_SPLITS
    with pytest.raises(InputError, match="--set SPLITS=folders, or splits='folders'$"):
        data.load(path)
    monkeypatch.setitem(official, "private", [3] * 7)
    with pytest.raises(InputError, match="the whole has 9 images of angry; FER-2013 has 8$"):
        small(path, splits="folders")
    with pytest.raises(InputError, match=r"lacks PublicTest and PrivateTest; FER-2013 itself is [^;]*$"):
        data.load(path)


@pytest.mark.parametrize("splits", ["folder", "", None, ["folders"]])
def test_wrong_splits(csv, splits):
    with pytest.raises(InputError, match="SPLITS is .*; it should be official or folders"):
        small(csv, splits=splits)


# Advice that works: each message, and what it says to do


def test_no_advice_on_subsets_where_none_would_help(csv):
    lines = CSV.splitlines(keepends=True)
    for rows, wrong in (
        (
            [line for line in lines if not (line.startswith(b"1,") and b"PrivateTest" in line)],
            "private has 0 images of disgust; there should be at least 1",
        ),
        (lines + [lines[-6]] * 55, "private has 58 images of disgust; FER-2013 has 55$"),
    ):
        csv.write_bytes(b"".join(rows))
        for load in (data.load, small):
            with pytest.raises(InputError, match=wrong):
                load(csv)


def test_advice_on_other_splits(tmp_path, csv):
    path = fake_fer.write_folder(tmp_path / "faces", fake_fer.reparted(SPLITS))
    with pytest.raises(InputError, match="SPLITS=folders --set SUBSET=true, or splits='folders', allow_subset=True$"):
        data.load(path)
    assert len(data.load(path, splits="folders", allow_subset=True).public) == 21
    with pytest.raises(InputError, match="leave SPLITS at official"):
        small(csv, splits="folders")
    assert len(small(csv, splits="official").public) == 21
    without = {name: content for name, content in fake_fer.reparted(SPLITS).items() if "validation/disgust" not in name}
    with pytest.raises(InputError, match="lacks PublicTest") as caught:  # folders would be refused, too
        data.load(fake_fer.write_zip(tmp_path / "faces.zip", without))
    assert "SPLITS" not in str(caught.value)


def test_advice_on_damaged_and_unreadable_archives(tmp_path, monkeypatch):
    whole = fake_fer.write_tar(tmp_path / "fer.tar.gz", FILES)
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(whole.read_bytes()[:-100])
    advice = "is damaged, .*download it again; if it is whole, unpack it and give what is in it"
    with pytest.raises(InputError, match=advice):
        small(cut)

    def unreadable(*arguments):
        raise PermissionError(13, "Permission denied", str(whole))

    monkeypatch.setattr(containers, "opener_of", unreadable)  # the file is whole: a download would change nothing
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\); check the path and its permissions"):
        small(whole, cache=False)


# A data set of one's own


OWN = [None, {}, {"license": "CC"}, {"source": "my faces"}, {"source": Path("x"), "note": None, "fraction": "half"}]
OWN += [{"official": None, "form": 3, "counts": 5, "sha256": b""}, {("a", 1): {2}, "array": np.arange(3)}]


@pytest.mark.parametrize("provenance", OWN)
def test_any_provenance_will_do(provenance):
    dataset = in_memory(provenance=provenance)
    assert json.loads(json.dumps(dataset.provenance)) == dataset.provenance
    assert dataset.provenance["counts"]["private"] == [3] * 7 and dataset.provenance["sha256"] == dataset.fingerprint
    assert not dataset.drawn and not dataset.provenance["official"]
    source = (provenance or {}).get("source")
    name = str(source) if source else "own images"
    assert notebook.banner(dataset) == f"{name}, not FER-2013: 21 training, 21 public and 21 private test images"
    part = dataset.subset(0.34)
    assert part.provenance["counts"]["public"] == [1] * 7 and part.provenance["fraction"] == 0.34
    assert part.provenance["note"] == "A subset: 0.34 of each class (seed 0)."
    assert notebook.banner(part).startswith(f"{name} (0.34 of it), not FER-2013: 7 training")
    assert part.provenance.get("license") == (provenance or {}).get("license")


# Which source


def test_builtin_faces(monkeypatch):
    monkeypatch.setattr(faces, "SIZES", (210, 70, 60))
    dataset = data.load("builtin")
    assert dataset.drawn and dataset.provenance["source"] == "builtin"
    assert tuple(len(getattr(dataset, name)) for name in data.SPLITS) == (210, 70, 60)
    assert not np.array_equal(dataset.public.images[:60], dataset.private.images)
    assert dataset.fingerprint == data.load("builtin").fingerprint
    assert "Drawn" in dataset.provenance["note"]


def test_auto(project, csv, monkeypatch):
    fake_fer.write_folder(project / "project/data/fer2013", FILES)
    assert small().provenance["form"] == "folder"
    assert small().provenance["note"].startswith("Found as the project's data/fer2013.")
    fake_fer.write_folder(project / "data", FILES)
    assert "Found in data/." in small().provenance["note"]
    monkeypatch.chdir(project / "project")
    assert "Found as data/fer2013." in small().provenance["note"]
    monkeypatch.chdir(project / "project/data")
    assert "Found as ../data/fer2013." in small().provenance["note"]
    monkeypatch.chdir(project)
    fake_fer.write_zip(project / "data/archive.zip", FILES)
    assert "Found as data/archive.zip." in small().provenance["note"]
    monkeypatch.setenv("FER2013", str(csv))
    dataset = small()
    assert dataset.provenance["source"] == "fer2013.csv" and "$FER2013" in dataset.provenance["note"]
    monkeypatch.setenv("FER2013", str(project / "gone.zip"))
    with pytest.raises(InputError, match=r"nothing at .*gone\.zip.*\$FER2013"):
        small()


AUTO = {  # what lies in data/: (the files, what the note says first, what it says of the rest)
    "nothing": ({}, "Neither $FER2013 nor the folder data/ holds FER-2013.", None),
    "other things": (
        {"fer2013new.csv": b"x", "faces/a.jpg": b"x", ".gitkeep": b"", "Thumbs.db": b""},
        "Neither $FER2013 nor the folder data/ holds FER-2013.",
        "'faces', 'fer2013new.csv'",
    ),
    "images and a text": (FILES | {"notes.txt": b"x"}, "Found in data/.", "'notes.txt'"),
    "a folder": ({f"archive/train/{name}": content for name, content in FILES.items()}, "Found as data/archive.", None),
    "a folder beside train alone": (
        {f"FER_2013/{name}": content for name, content in FILES.items()} | {"train/x": b""},
        "Found as data/FER_2013.",
        "'train'",
    ),
    "the CSV first": (FILES | {"FER2013.CSV": CSV, "archive.zip": b"x"}, "Found as data/FER2013.CSV.", None),
    "a file without an ending": ({"fer2013": b"x"}, "Neither $FER2013", "'fer2013'"),
    "much": (
        {f"{letter}.txt": b"" for letter in "abcdefg"},
        "Neither $FER2013",
        "'a.txt', 'b.txt', 'c.txt', 'd.txt', 'e.txt', ...",
    ),
}


@pytest.mark.parametrize("case", AUTO)
def test_auto_says_what_it_took_and_what_it_does_not_know(project, case):
    files, note, unknown = AUTO[case]
    fake_fer.write_folder(project / "data", files)
    dataset = small()
    assert dataset.provenance["note"].startswith(note)
    assert ("Not known in data/" in dataset.provenance["note"]) == bool(unknown)
    assert not unknown or f" Not known in data/: {unknown}." in dataset.provenance["note"]
    assert dataset.drawn == note.startswith("Neither")
    if not dataset.drawn:
        plain = small(fake_fer.write_folder(project / "plain", FILES))
        assert dataset.fingerprint == (in_memory() if "CSV" in case else plain).fingerprint


def test_auto_refuses_other_splits_and_takes_them_when_asked(project):
    fake_fer.write_folder(project / "data", fake_fer.reparted(SPLITS))
    with pytest.raises(InputError, match="SPLITS=folders"):
        small()
    assert small(splits="folders").provenance["note"].startswith(f"Found in data/. {data.OTHER_SPLITS}")


@pytest.mark.parametrize(
    "source", ["", None, 3, "no/such/file.csv", "~nobody/x.csv", "a\0b.csv", "a" * 5000, "x\n.zip"]
)
def test_wrong_source(source):
    with pytest.raises(InputError) as caught:
        data.load(source)
    assert str(caught.value).isprintable()


def test_awkward_paths(csv, tmp_path, monkeypatch):
    awkward = tmp_path / os.fsdecode(b"\xff \xc3\xa4\n.csv")
    awkward.write_bytes(csv.read_bytes())
    assert small(awkward).provenance["source"] == "\ufffd \xe4\n.csv"
    monkeypatch.chdir(tmp_path)
    assert small(".").provenance["source"] == tmp_path.name
    with pytest.raises(InputError, match="neither a regular file nor a folder"):
        small("/dev/null")


def test_kaggle(tmp_path, monkeypatch):
    folder = fake_fer.write_folder(tmp_path / "versions/1", fake_fer.members(SPLITS))
    hub = types.SimpleNamespace(dataset_download=lambda handle: str(folder))
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    dataset = small("kaggle")
    assert dataset.provenance["source"] == "kaggle msambare/fer2013" and dataset.provenance["form"] == "folder"

    def offline(handle):
        raise ConnectionError("HTTPSConnectionPool: Max retries exceeded\nwith url " + "x" * 500)

    hub.dataset_download = offline
    with pytest.raises(InputError, match="download failed .*Max retries.*path of the zip") as caught:
        small("kaggle")
    assert str(caught.value).isprintable()
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(InputError, match="pip install kagglehub"):
        small("kaggle")


# The cache


@pytest.fixture
def reads(monkeypatch):
    """The paths that were decoded, one entry a time."""
    paths, read = [], readers.read
    monkeypatch.setattr(readers, "read", lambda path, splits: paths.append(path) or read(path, splits))
    return paths


def test_the_cache_decodes_once_and_notices_a_change(csv, reads, own_cache):
    first = small(csv)
    assert small(csv).provenance == first.provenance
    assert len(reads) == 1
    assert len(list(own_cache.iterdir())) == 1
    content = csv.read_bytes()
    csv.write_bytes(content[: content.rfind(b"\n", 0, -1) + 1])
    assert len(small(csv).private) == 20 and len(reads) == 2
    csv.write_bytes(content)
    os.utime(csv, (1, 1))
    assert small(csv).fingerprint == first.fingerprint and len(reads) == 3
    small(csv, cache=False)
    assert len(reads) == 4


def test_the_cache_notices_each_file_of_a_folder(tmp_path, reads):
    folder = fake_fer.write_folder(tmp_path / "fer", fake_fer.members(SPLITS))
    small(folder)
    small(folder)
    assert len(reads) == 1
    os.utime(folder / "test/sad/PrivateTest_1004.jpg", (1, 1))
    small(folder)
    assert len(reads) == 2
    (folder / "test/sad/PrivateTest_1004.jpg").rename(folder / "test/sad/PrivateTest_2.jpg")
    small(folder)
    assert len(reads) == 3


@settings(max_examples=40, deadline=None)
@given(st.integers(0), st.binary(max_size=6), st.booleans())
def test_a_damaged_cache_is_never_believed(tmp_path_factory, position, scribble, cut):
    folder = tmp_path_factory.mktemp("cache")
    source = folder / "a.csv"
    source.write_bytes(fake_fer.csv(fake_fer.arrays()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FERHELPERS_CACHE", str(folder / "cache"))
        expected = small(source)
        [path] = (folder / "cache").iterdir()
        content = bytearray(path.read_bytes())
        position %= len(content)
        content[position : None if cut else position + len(scribble)] = scribble
        path.write_bytes(content)
        assert small(source).provenance == expected.provenance


def test_without_a_place_for_the_cache(csv, own_cache, monkeypatch):
    own_cache.write_text("a file where the folder should be")
    assert len(small(csv).training) == 21
    monkeypatch.setattr(os, "fsync", lambda descriptor: os.fstat(-1))  # an OSError
    monkeypatch.setenv("FERHELPERS_CACHE", str(own_cache) + "2")
    assert len(small(csv).training) == 21


# The real FER-2013


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    source = os.environ.get("FER2013")
    if not source:
        pytest.skip("$FER2013 names no FER-2013")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FERHELPERS_CACHE", str(tmp_path_factory.mktemp("cache")))
        first = data.load(source)
        start = time.process_time()
        again = data.load(source)
        assert time.process_time() - start < 0.8, "the cache should open in well under a second"
        assert again.provenance == first.provenance
    return first


@pytest.mark.slow
def test_real_fer2013(real):
    assert real.provenance["official"] and not real.drawn
    assert real.provenance["counts"] == data.OFFICIAL_COUNTS
    assert [len(real.training), len(real.public), len(real.private)] == [28709, 3589, 3589]
    for split in (real.training, real.public, real.private):
        assert 100 < split.images.mean() < 160 and split.images.min() == 0 and split.images.max() == 255
    for section in np.array_split(real.public.labels, 5):  # the order mixes the classes, as the report's sections need
        assert np.bincount(section, minlength=7).min() > 0


@pytest.mark.slow
def test_real_archives_beside_it_are_equal(real):
    source = Path(os.environ["FER2013"])
    others = [
        path for path in source.parent.glob("fer2013.*") if path != source and path.name.endswith(readers.ENDINGS)
    ]
    if real.provenance["form"] != "folder" or not others:
        pytest.skip("no second archive of the folder release beside $FER2013")
    for other in others:
        assert data.load(other, cache=False).fingerprint == real.fingerprint


@pytest.mark.slow
def test_the_real_images_parted_otherwise(real, tmp_path):
    """28,821 and 7,066 images under numbers, as a popular copy has them: refused by name, or taken as asked for."""
    source = Path(os.environ["FER2013"])
    if source.suffix != ".zip":
        pytest.skip("$FER2013 is no zip of the folder release")
    with zipfile.ZipFile(source) as official, zipfile.ZipFile(tmp_path / "faces.zip", "w") as copy:
        names = sorted(name for name in official.namelist() if name.endswith(".jpg"))
        for number, name in enumerate(np.random.default_rng(0).permutation(names)):
            tree = "train" if number < 28_821 else "validation"
            copy.writestr(f"images/{tree}/{name.split('/')[-2]}/{number}.jpg", official.read(str(name)))
    sizes = "28,821 images in train/ and 7,066 images in validation/"
    refusal = f"{sizes}, lacks PublicTest .*SPLITS=folders, or splits='folders'$"
    with pytest.raises(InputError, match=refusal):
        data.load(tmp_path / "faces.zip", cache=False)
    dataset = data.load(tmp_path / "faces.zip", splits="folders", cache=False)
    assert [len(getattr(dataset, split)) for split in data.SPLITS] == [28_821, 3_533, 3_533]
    assert dataset.provenance["note"] == data.OTHER_SPLITS and not dataset.provenance["official"]
    assert dataset.fingerprint != real.fingerprint
    totals = [sum(of) for of in zip(*dataset.provenance["counts"].values())]
    assert totals == [sum(of) for of in zip(*data.OFFICIAL_COUNTS.values())]


MEASURE = """
import sys, time
from ferhelpers import data
seconds = []
for attempt in range(2):
    start = time.process_time()
    dataset = data.load(sys.argv[1], cache=False)
    seconds.append(time.process_time() - start)
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")][0].split()[1]
print(dataset.fingerprint, min(seconds), int(peak) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of its memory from /proc")
def test_the_whole_csv_loads_in_5_seconds_and_1_5_gib(real, tmp_path):
    """Processor seconds, the better of two, so that a busy machine matters little; the reader has one thread."""
    splits = {name: (getattr(real, name).images, getattr(real, name).labels) for name in data.SPLITS}
    csv = tmp_path / "fer2013.csv"
    with open(csv, "w") as file:
        file.writelines(line + "\n" for line in fake_fer.csv_lines(splits))
    measured = subprocess.run([sys.executable, "-c", MEASURE, csv], capture_output=True, text=True, check=True)
    fingerprint, seconds, peak = measured.stdout.split()
    csv.unlink()
    assert fingerprint == real.fingerprint
    assert float(seconds) < 5
    assert float(peak) < 1.5
    print(f"{seconds} s, {peak} GiB")
