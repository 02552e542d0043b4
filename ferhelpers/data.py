"""A source of faces -> Dataset: the three official splits as uint8 images, their labels, and where they came from.

Every notebook gets its images from `load`. Decoding happens once: a cache in the user's cache folder
($FERHELPERS_CACHE overrides) opens in a fraction of a second and is rebuilt when the source changes or it is damaged.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import platformdirs

from ferhelpers import containers, readers
from ferhelpers.containers import show
from ferhelpers.errors import InputError
from ferhelpers.files import write_atomically, write_json
from ferhelpers.readers import CLASSES, IMAGE_SIZE, OFFICIAL_COUNTS, PIXELS, SPLITS

KAGGLE_DATASET = "msambare/fer2013"  # the folder release
AUTO_NAMES = (
    "fer2013.csv",
    "icml_face_data.csv",
    "fer2013.zip",
    "archive.zip",
    "fer2013.tar",
    "fer2013.tar.gz",
    "fer2013.tgz",
    "fer2013.tar.bz2",
    "fer2013.tar.xz",
    "fer2013",
)


@dataclass(frozen=True, eq=False)
class Split:
    """Images uint8 (N, 48, 48), 0..255; labels uint8 (N,), 0..6 in the order of CLASSES."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)

    def take(self, indices):
        """The images at `indices` (a slice, an int or a bool array), in that order, as a Split."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class Dataset:
    """The three official splits, kept apart, and a JSON-able record of where they came from.

    provenance: source (name, no path), form ("csv", "folder" or "builtin"), counts (by split, in label order), official
    (bool: the counts are FER-2013's), fraction (of the source that was kept), sha256 (the fingerprint), note (for people).
    """

    training: Split
    public: Split
    private: Split
    provenance: dict

    @cached_property
    def fingerprint(self):
        """SHA-256 (hex) of the decoded images and labels of the three splits, whatever file they came in."""
        digest = hashlib.sha256()
        for name in SPLITS:
            split = getattr(self, name)
            digest.update(f"{name} {len(split)}\n".encode())
            digest.update(np.ascontiguousarray(split.images))
            digest.update(np.ascontiguousarray(split.labels))
        return digest.hexdigest()

    @property
    def drawn(self):
        """True if these are the built-in faces, so that no number from them is about FER-2013."""
        return self.provenance["form"] == "builtin"

    def subset(self, fraction, seed=0):
        """The same share of each class of each split, drawn at random, in the order of the source.

        Args:
            fraction: share to keep, above 0 and up to 1; of each class at least one image stays.
            seed: int, which images.

        Returns:
            Dataset whose provenance says that it is a subset; the dataset itself for 1.0.

        Raises:
            InputError: fraction is outside its range.

        Used in: all notebooks, through their parameter FRACTION.
        """
        if not isinstance(fraction, (int, float)) or isinstance(fraction, bool) or not 0 < fraction <= 1:
            raise InputError(f"fraction is {fraction!r}; it should be a number above 0 and up to 1")
        if fraction == 1:
            return self
        random = np.random.default_rng(seed)
        splits = []
        for name in SPLITS:
            split = getattr(self, name)
            of_class = [np.flatnonzero(split.labels == label) for label in range(len(CLASSES))]
            sizes = [max(1, round(fraction * len(rows))) for rows in of_class]
            kept = [random.choice(rows, size, replace=False) for rows, size in zip(of_class, sizes) if len(rows)]
            splits.append(split.take(np.sort(np.concatenate(kept))))
        total = self.provenance.get("fraction", 1.0) * fraction
        note = f"{self.provenance.get('note', '')} A subset: {total:.4g} of each class (seed {seed}).".strip()
        return _dataset(splits, {**self.provenance, "official": False, "fraction": total, "note": note})


def load(source="auto", *, allow_subset=False, cache=True):
    """Load the images of one source.

    Args:
        source: "auto" (what $FER2013 names, else a FER-2013 file in ./data or the project's data folder, else the built-in
            faces), "builtin", "kaggle" (downloads; needs the package kagglehub), or the path of a fer2013.csv,
            icml_face_data.csv, or the folder release as a folder, .zip or .tar, .tar.gz, .tar.bz2, .tar.xz. An archive
            or folder that holds one of the two CSVs will do too.
        allow_subset: take data with fewer images than FER-2013 has, but at least one of each class in each split.
        cache: keep the decoded images in the cache folder and use what is there.

    Returns:
        Dataset; its arrays are read-only. A CSV keeps its row order; images are in the order of their file names, which
        mixes the classes and is the same in a folder, a zip and a tar.

    Raises:
        InputError: the source is missing, damaged, hostile or not FER-2013: one line with file, line or member, and cure.

    Source: FER-2013 (Goodfellow et al. 2013, arXiv:1307.0414); class counts: the official CSV.
    Used in: all notebooks, through notebook.begin.
    """
    if not isinstance(source, (str, os.PathLike)) or not str(source):
        raise InputError(f"the data source is {source!r}; it should be auto, builtin, kaggle or a path")
    chosen = ""
    if source == "auto":
        source, chosen = find()
    if source == "builtin":
        return _draw(chosen)
    path = _download() if source == "kaggle" else Path(os.path.abspath(os.path.expanduser(source)))
    try:
        if not path.exists():
            raise InputError(
                f"there is nothing at {show(path)}; give the path of FER-2013, or builtin. {chosen}".strip()
            )
        splits, form = _read_once(path) if cache else readers.read(path)
    except OSError as error:
        where = show(error.filename or path)
        raise InputError(f"{where} cannot be read ({error.strerror}); check the path and its permissions") from error
    name = f"kaggle {KAGGLE_DATASET}" if source == "kaggle" else os.fsencode(path.name).decode("utf-8", "replace")
    counts = {split: np.bincount(labels, minlength=len(CLASSES)).tolist() for split, (_, labels) in splits.items()}
    _check_counts(counts, show(name), allow_subset)
    official = counts == OFFICIAL_COUNTS
    note = " ".join(filter(None, [chosen, "" if official else "A subset of FER-2013."]))
    provenance = {"source": name, "form": form, "official": official, "fraction": 1.0, "note": note}
    return _dataset([Split(*splits[split]) for split in SPLITS], provenance)


def _dataset(splits, provenance):
    for split in splits:
        split.images.flags.writeable = split.labels.flags.writeable = False
    counts = {name: np.bincount(split.labels, minlength=len(CLASSES)).tolist() for name, split in zip(SPLITS, splits)}
    dataset = Dataset(*splits, {**provenance, "counts": counts})
    dataset.provenance["sha256"] = dataset.fingerprint
    return dataset


def _consecutive(sizes):
    """Slices of these sizes, one after the other."""
    return [slice(end - size, end) for end, size in zip(np.cumsum(sizes).tolist(), sizes)]


def _check_counts(counts, name, allow_subset):
    for split in SPLITS:
        for label, (count, official) in enumerate(zip(counts[split], OFFICIAL_COUNTS[split])):
            found = f"{name}: {split} has {count:,} images of {CLASSES[label]}"
            if count > official or (allow_subset and count == 0):
                raise InputError(f"{found}; there should be 1 to {official:,} as in FER-2013")
            if count < official and not allow_subset:
                raise InputError(
                    f"{found}; FER-2013 has {official:,} (a part of it must be asked for: --set SUBSET=true, or allow_subset=True)"
                )


def pictures(images):
    """What is on each image: int (N,), the same number for the same pixels. images: uint8 (N, 48, 48)."""
    return pd.factorize(np.array([image.tobytes() for image in images], dtype=object))[0]


# Sources that are not a path


def find():
    """What the source "auto" stands for: (path or "builtin", a note that says why). Used in: run_all.py."""
    if named := os.environ.get("FER2013"):
        return named, "$FER2013 names this source."
    for folder in (Path("data"), Path("../data"), Path(__file__).resolve().parents[1] / "data"):  # ..: from notebooks/
        for candidate in (folder / name for name in AUTO_NAMES):
            if candidate.exists():
                return candidate, f"Found as data/{candidate.name}."
        if (folder / "train").is_dir() and (folder / "test").is_dir():
            return folder, "Found in data/."
    return "builtin", "Neither $FER2013 nor the folder data/ holds FER-2013."


def _draw(chosen):
    from ferhelpers import faces

    drawn = faces.draw(sum(faces.SIZES), seed=0)
    everything = Split(drawn.images, drawn.labels)
    note = f"{chosen} Drawn faces, not photographs: no number from them is about FER-2013.".strip()
    provenance = {"source": "builtin", "form": "builtin", "official": False, "fraction": 1.0, "note": note}
    return _dataset([everything.take(rows) for rows in _consecutive(faces.SIZES)], provenance)


def _download():
    manual = f"or download kaggle.com/datasets/{KAGGLE_DATASET} and give the path of the zip"
    try:
        import kagglehub
    except ImportError as error:
        raise InputError(f"kaggle: the package kagglehub is not installed; pip install kagglehub, {manual}") from error
    try:
        return Path(kagglehub.dataset_download(KAGGLE_DATASET))
    except Exception as error:  # the errors of kagglehub, of requests and of the network share no other class
        raise InputError(f"kaggle: the download failed ({show(error)}); check the network, {manual}") from error


# The cache: KEY.npy has the bytes of all images and then of all labels, KEY.json tells how to part them, and a digest
# over both and the state of the source. KEY is made from the path.


def _read_once(path):
    folder = Path(os.environ.get("FERHELPERS_CACHE") or platformdirs.user_cache_dir("ferhelpers"))
    stem = folder / hashlib.sha256(os.fsencode(path)).hexdigest()[:20]
    signature = containers.signature(path)
    cached = _open_cache(stem, signature)
    if cached:
        return cached
    splits, form = readers.read(path)
    try:
        _save_cache(stem, signature, splits, form)
    except InputError:
        pass  # a full or read-only disk: works without
    return splits, form


def _open_cache(stem, signature):
    try:
        record = json.loads(stem.with_suffix(".json").read_text())
        content = np.load(stem.with_suffix(".npy"), allow_pickle=False)
        if record["check"] != _check(signature, record["form"], record["sizes"], content):
            return None
    except Exception:  # whatever is wrong with a cache, the source is read again
        return None
    images, labels = np.split(content, [sum(record["sizes"]) * PIXELS])
    images = images.reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    return {name: (images[rows], labels[rows]) for name, rows in zip(SPLITS, _consecutive(record["sizes"]))}, record[
        "form"
    ]


def _save_cache(stem, signature, splits, form):
    images, labels = zip(*(splits[name] for name in SPLITS))
    content = np.concatenate([array.ravel() for array in (*images, *labels)])
    sizes = [len(array) for array in labels]
    write_atomically(stem.with_suffix(".npy"), lambda file: np.save(file, content, allow_pickle=False))
    write_json(
        stem.with_suffix(".json"), {"form": form, "sizes": sizes, "check": _check(signature, form, sizes, content)}
    )


def _check(signature, form, sizes, content):
    digest = hashlib.sha256(json.dumps([signature, form, sizes]).encode())
    digest.update(content)
    return digest.hexdigest()
