"""Shared code of the notebook series: facial emotion recognition on FER-2013, re-done and judged."""

from ferhelpers.environment import isolate

__version__ = "0.1.0"
isolate()
