"""The results of a sweep on disk: finished trainings, so that a stopped sweep can continue."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import srsly
from spacy.training import Example

from ..errors import Errors
from ..pipeline.gold import read_gold
from .layer_sets import Layers, Measured
from .training import Score


def digest_of(counts: Mapping[str, Any], data: Sequence[Sequence[Example]], spans_key: str) -> str:
    """sha256 over all that scores depend on, besides layers and seed.

    counts (Mapping[str, Any]): Output of `training.what_counts`.
    data (Sequence[Sequence[Example]]): Training and dev data.
    spans_key (str): The span group that may hold gold spans.
    RETURNS (str): Hex digits.
    """
    digest = hashlib.sha256(json.dumps(counts, sort_keys=True, default=str).encode("utf8"))
    for examples in data:
        for example in examples:
            gold = read_gold(example, spans_key)
            tokens = [(t.idx, len(t)) for t in example.predicted]
            text = [example.predicted.text, tokens, gold.spans, gold.known.tolist()]
            if gold.annotated is not None:
                text.append(sorted(gold.annotated))
            digest.update(json.dumps(text).encode("utf8"))
        digest.update(b"|")
    return digest.hexdigest()


class Trainings:
    """Finished trainings, in a JSON file that is rewritten after each of them.

    path (Path): The file.
    digest (str): What the trainings depend on; see `digest_of`.
    anew (bool): Whether to ignore a file that exists.
    RAISES (FileExistsError): If the file is of another sweep (E661).
    RAISES (ValueError): If it cannot be read (E662).
    """

    def __init__(self, path: Path, digest: str, *, anew: bool = False) -> None:
        self.path, self.digest = path, digest
        self.facts: dict[str, Any] = {}
        self._scores: dict[tuple[Layers, int], Score] = {}
        if path.is_file() and not anew:
            self._load()
        self.resumed = len(self._scores)

    def _load(self) -> None:
        try:
            stored = srsly.read_json(self.path)
            digest, rows = stored["digest"], stored["trainings"]
            self._scores = {
                (tuple(row["layers"]), row["seed"]): Score(row["f"], row["mention_f"])
                for row in rows
            }
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(Errors.E662.format(path=self.path, error=repr(error))) from error
        if digest != self.digest:
            raise FileExistsError(Errors.E661.format(path=self.path))

    def get(self, layers: Layers, seed: int) -> Score | None:
        """The scores of a finished training; None if there is none."""
        return self._scores.get((layers, seed))

    def add(self, layers: Layers, seed: int, score: Score) -> None:
        """Keep a training, on disk as well."""
        self._scores[layers, seed] = score
        self.save()

    def measured(self, layers: Layers, seeds: Sequence[int]) -> Measured:
        """The scores of a set of layers, of finished trainings with these seeds."""
        scores = [self._scores[layers, seed] for seed in seeds]
        return Measured(layers, tuple(s.f for s in scores), tuple(s.mention_f for s in scores))

    def save(self) -> None:
        """Write the file: the facts, then the trainings. A stopped process leaves a whole file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(self.path.name + ".new")
        rows = [
            {"layers": list(layers), "seed": seed, "f": score.f, "mention_f": score.mention_f}
            for (layers, seed), score in self._scores.items()
        ]
        payload = {"digest": self.digest, **self.facts, "trainings": rows}
        new.write_text(json.dumps(payload, indent=1) + "\n", encoding="utf8")
        new.replace(self.path)
