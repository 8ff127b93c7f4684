"""What meta.json says of the data that a pipeline was trained on, and of how it scores.

`spacy info` prints these entries: "training_data" by component, as "labels" has it, and
"evaluation". The scores themselves are where spaCy has them, in "performance".
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.training import Example

from .gold import annotated_spans

TRAINING_DATA = "training_data"
EVALUATION = "evaluation"
PERFORMANCE = "performance"


class DataFacts:
    """Size, labels and digest of annotated texts, counted as they are read.

    spans_key (str): The span group that may hold the annotation.
    """

    def __init__(self, spans_key: str) -> None:
        self.spans_key = spans_key
        self.texts = self.tokens = 0
        self.labels: Counter[str] = Counter()
        self._digest = hashlib.sha256()

    def count(self, examples: Iterable[Example]) -> Iterator[Example]:
        """Count examples.

        examples (Iterable[Example]): The examples.
        YIELDS (Example): The same, in order.
        """
        for example in examples:
            doc = example.reference
            spans = annotated_spans(doc, self.spans_key) or []
            self.texts += 1
            self.tokens += len(doc)
            self.labels.update(span.label_ for span in spans)
            found = sorted((span.start_char, span.end_char, span.label_) for span in spans)
            self._digest.update(json.dumps([doc.text, found]).encode("utf8"))
            yield example

    def as_json(self) -> dict[str, Any]:
        """The facts. The digest is one of all texts with their spans, in this order."""
        return {
            "texts": self.texts,
            "tokens": self.tokens,
            "spans": dict(self.labels.most_common()),
            "sha256": self._digest.hexdigest(),
        }


def record_training(nlp: Language | None, component: str, facts: DataFacts) -> None:
    """Note in the meta of a pipeline what a component is trained on, before the training.

    Scores of an earlier evaluation are those of other weights, and are removed.

    nlp (Optional[Language]): The pipeline; None if the component is initialised by itself.
    component (str): The name of the component.
    facts (DataFacts): What was counted.
    """
    if nlp is None:
        return
    forget_evaluation(nlp.meta)
    if not facts.labels:  # such as the one text with which spaCy initialises without data
        return
    names = {which: _name_of(nlp, f"{which}_corpus") for which in ("train", "dev")}
    training = nlp.config["training"]
    streamed = training.get("max_epochs") == -1
    # spaCy shows a component only the first texts of a corpus that is streamed.
    counted = {"texts": "streamed"} if streamed else facts.as_json()
    found = {"data": names["train"], **counted, "dev_data": names["dev"]}
    nlp.meta.setdefault(TRAINING_DATA, {})[component] = {
        key: value for key, value in found.items() if value is not None
    }


def record_evaluation(
    meta: dict[str, Any], performance: Mapping[str, Any], facts: Mapping[str, Any]
) -> None:
    """Note in a meta how its pipeline scores.

    meta (Dict[str, Any]): The meta, which is changed.
    performance (Mapping[str, Any]): Scores under the names of spaCy, such as "ents_f". They replace
        those of the development data that `spacy train` stores.
    facts (Mapping[str, Any]): What the data is, with its name as "data".
    """
    meta[PERFORMANCE] = dict(performance)
    scores = {key: value for key, value in performance.items() if key.endswith(("_p", "_r", "_f"))}
    meta[EVALUATION] = {**facts, **scores}


def forget_evaluation(meta: dict[str, Any]) -> bool:
    """Remove the scores of an evaluation, because the pipeline is another one now.

    meta (Dict[str, Any]): The meta, which is changed.
    RETURNS (bool): Whether there were any.
    """
    if meta.pop(EVALUATION, None) is None:
        return False
    meta.pop(PERFORMANCE, None)
    return True


def _name_of(nlp: Language, setting: str) -> str | None:
    """The names of the files or datasets of a corpus of the config; None if it names none."""
    where = str(nlp.config["training"].get(setting) or "")
    block: Any = nlp.config.interpolate()
    for part in where.split("."):
        block = block.get(part, {}) if isinstance(block, Mapping) else {}
    return ", ".join(dict.fromkeys(_names(block))) or None


def _names(block: Mapping[str, Any]) -> Iterator[str]:
    """The names in the block of a reader, and in the blocks of readers that it joins."""
    path = block.get("path")
    if path:
        # The end of a path; a dataset on the hub has a name of two parts.
        name = Path(str(path)).name if Path(str(path)).exists() else str(path)
        yield f"{name} ({block['split']})" if block.get("split") else name
    for value in block.values():
        if isinstance(value, Mapping):
            yield from _names(value)
