"""Shared code of the notebook series: facial emotion recognition on FER-2013, re-done and judged."""

from ferhelpers.environment import isolate

__version__ = "0.1.0"
isolate()


def recognise(image, cropped: bool = False) -> list:
    """The faces of a photo and their emotions, by the network that comes with the package: see photo.recognise."""
    from ferhelpers import photo  # loads TensorFlow

    return photo.recognise(image, cropped)
