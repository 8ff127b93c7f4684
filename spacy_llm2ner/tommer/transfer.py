"""Published ToMMeR heads <-> spaCy pipelines.

The published layout is read and written by `files`; the model is in `architecture`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language

from ..errors import Errors
from .files import TommerDefinition, read_definition, read_tommer
from .shims import shims_of

__all__ = ["TommerDefinition", "load_tommer", "read_definition", "read_tommer", "save_tommer"]


def load_tommer(
    source: str | Path,
    llm: str | Path | None = None,
    *,
    revision: str | None = None,
    label: str = "MENTION",
    lang: str = "en",
    name: str = "llm2ner",
    llm_settings: dict[str, Any] | None = None,
    **settings: Any,
) -> Language:
    """Make a blank pipeline with a published ToMMeR head, ready to run.

    source (Union[str, Path]): A folder with `parameters` and `definition.json`, or a hub id.
    llm (Optional[Union[str, Path]]): The head's LLM: hub id or folder. None: the hub id that the
        head names.
    revision (Optional[str]): Branch, tag or commit of the head's hub id.
    label (str): The label of its mentions.
    lang (str): The pipeline's language code.
    name (str): The component's name.
    llm_settings (Optional[Dict]): Settings of `spacy_llm2ner.FrozenLLM.v1`: device, dtype ...
    settings: Settings of the component: threshold (as published: 0.5), decoding, annotate ...
    RETURNS (Language): The pipeline.
    RAISES (FileNotFoundError, OSError, ValueError): If there is no such head; names the file.
    """
    definition = read_definition(source, revision)
    known_as = None if llm is None else Path(str(llm).rstrip("/")).name
    model = {
        "@architectures": "spacy_llm2ner.ToMMeR.v1",
        "source": str(source),
        "revision": revision,
        "label": label,
        "llm_name": known_as,
        "llm": {
            "@architectures": "spacy_llm2ner.FrozenLLM.v1",
            "name": definition.llm_name if llm is None else str(llm),
            **(llm_settings or {}),
        },
    }
    nlp = spacy.blank(lang)
    nlp.add_pipe("llm2ner", name=name, config={"model": model, **settings})
    return nlp


def save_tommer(
    nlp: Language,
    folder: str | Path,
    *,
    component: str = "llm2ner",
    label: str | None = None,
    llm_name: str | None = None,
) -> None:
    """Write a pipeline's ToMMeR head in the published layout.

    nlp (Language): The pipeline.
    folder (Union[str, Path]): The folder to write to.
    component (str): The component's name.
    label (Optional[str]): The label to write: the layout has room for one. None: the only one.
    llm_name (Optional[str]): The hub id of the LLM. None: the name in the published head, else the
        name in the pipeline's config.
    RAISES (ValueError): If the component has no ToMMeR head, if it reads its texts twice (which the
        layout cannot record), or if there are several labels and none is given.
    """
    pipe: Any = nlp.get_pipe(component)
    model: Any = getattr(pipe, "model", None)
    if getattr(model, "name", None) != "tommer":
        raise ValueError(Errors.E420.format(name=component))
    labels = list(pipe.labels)
    if label is None and len(labels) == 1:
        label = labels[0]
    if label not in labels:
        known_labels = ", ".join(labels) or "none"
        raise ValueError(Errors.E421.format(name=component, labels=known_labels, label=label))
    llm, head = shims_of(model)
    if llm.llm.settings.reading != "once":
        raise ValueError(Errors.E422.format(name=component, reading=llm.llm.settings.reading))
    known = head.definition
    name = llm_name or (known.llm_name if known else llm.llm.settings.name)
    head.module.save_tommer(folder, name, llm.layer, labels.index(label))
