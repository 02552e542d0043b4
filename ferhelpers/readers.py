"""Reads FER-2013 from a CSV, a folder, a zip or a tar: bytes in, three splits of checked images and labels out.

`data.load` is the way in; it adds the counts, the provenance and the cache.
"""

import io
import re
import zipfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from ferhelpers import containers
from ferhelpers.containers import show
from ferhelpers.errors import InputError

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # label = position
SPLITS = ("training", "public", "private")
USAGES = ("Training", "PublicTest", "PrivateTest")  # what the releases call SPLITS
OFFICIAL_COUNTS = {  # images of each class, in label order
    "training": [3995, 436, 4097, 7215, 4830, 3171, 4965],
    "public": [467, 56, 496, 895, 653, 415, 607],
    "private": [491, 55, 528, 879, 594, 416, 626],
}
IMAGE_SIZE = 48
PIXELS = IMAGE_SIZE * IMAGE_SIZE

ENDINGS = (".csv", ".csv.gz", ".csv.bz2", ".csv.xz", ".csv.zip", ".zip")
ENDINGS += (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
CSV_NAMES = ("fer2013.csv", "icml_face_data.csv")
COLUMNS = ("emotion", "pixels", "Usage")
KAGGLE_DATASET = "msambare/fer2013"  # the folder release
OFFICIAL = f"FER-2013 itself is kaggle.com/datasets/{KAGGLE_DATASET} (--data kaggle)"
OTHER_CSVS = {  # by their first columns: what they are and lack
    ("emotion", "pixels"): "the train.csv of the Kaggle competition, without PublicTest and PrivateTest",
    ("pixels",): "the test.csv of the Kaggle competition, without labels",
    ("Usage", "Image name", "neutral"): "the fer2013new.csv of FER+, other labels of the same images, without pixels",
}
NAMES = "train/<class>/ should hold Training_<number>.jpg, test/<class>/ PublicTest_* and PrivateTest_*.jpg"
MAX_IMAGES = 35_887  # all of FER-2013
MAX_LINE = 16_384  # bytes; the longest possible row has 9,230
MAX_JPEG = 65_536  # bytes; the largest image of the release has 2,483
BATCH = 32  # CSV rows parsed at once: their arrays stay in the processor's cache


def read(path: Path, splits: str = "official") -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], str]:
    """Read one source of FER-2013.

    Args:
        path: a folder, or a file with one of ENDINGS.
        splits: "official", or "folders": train/ is training, and of the images of the other folders, in the order of
            their file names, the 1st, 3rd, 5th ... are public and the 2nd, 4th, 6th ... private.

    Returns:
        (splits, form): splits is a dict by SPLITS of (images uint8 (N, 48, 48), labels uint8 (N,)), in row order for a
        CSV and in file-name order for images, whatever held them; form is "csv" or "folder".

    Raises:
        InputError: anything in the source is not as FER-2013 has it; names the file and the line or member.
    """
    name = show(path.name)
    if path.is_dir():
        return _read_container(path, name, splits)
    if not path.is_file():
        raise InputError(f"{name} is neither a regular file nor a folder")
    if not path.name.lower().endswith(ENDINGS):
        raise InputError(f"{name}: it should end in one of {', '.join(ENDINGS)}, or be a folder")
    try:
        opener = containers.opener_of(path)
        if opener is zipfile.ZipFile or not re.search(r"\.csv(\.gz|\.bz2|\.xz)?$", path.name.lower()):
            return _read_container(path, name, splits)
        with opener(path, "rb") as stream:
            return _read_csv(stream, name), "csv"
    except (InputError, FileNotFoundError, PermissionError):  # of these no download is a cure
        raise
    except containers.DAMAGED as error:
        cure = "download it again; if it is whole, unpack it and give what is in it"
        raise InputError(f"{name} is damaged, or is not what its ending says ({show(error)}); {cure}") from error


