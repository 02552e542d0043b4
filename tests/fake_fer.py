"""A FER-2013 of a few noise images in each form that it comes in, for the tests of the readers."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile

import numpy as np
from PIL import Image

from ferhelpers.data import CLASSES, SPLITS
from ferhelpers.readers import COLUMNS, USAGES

TAR_MODES = {"fer.tar": "w", "fer.tar.gz": "w:gz", "fer.tgz": "w:gz", "fer.tar.bz2": "w:bz2", "fer.tar.xz": "w:xz"}
PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".csv": bytes}


def arrays(of_each=1, seed=0):
    """{split: (images, labels)}: `of_each` noise images of each class in each split, classes in turn."""
    random = np.random.default_rng(seed)
    labels = np.tile(np.arange(7, dtype=np.uint8), of_each)
    return {split: (random.integers(0, 256, (len(labels), 48, 48), dtype=np.uint8), labels) for split in SPLITS}


def csv_lines(splits, columns=COLUMNS):
    """The lines of a CSV, header first."""
    yield ",".join(columns)
    for (images, labels), usage in zip(splits.values(), USAGES):
        for image, label in zip(images, labels):
            row = {"emotion": str(label), "pixels": " ".join(map(str, image.ravel().tolist())), "Usage": usage}
            yield ",".join(row[column.strip()] for column in columns)


def csv(splits, columns=COLUMNS, newline="\n"):
    """The bytes of a CSV."""
    return "".join(line + newline for line in csv_lines(splits, columns)).encode()


def change_line(content, number, change):
    """The bytes of a CSV with its line `number` (1 = header) changed: a function of its fields that returns fields."""
    lines = content.split(b"\n")
    lines[number - 1] = b",".join(change(*lines[number - 1].split(b",")))
    return b"\n".join(lines)


def jpeg(image, mode="L", form="JPEG"):
    file = io.BytesIO()
    Image.fromarray(image).convert(mode).save(file, form)
    return file.getvalue()


def members(splits):
    """{member name: bytes} of the folder release; the numbers in the names keep the order inside a split."""
    files = {}
    for (images, labels), usage in zip(splits.values(), USAGES):
        for number, (image, label) in enumerate(zip(images, labels), start=1000):
            folder = "train" if usage == "Training" else "test"
            files[f"{folder}/{CLASSES[label]}/{usage}_{number}.jpg"] = jpeg(image)
    return files


def reparted(splits, trees=("train", "validation", "validation")):
    """{member name: bytes} of a release that tells PublicTest and PrivateTest not apart: its files are numbered."""
    rows = [row for tree, arrays in zip(trees, splits.values()) for row in zip([tree] * len(arrays[1]), *arrays)]
    return {
        f"{tree}/{CLASSES[label]}/{number}.jpg": jpeg(image)
        for number, (tree, image, label) in enumerate(rows, start=1000)
    }


def write_folder(path, files):
    """A name that ends in "/" is an empty folder, here and in the archives."""
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).mkdir() if name.endswith("/") else (path / name).write_bytes(content)
    return path


def write_packed(path, content):
    """One file, packed as its ending says."""
    path.write_bytes(PACKERS[path.suffix](content))
    return path


def write_zip(path, files, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def patch_zip(path, offset, form, value):
    """Change a field of the first entry of the central directory, which is what counts."""
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, content.find(b"PK\x01\x02") + offset, value)
    path.write_bytes(content)
    return path


def write_tar(path, files):
    mode = next(mode for name, mode in reversed(TAR_MODES.items()) if path.name.endswith(name.removeprefix("fer")))
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.type = len(content), tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            archive.addfile(info, io.BytesIO(content))
    return path
