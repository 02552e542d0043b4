"""Recognise the emotions on photos.

python -m ferhelpers photo.jpg              one photo
python -m ferhelpers holidays/ more/*.png   many, and folders of them
python -m ferhelpers --cropped face.png     an image that is one face, as in FER-2013
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from ferhelpers.data import CLASSES
from ferhelpers.environment import check_backend, quiet
from ferhelpers.errors import InputError, exit_status
from ferhelpers.files import write_atomically

ROWS = 6  # faces of a photo that get a row with their heat map
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")  # taken from a folder


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 1 where an image could not be read, 2 where nothing can start."""
    parser = argparse.ArgumentParser("python -m ferhelpers", description=__doc__.partition("\n")[0])
    parser.add_argument("photos", nargs="+", type=Path, help="image files, or folders of them")
    parser.add_argument("--cropped", action="store_true", help="every image is one face; look for none")
    parser.add_argument("--what-if", action="store_true", help="show the largest face under masks, blur and noise, too")
    parser.add_argument("--output", type=Path, default=Path("emotions"), help="folder to write to (emotions)")
    parser.add_argument("--run", type=Path, help="a stored run, such as outputs/fast/runs/cnn2-..., to recognise with")
    options = parser.parse_args(arguments)
    return exit_status(lambda: recognise_all(options))


def recognise_all(options: argparse.Namespace) -> int:
    """Write a picture for every photo with a face, and faces.csv for all of these; the exit status."""
    check_backend()
    paths = listed(options.photos, options.output)
    with quiet():
        from ferhelpers import photo, plots

        photo.network(options.run)
        if not options.cropped:
            photo.detector()
    rows, failed = [], 0
    with tqdm(paths, unit="photo", disable=len(paths) == 1 or not sys.stderr.isatty()) as progress:
        for path, name in zip(progress, names(paths), strict=True):
            try:
                pixels = photo.read(path)
            except InputError as error:
                progress.write(str(error), file=sys.stderr)
                failed += 1
                continue
            faces = photo.recognise(pixels, options.cropped, options.run)
            emotions = [f"{face.emotion} ({face.probabilities.max():.0%})" for face in faces]
            progress.write(f"{path}: {', '.join(emotions) or 'no face'}", file=sys.stdout)
            rows += [
                [path, f"{name}.png", number, *face.box, face.emotion, *face.probabilities.round(4)]
                for number, face in enumerate(faces, start=1)
            ]
            figures = {}
            if faces:
                figures[name] = plots.recognised(faces, pixels, photo.heat(faces[:ROWS], options.run))
            if faces and options.what_if:
                figures[f"{name}-what-if"] = photo.what_if_sheet(faces[0], photo.what_if(faces[0], options.run))
            for file, figure in figures.items():
                content = plots.png(figure)
                write_atomically(options.output / f"{file}.png", lambda file, content=content: file.write(content))
    if rows:
        table = pd.DataFrame(rows, columns=["photo", "picture", "face", "left", "top", "side", "emotion", *CLASSES])
        write_atomically(options.output / "faces.csv", lambda file: table.to_csv(file, index=False))
        print(f"faces found: {len(rows)}; {options.output / 'faces.csv'} lists them, and their pictures lie beside it")
    elif not failed:
        print("no face was found, so nothing is written")
    return 1 if failed else 0


def listed(photos: list[Path], output: Path) -> list[Path]:
    """The image files that are named, and those in named folders, without hidden ones and without earlier output."""
    paths = []
    for path in photos:
        if path.is_dir():
            inside = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in SUFFIXES]
            inside = [file for file in inside if not any(part.startswith(".") for part in file.relative_to(path).parts)]
            inside = [file for file in inside if output.resolve() not in file.resolve().parents]
            if not inside:
                raise InputError(f"{path} holds no images ({', '.join(SUFFIXES)})")
            paths += inside
        else:
            paths.append(path)
    return paths


def names(paths: list[Path]) -> list[str]:
    """A name for each photo's picture: its own, with a number where another picture has it."""
    taken: set[str] = set()
    result = []
    for path in paths:
        candidates = itertools.chain([path.stem], (f"{path.stem}-{number}" for number in itertools.count(2)))
        name = next(name for name in candidates if not {name.lower(), f"{name}-what-if".lower()} & taken)
        taken |= {name.lower(), f"{name}-what-if".lower()}
        result.append(name)
    return result


if __name__ == "__main__":
    sys.exit(main())
