"""Published ToMMeR heads <-> spaCy pipelines.

The layout itself is read and written by `heads.tommer_files`; the model is `architectures.tommer`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language

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
    """A blank pipeline with a published ToMMeR head in it, ready to run.

    source (Union[str, Path]): A folder with `parameters` and `definition.json`, or a hub id.
    llm (Optional[Union[str, Path]]): The head's LLM: hub id or folder. None: the hub id that the
        head names.
    revision (Optional[str]): Branch, tag or commit of the head's hub id.
    label (str): The label of its mentions.
    lang (str): The pipeline's language.
    name (str): The component's name.
    llm_settings (Optional[Dict]): Settings of `spacy_llm2ner.FrozenLLM.v1`: device, dtype ...
    settings: Settings of the component: threshold (as published: 0.5), decoding, annotate ...
    RETURNS (Language): The pipeline.
    RAISES: FileNotFoundError, OSError or ValueError, naming the file, if there is no such head.
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
    label (Optional[str]): Which label's head: the layout has room for one. May be left out if there
        is only one.
    llm_name (Optional[str]): The hub id of the LLM. None: what the head was read with, else the
        name in the pipeline's config.
    RAISES: ValueError if the component has no ToMMeR head, if it is read twice (the layout cannot
        say so), or if it must be said which label is meant.
    """
    pipe: Any = nlp.get_pipe(component)
    model: Any = getattr(pipe, "model", None)
    if getattr(model, "name", None) != "tommer":
        raise ValueError(
            f"llm2ner: the component '{component}' has no ToMMeR head "
            f"(spacy_llm2ner.ToMMeR.v1), so that it cannot be saved as one."
        )
    labels = list(pipe.labels)
    if label is None and len(labels) == 1:
        label = labels[0]
    if label not in labels:
        raise ValueError(
            f"llm2ner: the published layout has room for one label; '{component}' has "
            f"{', '.join(labels) or 'none'}. Give one of them as label, not {label!r}."
        )
    llm, head = shims_of(model)
    if llm.llm.settings.reading != "once":
        raise ValueError(
            f"llm2ner: '{component}' reads its texts {llm.llm.settings.reading}; the published "
            f"layout cannot say so, and other programs would read them once."
        )
    known = head.definition
    name = llm_name or (known.llm_name if known else llm.llm.settings.name)
    head.module.save_tommer(folder, name, llm.layer, labels.index(label))