def check_counts(counts: dict[str, list[int]], name: str, splits: str, allow_subset: bool) -> None:
    """Check that there are as many images as in FER-2013, in each split or, for splits "folders", in all.

    Args:
        counts: images of each class, in label order, by split.
        name: the source, for the error.
        splits: as in `read`.
        allow_subset: take less, but at least one of each class in each split.

    Raises:
        InputError: too few or too many; names the split and the class.
    """
    for split in SPLITS:
        if 0 in counts[split]:
            label = CLASSES[counts[split].index(0)]
            raise InputError(f"{name}: {split} has 0 images of {label}; there should be at least 1 of each class")
    right = OFFICIAL_COUNTS
    if splits == "folders":
        counts, right = ({"the whole": [sum(of) for of in zip(*each.values())]} for each in (counts, right))
    rows = [row for split in counts for row in zip([split] * len(CLASSES), CLASSES, counts[split], right[split])]
    for split, label, count, most in sorted(rows, key=lambda row: row[2] <= row[3]):  # too many: no cure
        if count > most or not allow_subset and count < most:
            cure = " (a part of it must be asked for: --set SUBSET=true, or allow_subset=True)" if count < most else ""
            raise InputError(f"{name}: {split} has {count:,} images of {label}; FER-2013 has {most:,}{cure}")


