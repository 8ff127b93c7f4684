"""Formats of texts with offsets, as tools for annotation write them: one file each."""

from typing import Any

from . import argilla, brat, doccano, label_studio, prodigy, spacy_json
from .base import Reading, TextFormat

TEXT_FORMATS: dict[Any, TextFormat] = {
    "spacy_json": spacy_json.FORMAT,
    "prodigy": prodigy.FORMAT,
    "label_studio": label_studio.FORMAT,
    "doccano": doccano.FORMAT,
    "argilla": argilla.FORMAT,
    "brat": brat.FORMAT,
}
"""Name of a format -> the format. A new one also goes into `formats.py`."""

__all__ = ["TEXT_FORMATS", "Reading", "TextFormat"]
