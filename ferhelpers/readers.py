"""Reads FER-2013 from a CSV, a folder, a zip or a tar: bytes in, three splits of checked images and labels out.

`data.load` is the way in; it adds the counts, the provenance and the cache.
"""

import io
import re

import numpy as np
from PIL import Image

from ferhelpers import containers
from ferhelpers.containers import CSV_NAMES, show
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

COLUMNS = ("emotion", "pixels", "Usage")
MAX_IMAGES = 35_887  # all of FER-2013
MAX_LINE = 16_384  # bytes; the longest possible row has 9,230
MAX_JPEG = 65_536  # bytes; the largest image of the release has 2,483
BATCH = 32  # CSV rows parsed at once: their arrays stay in the processor's cache


def read(path):
    """Read one source of FER-2013.

    Args:
        path: Path to a .csv, a .zip, a .tar[.gz|.bz2|.xz] or the folder of the folder release.

    Returns:
        (splits, form): splits is a dict by SPLITS of (images uint8 (N, 48, 48), labels uint8 (N,)), in row order for a
        CSV and in file-name order for images, whatever held them; form is "csv" or "folder".

    Raises:
        InputError: anything in the source is not as FER-2013 has it; names the file and the line or member.
    """
    name = show(path.name)
    if path.is_dir():
        return _read_container(path, name)
    if not path.is_file():
        raise InputError(f"{name} is neither a regular file nor a folder")
    suffix = path.suffix.lower()
    if suffix == ".csv":
        with open(path, "rb") as stream:
            return _read_csv(stream, name), "csv"
    if suffix != ".zip" and suffix not in containers.TAR_OPENERS:
        raise InputError(f"{name}: it should end in .csv, .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz, or be a folder")
    try:
        return _read_container(path, name)
    except InputError:
        raise
    except containers.DAMAGED as error:
        raise InputError(f"{name} is not a whole {suffix} archive ({show(error)}); download it again") from error


# The CSV: fer2013.csv and icml_face_data.csv


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
    cuts = np.cumsum([splits.count(split) for split in range(len(SPLITS))])[:-1]
    return dict(zip(SPLITS, zip(np.split(images, cuts), np.split(labels, cuts))))


def _column_order(header, name):
    names = header.removeprefix(b"\xef\xbb\xbf").split(b",")
    names = [column.strip(b' \t\r\n"').decode("ascii", "replace") for column in names]
    if sorted(names) != sorted(COLUMNS):
        right = f"they should be {','.join(COLUMNS)}, in UTF-8 text"
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


def _read_container(path, name):
    found = {}  # (split, file name, label) -> pixels
    table = None
    for member in containers.members(path):
        where = member.where
        if member.parts[-1] in CSV_NAMES:
            if table:
                raise InputError(f"{where}: a second CSV; there should be one of {', '.join(CSV_NAMES)}")
            with member.open() as stream:
                table = _read_csv(stream, where)
        elif "train" in member.parts[:-1] or "test" in member.parts[:-1]:
            key = _split_name_label(member.parts, where)
            if key in found:
                raise InputError(f"{where}: this file is there twice; each image should be there once")
            if member.size > MAX_JPEG:
                raise InputError(f"{where}: {member.size:,} bytes; a 48x48 JPEG has at most {MAX_JPEG:,}")
            with member.open() as stream:
                found[key] = _decode(stream.read(MAX_JPEG + 1), where)
    if table and found:
        raise InputError(f"{name} holds both a CSV and image folders; it should hold one of them")
    if table:
        return table, "csv"
    if not found:
        right = "it should hold train/<class>/*.jpg and test/<class>/*.jpg, or fer2013.csv"
        raise InputError(f"{name} holds no FER-2013; {right}")
    return {split: _stack(found, index) for index, split in enumerate(SPLITS)}, "folder"


def _stack(found, split):
    keys = sorted(key for key in found if key[0] == split)
    images = np.frombuffer(b"".join(found[key] for key in keys), np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    return images, np.array([label for _, _, label in keys], np.uint8)


def _split_name_label(parts, where):
    match = re.fullmatch(r"(Training|PublicTest|PrivateTest)_[0-9]{1,20}\.jpg", parts[-1])
    if len(parts) < 3 or parts[-3] not in ("train", "test") or not match:
        right = "train/<class>/ should hold Training_<number>.jpg, test/<class>/ PublicTest_... and PrivateTest_..."
        raise InputError(f"{where}: not a file of FER-2013; {right}")
    folder, label, usage = parts[-3], parts[-2], match[1]
    if label not in CLASSES:
        raise InputError(f"{where}: the class folder is {show(label)}; it should be one of {', '.join(CLASSES)}")
    if (folder == "train") != (usage == "Training"):
        raise InputError(f"{where}: {usage} in {folder}/; train/ should hold Training_*.jpg, test/ the other two")
    return USAGES.index(usage), parts[-1], CLASSES.index(label)


def _decode(data, where):
    """Pixels of one grey 48x48 JPEG; size and colour are judged from its header, before any pixel is decoded."""
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            if image.size != (IMAGE_SIZE, IMAGE_SIZE):
                raise InputError(f"{where}: {image.width}x{image.height} pixels; there should be 48x48")
            if image.mode != "L":
                raise InputError(f"{where}: a colour image ({image.mode}); it should be grey, one channel")
            return image.tobytes()
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "not a JPEG" if isinstance(error, Image.UnidentifiedImageError) else f"a broken JPEG ({show(error)})"
        raise InputError(f"{where}: {reason}; it should be a grey 48x48 JPEG") from error
