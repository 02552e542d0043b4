"""Loading a source: which one, what it must hold, what is said about it, and the cache."""

import json
import os
import subprocess
import sys
import time
import types
from pathlib import Path

import fake_fer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferhelpers import data, faces, readers
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


# What a dataset is and says


def test_a_subset_is_taken_only_when_asked_for(csv):
    with pytest.raises(InputError, match=r"fer2013\.csv.*training has 3 images of angry.*3,995.*allow_subset"):
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


def test_a_subset_needs_each_class_in_each_split_and_no_more_than_official(csv):
    lines = fake_fer.csv(SPLITS).splitlines(keepends=True)
    csv.write_bytes(b"".join(line for line in lines if not (line.startswith(b"1,") and b"PrivateTest" in line)))
    with pytest.raises(InputError, match="private has 0 images of disgust; there should be at least 1"):
        small(csv)
    csv.write_bytes(b"".join(lines + [lines[-6]] * 55))
    with pytest.raises(InputError, match="private has 58 images of disgust; FER-2013 has no more than 55"):
        small(csv)


def test_empty_class_folders(tmp_path):
    folder = fake_fer.write_folder(tmp_path / "fer", fake_fer.members(SPLITS))
    for file in (folder / "train/disgust").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="fer.*training has 0 images of disgust"):
        small(folder)


def test_fingerprint_depends_on_content_alone(tmp_path, csv):
    files = fake_fer.members(SPLITS)
    fingerprints = {
        small(fake_fer.write_zip(tmp_path / "fer.zip", files)).fingerprint,
        small(fake_fer.write_tar(tmp_path / "fer.tar.xz", files)).fingerprint,
        small(fake_fer.write_folder(tmp_path / "fer", files)).fingerprint,
    }
    assert len(fingerprints) == 1
    changed = [small(csv).fingerprint, *fingerprints]
    for old, new in ((b"\n0,", b"\n1,"), (b"PublicTest", b"PrivateTest")):
        csv.write_bytes(fake_fer.csv(SPLITS).replace(old, new, 1))
        changed.append(small(csv).fingerprint)
    assert len(set(changed)) == 4


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
    split = data.Split(*SPLITS["training"])
    with pytest.raises(InputError, match="fraction is .* above 0 and up to 1"):
        data.Dataset(split, split, split, {}).subset(fraction)


# Which source


def test_builtin_faces(monkeypatch):
    monkeypatch.setattr(faces, "SIZES", (210, 70, 60))
    dataset = data.load("builtin")
    assert dataset.drawn and dataset.provenance["source"] == "builtin"
    assert tuple(len(getattr(dataset, name)) for name in data.SPLITS) == (210, 70, 60)
    assert not np.array_equal(dataset.public.images[:60], dataset.private.images)
    assert dataset.fingerprint == data.load("builtin").fingerprint
    assert "Drawn" in dataset.provenance["note"]


def test_auto(tmp_path, csv, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "__file__", str(tmp_path / "project/ferhelpers/data.py"))
    monkeypatch.setattr(faces, "SIZES", (70, 70, 70))
    monkeypatch.delenv("FER2013", raising=False)
    dataset = small()
    assert dataset.drawn and "Neither $FER2013 nor the folder data/" in dataset.provenance["note"]
    fake_fer.write_folder(tmp_path / "project/data/fer2013", fake_fer.members(SPLITS))
    assert small().provenance["form"] == "folder"
    fake_fer.write_folder(tmp_path / "data", fake_fer.members(SPLITS))
    assert "Found in data/." in small().provenance["note"]
    fake_fer.write_zip(tmp_path / "data/archive.zip", fake_fer.members(SPLITS))
    assert "Found as data/archive.zip." in small().provenance["note"]
    monkeypatch.setenv("FER2013", str(csv))
    dataset = small()
    assert dataset.provenance["source"] == "fer2013.csv" and "$FER2013" in dataset.provenance["note"]
    monkeypatch.setenv("FER2013", str(tmp_path / "gone.zip"))
    with pytest.raises(InputError, match=r"nothing at .*gone\.zip.*\$FER2013"):
        small()


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


def test_unreadable_source(csv, monkeypatch):
    def denied(path, splits):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(readers, "read", denied)
    with pytest.raises(InputError, match=r"fer2013\.csv' cannot be read \(Permission denied\)"):
        small(csv)


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
    assert small(csv).provenance == first.provenance and small(csv).fingerprint == first.fingerprint
    assert len(reads) == 1
    assert sorted(path.suffix for path in own_cache.iterdir()) == [".json", ".npy"]
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
@given(st.sampled_from([".npy", ".json"]), st.integers(0), st.binary(max_size=6), st.booleans())
def test_a_damaged_cache_is_never_believed(tmp_path_factory, suffix, position, scribble, cut):
    folder = tmp_path_factory.mktemp("cache")
    source = folder / "a.csv"
    source.write_bytes(fake_fer.csv(fake_fer.arrays()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FERHELPERS_CACHE", str(folder))
        expected = small(source)
        [path] = folder.glob(f"*{suffix}")
        content = bytearray(path.read_bytes())
        position %= len(content)
        content[position : None if cut else position + len(scribble)] = scribble
        path.write_bytes(content)
        assert small(source).provenance == expected.provenance
        assert small(source).fingerprint == expected.fingerprint


def test_without_a_place_for_the_cache(csv, own_cache, monkeypatch):
    own_cache.write_text("a file where the folder should be")
    assert len(small(csv).training) == 21
    monkeypatch.setattr(np, "save", lambda file, *args, **kwargs: file.write(bytes(10)) and os.fstat(-1))  # an OSError
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


def test_real_fer2013(real):
    assert real.provenance["official"] and not real.drawn
    assert real.provenance["counts"] == data.OFFICIAL_COUNTS
    assert [len(real.training), len(real.public), len(real.private)] == [28709, 3589, 3589]
    for split in (real.training, real.public, real.private):
        assert 100 < split.images.mean() < 160 and split.images.min() == 0 and split.images.max() == 255
    for section in np.array_split(real.public.labels, 5):  # the order mixes the classes, as the report's sections need
        assert np.bincount(section, minlength=7).min() > 0


def test_real_archives_beside_it_are_equal(real):
    source = Path(os.environ["FER2013"])
    others = [
        path for path in source.parent.glob("fer2013.*") if path != source and path.name.endswith(readers.ENDINGS)
    ]
    if real.provenance["form"] != "folder" or not others:
        pytest.skip("no second archive of the folder release beside $FER2013")
    for other in others:
        assert data.load(other, cache=False).fingerprint == real.fingerprint


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
