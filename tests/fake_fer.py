"""A FER-2013 of a few noise images in each form that it comes in, for the tests of the readers."""

import io
import tarfile
import zipfile

import numpy as np
from PIL import Image

from ferhelpers.data import CLASSES, SPLITS
from ferhelpers.readers import COLUMNS, USAGES

TAR_MODES = {"fer.tar": "w", "fer.tar.gz": "w:gz", "fer.tar.bz2": "w:bz2", "fer.tar.xz": "w:xz"}


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


def jpeg(image, mode="L", form="JPEG"):
    file = io.BytesIO()
    Image.fromarray(image).convert(mode).save(file, form)
    return file.getvalue()


def members(splits):
    """{member name: bytes} of the folder release; the numbers in the names keep the order inside a split."""
    found = {}
    for (images, labels), usage in zip(splits.values(), USAGES):
        for number, (image, label) in enumerate(zip(images, labels), start=1000):
            folder = "train" if usage == "Training" else "test"
            found[f"{folder}/{CLASSES[label]}/{usage}_{number}.jpg"] = jpeg(image)
    return found


def write_folder(path, files):
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_zip(path, files, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path, files):
    with tarfile.open(path, TAR_MODES["fer" + "".join(path.suffixes)]) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path
