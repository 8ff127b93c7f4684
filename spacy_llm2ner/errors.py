"""Catalogue of errors and warnings: each text that a user may read, under its code.

As in `spacy.errors`, a text is a template that the place of the error fills in:

    raise ValueError(Errors.E101.format(folder=folder))
    warnings.warn(Warnings.W05.format(name=self.name, lost=3, total=9))

and what the user reads begins with the code: "[L2N-E101] ...". A text names the component, the
setting, the value that was given and the values that are accepted. Codes are never reused; codes of
errors go by folder:

    E0xx settings of any kind
    E1xx llm                 E4xx tommer, hf            E7xx corpora
    E2xx heads, decoding,    E5xx few_shot, prompted    E8xx reports, hub
         losses, tags        E6xx calibration,          E9xx cli
    E3xx architectures,           distillation
         pipeline

The warnings are described in docs/warnings.md.
"""

from __future__ import annotations

_PREFIX = "L2N-"


class _WithCodes(type):
    """Metaclass that puts its code before each text."""

    def __getattribute__(cls, name: str) -> str:
        text = super().__getattribute__(name)
        return text if name.startswith("_") else f"[{_PREFIX}{name}] {text}"


class Errors(metaclass=_WithCodes):
    """Texts of errors."""

    # E0xx settings of any kind
    E001 = "{component}: the setting {setting} is {value}; accepted are {accepted}."
    E002 = "{component}: the setting {setting} is {value}; it must be a number {bounds}."

    # E1xx llm

    # E2xx heads, decoding, losses, tags

    # E3xx architectures, pipeline

    # E4xx tommer, hf

    # E5xx few_shot, prompted
    E500 = (
        "llm2ner_prompted: the setting 'model.name' is not set, and there is no default. Give the "
        "hub id, the folder or the GGUF file of an LLM that was trained to follow instructions, "
        "e.g. nlp.add_pipe('llm2ner_prompted', config={{'model': {{'name': "
        "'dyyyyyyyy/GNER-T5-large'}}, 'labels': ['person', 'city']}})."
    )

    # E6xx calibration, distillation

    # E7xx corpora

    # E8xx reports, hub

    # E9xx cli


class Warnings(metaclass=_WithCodes):
    """Texts of warnings; `spacy.errors.filter_warning` can silence one by its code."""

    # W0x the span recogniser and what it shares with other components

    # W2x token taggers

    # W3x few-shot recognition

    # W4x prompted recognition