def part(images: np.ndarray, labels: np.ndarray, sizes: list[int]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{split: (images, labels)} of what holds the images of one split after those of another."""
    cuts = np.cumsum(sizes)[:-1]
    return dict(zip(SPLITS, zip(np.split(images, cuts), np.split(labels, cuts))))


# The CSV: fer2013.csv and icml_face_data.csv, and copies of them under other names


def _read_csv(stream, name):
    stream = io.BufferedReader(stream, 2**18)  # a file's own buffer holds one line: four times as slow
    order = _column_order(stream.readline(MAX_LINE), name)
    label_of = {str(label).encode(): label for label in range(len(CLASSES))}
    split_of = {usage.encode(): split for split, usage in enumerate(USAGES)}
    bytes(2**24)  # freed at once, after which glibc keeps freed memory up to this size: no page faults batch by batch
    images = np.empty((MAX_IMAGES, PIXELS), np.uint8)
    labels, splits, batch = [], [], []
    number = 1
    while line := stream.readline(MAX_LINE):
        number += 1
        if number > 2 * MAX_IMAGES:
            raise InputError(f"{name}: line {number}: the file goes on; FER-2013 has {MAX_IMAGES:,} rows")
        if len(line) == MAX_LINE:
            raise InputError(
                f"{name}: line {number} is longer than {MAX_LINE:,} bytes; it should hold {PIXELS:,} pixels"
            )
        if line.isspace():
            continue
        first, _, rest = line.partition(b",")
        middle, comma, last = rest.rpartition(b",")  # ten times as fast as line.split(b",")
        if not comma or b"," in middle:
            columns = line.count(b",") + 1
            raise InputError(f"{name}: line {number} has {columns} columns; it should have 3 ({','.join(COLUMNS)})")
        fields = [field.strip(b' \t\r\n"') for field in (first, middle, last)]
        emotion, pixels, usage = (fields[column] for column in order)
        if emotion not in label_of:
            raise InputError(f"{name}: line {number}: the emotion is {show(emotion)}; it should be a whole number 0..6")
        if usage not in split_of:
            raise InputError(
                f"{name}: line {number}: the Usage is {show(usage)}; it should be one of {', '.join(USAGES)}"
            )
        if len(labels) == MAX_IMAGES:
            raise InputError(f"{name}: line {number}: there are more rows than the {MAX_IMAGES:,} of FER-2013")
        labels.append(label_of[emotion])
        splits.append(split_of[usage])
        batch.append((number, pixels))
        if len(batch) == BATCH:
            images[len(labels) - BATCH : len(labels)] = _parse_pixels(batch, name)
            batch.clear()
    if batch:
        images[len(labels) - len(batch) : len(labels)] = _parse_pixels(batch, name)
    images, labels = images[: len(labels)].reshape(-1, IMAGE_SIZE, IMAGE_SIZE), np.array(labels, np.uint8)
    if splits != sorted(splits):  # the release has one split after the other: nothing to copy
        order = np.argsort(splits, kind="stable")
        images, labels = images[order], labels[order]
    return part(images, labels, [splits.count(split) for split in range(len(SPLITS))])


def _column_order(header, name):
    names = header.removeprefix(b"\xef\xbb\xbf").split(b",")
    names = [column.strip(b' \t\r\n"').decode("ascii", "replace") for column in names]
    if sorted(names) != sorted(COLUMNS):
        other = OTHER_CSVS.get(tuple(names[:3]))
        right = f"they should be {','.join(COLUMNS)}, in UTF-8 text{f' (this is {other}; {OFFICIAL})' if other else ''}"
        raise InputError(f"{name}: line 1: the columns are {show(','.join(names))}; {right}")
    return [names.index(column) for column in COLUMNS]


def _parse_pixels(batch, name):
    """(n, PIXELS) uint8 from n (line number, text of PIXELS numbers) pairs; all rows at once, every value checked."""
    fields = [pixels for _, pixels in batch]
    text = np.frombuffer(b" ".join([b"  ", *fields, b""]), np.uint8)  # three spaces in front, one behind
    digit, space = text - ord("0") < 10, text == ord(" ")  # uint8: what comes before "0" wraps to more than 9
    digits = text & 15  # "0".."9" is 0..9, a space is 0; anything else is refused below
    at = slice(3, -1)  # every position that may end a number, with the three before it and the one behind it
    before = [slice(3 - back, -1 - back) for back in (1, 2, 3)]
    end = digit[at] & space[4:]
    hundreds = digits[before[1]] * digit[before[0]]
    below_hundred = digits[at] + 10 * digits[before[0]]
    values = below_hundred + 100 * hundreds  # of two hundreds and more than 55 less than below_hundred: uint8 wraps
    ends = np.flatnonzero(end)
    rows = np.cumsum([len(field) + 1 for field in fields])  # where the next row begins
    if (
        np.count_nonzero(space) == len(ends) + 3  # no space follows another, but for the first three
        and np.count_nonzero(digit) + len(ends) + 3 == len(text)
        and not np.any(digit[at] & digit[before[0]] & digit[before[1]] & digit[before[2]])
        and not np.any(end & ((hundreds > 2) | (values < below_hundred)))
        and len(ends) == len(fields) * PIXELS
        and np.array_equal(ends[PIXELS - 1 :: PIXELS] + 2, rows)
    ):
        return values.take(ends).reshape(-1, PIXELS)  # four times as fast as values[end]
    for number, field in batch:
        _check_pixels(field.split(b" "), f"{name}: line {number}")
    raise AssertionError("a batch of pixels was refused although each of its rows is right")


def _check_pixels(values, where):
    for position, value in enumerate(values, start=1):
        if not re.fullmatch(rb"[0-9]{1,3}", value) or int(value) > 255:
            right = "it should be a whole number 0..255, with one space between two"
            raise InputError(f"{where}: pixel {position} is {show(value)}; {right}")
    if len(values) != PIXELS:
        raise InputError(f"{where}: {len(values):,} pixels; there should be {PIXELS:,} (48 x 48)")


# The folder release: train/<class>/Training_*.jpg, test/<class>/{PublicTest,PrivateTest}_*.jpg


def _read_container(path, name, splits):
    images = {}  # (file name, label, folder) -> pixels
    table = other = None
    for parts, where, opener in containers.members(path):
        leaf = parts[-1].lower()
        if leaf.endswith(".csv"):
            try:
                with opener() as stream:
                    copy = _read_csv(stream, where)
            except InputError as error:
                if leaf in CSV_NAMES:
                    raise
                other = other or error  # a file about something else, unless it is all there is
                continue
            if table and any(not np.array_equal(a, b) for split in SPLITS for a, b in zip(table[split], copy[split])):
                raise InputError(f"{where}: a second CSV, with other rows; there should be one")
            table = copy
        elif not set(containers.TREES).isdisjoint(parts[:-1]):
            key = _key(parts, where)
            with opener() as stream:
                pixels = _decode(stream.read(MAX_JPEG + 1), where)
            if images.setdefault(key, pixels) != pixels:
                raise InputError(f"{where}: this file is there twice, with other pixels; there should be one")
    if table and images:
        raise InputError(f"{name} holds both a CSV and image folders; it should hold one of them")
    if table:
        return table, "csv"
    if not images:
        right = (
            "it should hold train/<class>/*.jpg and test/<class>/*.jpg, or fer2013.csv (archives in it are not opened)"
        )
        raise other or InputError(f"{name} holds no FER-2013; {right}")
    parts = _parted(images, splits)
    if sum(map(len, parts)) < len(images):
        raise InputError(_unofficial(images, name))
    return {split: _stack(images, keys) for split, keys in zip(SPLITS, parts)}, "folder"


def _key(parts, where):
    """What images are known and ordered by: (file name, label, folder)."""
    if len(parts) < 3 or parts[-3] not in containers.TREES or not parts[-1].lower().endswith((".jpg", ".jpeg", ".png")):
        raise InputError(f"{where}: not a file of FER-2013; {NAMES}")
    if parts[-2] not in CLASSES:
        right = f"it should be one of {', '.join(CLASSES)}; {OFFICIAL}"
        raise InputError(f"{where}: the class folder is {show(parts[-2])}; {right}")
    return parts[-1], CLASSES.index(parts[-2]), parts[-3]


def _usage(key):
    """The official split of an image, or None."""
    match = re.fullmatch(r"(Training|PublicTest|PrivateTest)_[0-9]{1,20}\.jpg", key[0])
    return match[1] if match and key[2] == ("train" if match[1] == "Training" else "test") else None


def _parted(images, splits):
    """The keys of the images of each split, in order; in the official splits those with other names are left out."""
    keys = sorted(images)
    if splits == "official":
        return [[key for key in keys if _usage(key) == usage] for usage in USAGES]
    tests = [key for key in keys if key[2] != "train"]
    return [key for key in keys if key[2] == "train"], tests[::2], tests[1::2]


def _unofficial(images, name):
    """Why images under other names are refused; offers to take the folders as they are if that works."""
    file, label, folder = next(key for key in sorted(images) if not _usage(key))
    line = f"{name}: {show(f'{folder}/{CLASSES[label]}/{file}')}: not a file of FER-2013; {NAMES}"
    if any(map(_usage, images)):
        return line
    sizes = Counter(folder for *_, folder in images)
    sizes = " and ".join(f"{count:,} images in {folder}/" for folder, count in sorted(sizes.items()))
    line = f"{line}. This release, {sizes}, lacks PublicTest and PrivateTest; {OFFICIAL}"
    labels = [[label for _, label, _ in keys] for keys in _parted(images, "folders")]
    counts = {split: np.bincount(part, minlength=len(CLASSES)).tolist() for split, part in zip(SPLITS, labels)}
    for subset in (False, True):
        with suppress(InputError):
            check_counts(counts, name, "folders", subset)
            shell, code = " --set SUBSET=true" * subset, ", allow_subset=True" * subset
            return f"{line}; to take its folders as they are: --set SPLITS=folders{shell}, or splits='folders'{code}"
    return line


def _stack(images, keys):
    pixels = np.frombuffer(b"".join(images[key] for key in keys), np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    return pixels, np.array([label for _, label, _ in keys], np.uint8)


def _decode(data, where):
    """Pixels of one grey 48x48 JPEG; size and colour are judged from its header, before any pixel is decoded."""
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG", "PNG"]) as image:
            if (image.format, image.size, image.mode) != ("JPEG", (IMAGE_SIZE, IMAGE_SIZE), "L"):
                kind = f"a {image.width}x{image.height} {image.format}, {'grey' if image.mode == 'L' else 'in colour'}"
                right = f"it should be a grey 48x48 JPEG. A converted copy may lack FER-2013's own pixels; {OFFICIAL}"
                raise InputError(f"{where}: {kind}; {right}")
            if len(data) > MAX_JPEG:
                raise InputError(f"{where}: more than {MAX_JPEG:,} bytes; a grey 48x48 JPEG has less")
            return image.tobytes()
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "not a JPEG" if isinstance(error, Image.UnidentifiedImageError) else f"a broken JPEG ({show(error)})"
        raise InputError(f"{where}: {reason}; it should be a grey 48x48 JPEG") from error
