"""A source of faces -> Dataset: the three official splits as uint8 images, their labels, and where they came from.

Every notebook gets its images from `load`. Decoding happens once: a cache in the user's cache folder
($FERHELPERS_CACHE overrides) opens in a fraction of a second and is rebuilt when the source changes or it is damaged.
"""

import hashlib
import itertools
import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import platformdirs

from ferhelpers import containers, readers
from ferhelpers.containers import show
from ferhelpers.errors import InputError
from ferhelpers.files import read_sealed, write_sealed
from ferhelpers.readers import CLASSES, IMAGE_SIZE, KAGGLE_DATASET, OFFICIAL_COUNTS, PIXELS, SPLITS

# What "auto" looks for, the first one first; without "-", "_", spaces and the "(1)" of a second download.
AUTO_NAMES = [name + end for end in (*readers.ENDINGS, "/") for name in ("fer2013", "icmlfacedata", "archive")]
OTHER_SPLITS = (
    "Not FER-2013's official splits: train/ is Training, every second of the other images, by file name, stands for "
    "PublicTest, the rest for PrivateTest. Its numbers cannot be compared with those of the official splits."
)
OWN = {"source": "own images", "form": "own", "official": False, "fraction": 1.0, "note": ""}


@dataclass(frozen=True, eq=False)
class Split:
    """Images uint8 (N, 48, 48), 0..255; labels uint8 (N,), 0..6 in the order of CLASSES; else an InputError."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self):
        for name, of, shape in (("images", self.images, (IMAGE_SIZE, IMAGE_SIZE)), ("labels", self.labels, ())):
            if getattr(of, "dtype", None) != np.uint8 or of.shape != (len(self.labels), *shape):
                is_now = f"{of.dtype} {of.shape}" if isinstance(of, np.ndarray) else type(of).__name__
                raise InputError(f"{name} are {is_now}; they should be uint8 {('N', *shape)}, as many as labels")
        if self.labels.max(initial=0) >= len(CLASSES):
            raise InputError(f"a label is {self.labels.max()}; they should be 0..{len(CLASSES) - 1}, as in CLASSES")

    def __len__(self):
        return len(self.labels)

    def take(self, indices: slice | np.ndarray) -> "Split":
        """The images at `indices` (a slice, an int or a bool array), in that order, as a Split."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits, kept apart, and a JSON-able record of where they came from.

    provenance: any dict. Kept of it or filled in: source (name, no path), form ("csv", "folder", "builtin" or "own"),
    official (bool: FER-2013's own splits, whole), fraction (of the source that was kept), note (for people). Always
    made anew: counts (by split, in label order), sha256 (the fingerprint). `load` adds splits: "official" or "folders".
    """

    training: Split
    public: Split
    private: Split
    provenance: dict | None = None

    def __post_init__(self):
        given = json.loads(json.dumps(self.provenance or {}, default=str, skipkeys=True))
        known = {key: given[key] if type(given.get(key)) is type(default) else default for key, default in OWN.items()}
        labels = {name: getattr(self, name).labels for name in SPLITS}
        counts = {name: np.bincount(of, minlength=len(CLASSES)).tolist() for name, of in labels.items()}
        provenance = {**given, **known, "counts": counts, "sha256": self.fingerprint}
        object.__setattr__(self, "provenance", provenance)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the decoded images and labels of the three splits, whatever file they came in."""
        digest = hashlib.sha256()
        for name in SPLITS:
            split = getattr(self, name)
            digest.update(f"{name} {len(split)}\n".encode())
            digest.update(np.ascontiguousarray(split.images))
            digest.update(np.ascontiguousarray(split.labels))
        return digest.hexdigest()

    @property
    def drawn(self) -> bool:
        """True if these are the built-in faces, so that no number from them is about FER-2013."""
        return self.provenance["form"] == "builtin"

    def subset(self, fraction: float, seed: int = 0) -> "Dataset":
        """The same share of each class of each split, drawn at random, in the order of the source.

        Args:
            fraction: share to keep, above 0 and up to 1; of each class at least one image stays.
            seed: int, which images.

        Returns:
            Dataset whose provenance says that it is a subset; the dataset itself for 1.0.

        Raises:
            InputError: fraction is outside its range.
        """
        if not isinstance(fraction, (int, float)) or isinstance(fraction, bool) or not 0 < fraction <= 1:
            raise InputError(f"fraction is {fraction!r}; it should be a number above 0 and up to 1")
        if fraction == 1:
            return self
        random = np.random.default_rng(seed)
        parts = {}
        for name in SPLITS:
            split = getattr(self, name)
            of_class = [np.flatnonzero(split.labels == label) for label in range(len(CLASSES))]
            sizes = [max(1, round(fraction * len(rows))) for rows in of_class]
            kept = [random.choice(rows, size, replace=False) for rows, size in zip(of_class, sizes) if len(rows)]
            rows = np.sort(np.concatenate(kept))
            parts[name] = split.images[rows], split.labels[rows]
        total = self.provenance["fraction"] * fraction
        note = f"{self.provenance['note']} A subset: {total:.4g} of each class (seed {seed}).".strip()
        return _dataset(parts, {**self.provenance, "official": False, "fraction": total, "note": note})


def load(
    source: str | os.PathLike = "auto", *, splits: str = "official", allow_subset: bool = False, cache: bool = True
) -> Dataset:
    """Load the images of one source.

    Args:
        source: "auto" (what `find` finds), "builtin", "kaggle" (downloads; needs the package kagglehub), or the path of
            FER-2013 as a CSV, a folder of images, or an archive of one of the two (`readers.ENDINGS`).
        splits: "official", or "folders" for a release without PublicTest and PrivateTest, whose folders are then taken
            as they are (`OTHER_SPLITS`).
        allow_subset: take data with fewer images than FER-2013 has, but at least one of each class in each split.
        cache: keep the decoded images in the cache folder and use what is there.

    Returns:
        Dataset; its arrays are read-only. A CSV keeps its row order; images are in the order of their file names, which
        mixes the classes and is the same in a folder, a zip and a tar.

    Raises:
        InputError: the source is missing, damaged, hostile or not FER-2013; names the file, its line or member.

    Source: FER-2013 (Goodfellow et al. 2013, arXiv:1307.0414); class counts: the official CSV.
    """
    if splits not in ("official", "folders"):
        raise InputError(f"SPLITS is {splits!r}; it should be official or folders")
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
        parts, form = _read_once(path, splits) if cache else readers.read(path, splits)
    except OSError as error:
        where = show(error.filename or path)
        raise InputError(f"{where} cannot be read ({error.strerror}); check the path and its permissions") from error
    name = f"kaggle {KAGGLE_DATASET}" if source == "kaggle" else os.fsencode(path.name).decode("utf-8", "replace")
    counts = {split: np.bincount(labels, minlength=len(CLASSES)).tolist() for split, (_, labels) in parts.items()}
    readers.check_counts(counts, show(name), splits, allow_subset)
    if splits == "folders" and form == "csv":
        raise InputError(f"{show(name)} holds a CSV, which has the official splits; leave SPLITS at official")
    official = counts == OFFICIAL_COUNTS and splits == "official"
    part = sum(map(sum, counts.values())) < readers.MAX_IMAGES
    note = " ".join(filter(None, [chosen, OTHER_SPLITS * (splits == "folders"), "A subset of FER-2013." * part]))
    provenance = {"source": name, "form": form, "official": official, "splits": splits, "note": note}
    return _dataset(parts, provenance)


def _dataset(parts, provenance):
    for array in itertools.chain(*parts.values()):
        array.flags.writeable = False
    return Dataset(*(Split(*parts[name]) for name in SPLITS), provenance)


def pictures(images: np.ndarray) -> np.ndarray:
    """What is on each image: int (N,), the same number for the same pixels. images: uint8 (N, 48, 48)."""
    return pd.factorize(np.array([image.tobytes() for image in images], dtype=object))[0]


# Sources that are not a path


def find() -> tuple[str | Path, str]:
    """What "auto" stands for: what $FER2013 names, else FER-2013 in ./data, ../data or the project's, else "builtin".

    Returns:
        (source, note): a path or "builtin", and why; the note also lists what is in data/ and not known.
    """
    if named := os.environ.get("FER2013"):
        return named, "$FER2013 names this source."
    strange, folders = [], {}
    project = Path(__file__).parents[1]
    for name, path in (("data", "data"), ("../data", "../data"), ("the project's data", project / "data")):
        folders.setdefault(Path(path).resolve(), name)
    for folder, named in folders.items():
        paths = [path for path in sorted(folder.glob("*")) if not containers.is_litter(path.name)]
        entries = {re.sub(r"[-_ ]|\(\d+\)", "", path.name.lower()) + "/" * path.is_dir(): path for path in paths}
        known = [name for name in AUTO_NAMES if name in entries]
        trees = {f"{tree}/" for tree in containers.TREES} & entries.keys()
        trees = trees if "train/" in trees and len(trees) > 1 else set()
        strange += [show(path.name) for name, path in entries.items() if name not in {*known, *trees}]
        also = f" Not known in data/: {', '.join(strange[:5])}{', ...' * (len(strange) > 5)}." if strange else ""
        if known:
            return entries[known[0]], f"Found as {named}/{entries[known[0]].name}.{also}"
        if trees:
            return folder, f"Found in {named}/.{also}"
    return "builtin", f"Neither $FER2013 nor the folder data/ holds FER-2013.{also}"


def _draw(chosen):
    from ferhelpers import faces

    drawn = faces.draw(sum(faces.SIZES), seed=0)
    note = f"{chosen} Drawn faces, not photographs: no number from them is about FER-2013.".strip()
    parts = readers.part(drawn.images, drawn.labels, faces.SIZES)
    return _dataset(parts, {"source": "builtin", "form": "builtin", "note": note})


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


# The cache: a sealed file with one line of JSON (the state of the source, its form, images by split), then the bytes of
# all images and of all labels. Its name is made from the path.


def _read_once(path, splits):
    folder = Path(os.environ.get("FERHELPERS_CACHE") or platformdirs.user_cache_dir("ferhelpers"))
    cache = folder / hashlib.sha256(os.fsencode(path)).hexdigest()[:20]
    state = json.loads(json.dumps([splits, *containers.signature(path)]))
    with suppress(Exception):  # whatever is wrong with a cache, the source is read again
        header, content = read_sealed(cache).split(b"\n", 1)
        known, form, sizes = json.loads(header)
        if known == state:
            images, labels = np.split(np.frombuffer(content, np.uint8), [sum(sizes) * PIXELS])
            return readers.part(images.reshape(-1, IMAGE_SIZE, IMAGE_SIZE), labels, sizes), form
    parts, form = readers.read(path, splits)
    images, labels = zip(*(parts[name] for name in SPLITS))
    header = json.dumps([state, form, list(map(len, labels))]).encode()
    with suppress(InputError):  # a full or read-only disk: works without
        write_sealed(cache, header + b"\n" + b"".join(array.tobytes() for array in (*images, *labels)))
    return parts, form
