"""The factory "llm2ner_prompted"."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections.abc import Callable
from typing import Literal

from spacy.language import Language
from thinc.api import Model
from thinc.types import Floats1d

from .architecture import Instance
from .component import DEFAULT_MODEL, PromptedRecognizer


@Language.factory(
    "llm2ner_prompted",
    assigns=["doc.ents", "doc.spans", "doc.user_data", "token.ent_iob", "token.ent_type"],
    default_config={
        "model": DEFAULT_MODEL,
        "labels": [],
        "label_names": {},
        "dataset": None,
        "decoding": "constrained",
        "parser": "robust",
        "bio": "gner",
        "beams": 1,
        "chunk_words": 80,
        "spans_key": "sc",
        "annotate": "both",
        "threshold": 0.0,
        "on_existing_ents": "keep",
        "keep_answers": False,
        "shuffle_labels": True,
        "drop_labels": 0.0,
        "negative_labels": None,
        "scorer": {"@scorers": "spacy_llm2ner.prompted_scorer.v1"},
    },
    default_score_weights={
        "ents_f": 1.0,
        "ents_p": 0.0,
        "ents_r": 0.0,
        "ents_per_type": None,
        "entity_position_f": None,
        "gner_string_f": None,
    },
)
def make_prompted(
    nlp: Language,
    name: str,
    model: Model[list[Instance], list[Floats1d]],
    labels: list[str] | dict[str, str],
    label_names: dict[str, str],
    dataset: str | None,
    decoding: Literal["free", "constrained", "one_pass"],
    parser: Literal["robust", "gner"],
    bio: Literal["gner", "conll", "strict"],
    beams: int,
    chunk_words: int,
    spans_key: str,
    annotate: Literal["spans", "ents", "both"],
    threshold: float | dict[str, float],
    on_existing_ents: Literal["keep", "replace", "merge"],
    keep_answers: bool,
    shuffle_labels: bool,
    drop_labels: float,
    negative_labels: int | None,
    scorer: Callable | None,
) -> PromptedRecognizer:
    """Make the component "llm2ner_prompted".

    model (Model[List[Instance], List[Floats1d]]): The LLM, e.g. `spacy_llm2ner.PromptedLLM.v1`.
    labels (Union[List[str], Dict[str, str]]): The labels that are asked for, or labels with
        descriptions, which then stand in the prompt.
    label_names (Dict[str, str]): What the prompt calls labels, e.g. {"PER": "person"}.
    dataset (Optional[str]): GNER's optional line with the name of a corpus.
    decoding (str): "free": the LLM writes, and its answer is parsed. "constrained": it may only
        copy the text's words and choose among the tags. "one_pass": likewise, in a single pass and
        less exactly.
    parser (str): How free answers are read: "robust", or as the published evaluator does: "gner".
    bio (str): How tags that are no valid BIO are read: see `prompting.spans.tags_to_spans`.
    beams (int): Beams of free answers; 1 = greedy.
    chunk_words (int): The most words that are asked about at once; longer texts go by sentences.
    spans_key (str): The key of `doc.spans` that is written. In training, gold spans are looked for
        under this key, else in `doc.ents`.
    annotate (str): What is written: "spans", "ents" or "both".
    threshold (Union[float, Dict[str, float]]): The probability from which a span counts: one for
        all labels, or one per label (0 for labels that are not named).
    on_existing_ents (str): "keep" entities that are there, "replace" them all, or "merge": ours win
        where they overlap.
    keep_answers (bool): Put free answers into `doc.user_data[name]["answers"]`.
    shuffle_labels (bool): In training, name the labels in random order in each prompt (GNER).
    drop_labels (float): In training, the probability of each label to be left out, with its
        entities (GLiNER).
    negative_labels (Optional[int]): In training, how many labels are named of which there is no
        entity, sampled by frequency (UniversalNER). null: all of them (GNER).
    scorer (Optional[Callable]): The scoring method.
    """
    return PromptedRecognizer(
        nlp.vocab,
        model,
        name,
        labels=labels,
        label_names=label_names,
        dataset=dataset,
        decoding=decoding,
        parser=parser,
        bio=bio,
        beams=beams,
        chunk_words=chunk_words,
        spans_key=spans_key,
        annotate=annotate,
        threshold=threshold,
        on_existing_ents=on_existing_ents,
        keep_answers=keep_answers,
        shuffle_labels=shuffle_labels,
        drop_labels=drop_labels,
        negative_labels=negative_labels,
        scorer=scorer,
    )
