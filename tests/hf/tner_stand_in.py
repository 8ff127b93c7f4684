"""What docs/migrate.md uses of T-NER, for an environment that cannot have T-NER.

T-NER 0.2.4 requires allennlp, which holds torch at versions that no Python of this project has.
`tests/test_migrate.py` compares this with T-NER itself where T-NER is installed without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers


class TransformersNER:
    """A checkpoint whose words are joined by single blanks; byte-level tokenizers, no CRF."""

    def __init__(self, model: str) -> None:
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(model)
        self.model = transformers.AutoModelForTokenClassification.from_pretrained(model).eval()

    def predict(self, inputs: list[str]) -> dict[str, list]:
        """The tag and the probability of each word's first piece, and the entities of tags."""
        rows = [self._tagged(text.split(" ")) for text in inputs]
        return {
            "prediction": [tags for _, tags, _ in rows],
            "probability": [probabilities for *_, probabilities in rows],
            "input": [words for words, *_ in rows],
            "entity_prediction": [entities(*row) for row in rows],
        }

    def _tagged(self, words: list[str]) -> tuple[list[str], list[str], list[float]]:
        pieces = [self.tokenizer.tokenize(" " * (i > 0) + word) for i, word in enumerate(words)]
        first = [1 + sum(map(len, pieces[:i])) for i in range(len(words))]  # behind <s>
        with torch.inference_mode():
            logits = self.model(**self.tokenizer(" ".join(words), return_tensors="pt")).logits
        probabilities, ids = logits[0, first].softmax(-1).max(-1)
        names = self.model.config.id2label
        return words, [names[i] for i in ids.tolist()], probabilities.tolist()


def entities(words: list[str], tags: list[str], probabilities: list[float]) -> list[dict[str, Any]]:
    """B- begins an entity, the I- of its type right behind it continue it; other I- are dropped."""
    found: list[dict[str, Any]] = []
    open_type = None
    for i, tag in enumerate(tags):
        prefix, _, label = tag.partition("-")
        if prefix == "B":
            found.append({"type": label, "entity": [], "position": [], "probability": []})
            open_type = label
        elif prefix == "O" or label != open_type:
            open_type = None
        if open_type is not None:
            for key, value in zip(
                ("entity", "position", "probability"), (words[i], i, probabilities[i]), strict=True
            ):
                found[-1][key].append(value)
    return found


def get_dataset(local_dataset: dict[str, str]) -> tuple[dict[str, dict[str, list]], dict[str, int]]:
    """Files of two columns, word and tag -> tokens and numbers of tags, tag -> number."""
    data: dict[str, dict[str, list]] = {}
    rows = {
        split: [
            [line.split() for line in sentence.splitlines()]
            for sentence in Path(path).read_text("utf8").strip().split("\n\n")
        ]
        for split, path in local_dataset.items()
    }
    names = sorted({line[-1] for sentences in rows.values() for row in sentences for line in row})
    label2id = {tag: number for number, tag in enumerate(names)}
    for split, sentences in rows.items():
        data[split] = {
            "tokens": [[line[0] for line in row] for row in sentences],
            "tags": [[label2id[line[-1]] for line in row] for row in sentences],
        }
    return data, label2id
