"""The progress of a run of the study on the terminal, and nothing else."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager

from tqdm import tqdm


def duration(seconds: float) -> str:
    """A time for people: "45 s", "3 min 05 s", "2 h 10 min"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


class Progress(AbstractContextManager):
    """One bar over the code cells of all notebooks, with the last line that the running one printed.

    Where standard output is no terminal, every line that a notebook prints becomes a line. papermill takes it for the
    file that a notebook prints to; nbclient calls `cell_begins` and `cell_ends`.

    Args:
        cells: how many there are in all.

    Attributes:
        source: the code of the running cell.
    """

    def __init__(self, cells: int):
        self._live = sys.stdout.isatty()
        self._bar = tqdm(
            total=cells,
            disable=not self._live,
            file=sys.stdout,
            dynamic_ncols=True,
            bar_format="{percentage:3.0f}% |{bar:10}| {elapsed}  {desc}",
        )
        self.source = self._notebook = self._rest = ""
        self._began = 0.0

    def close(self, *error) -> None:
        """No more is shown."""
        self._bar.close()

    __exit__ = close

    def start(self, notebook: str) -> None:
        """A notebook begins."""
        self._notebook, self._began, self._rest = notebook, time.monotonic(), ""
        self._show("begins")

    def finish(self) -> None:
        """The notebook is done."""
        self._show(f"done in {duration(time.monotonic() - self._began)}")

    def cell_begins(self, cell, cell_index) -> None:
        self.source = cell.source

    def cell_ends(self, **cell) -> None:
        self._bar.update()

    def write(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")  # an unfinished line waits for its end
        for line in filter(str.strip, lines):
            self._show(line)

    def flush(self) -> None:
        pass

    def _show(self, line: str) -> None:
        if self._live:
            self._bar.set_description_str(f"{self._notebook}  {line.strip()}")
        else:
            print(f"{self._notebook}  {line}", flush=True)
