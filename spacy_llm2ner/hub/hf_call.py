"""A pipeline that is called as one of transformers for token classification."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, overload

from spacy.language import Language
from spacy.tokens import Doc

from ..pipeline.scores import scored_spans, span_score
from ..settings import check_choice

TASKS = ("token-classification", "ner")
_STRATEGIES = ("simple", "first", "average", "max")

Entity = dict[str, Any]


class TokenClassification:
    """A pipeline with the call of transformers' `pipeline("token-classification")`.

    A text gives a list of entities, a list of texts a list of such lists, any other iterable of
    texts an iterator over them. An entity has `entity_group`, `score`, `word`, `start` and `end`.

    nlp (Language): The pipeline.
    spans_key (Optional[str]): The key of `doc.spans` to take; None for `doc.ents`.
    """

    task = "token-classification"

    def __init__(self, nlp: Language, spans_key: str | None = None) -> None:
        self.nlp = nlp
        self.spans_key = spans_key

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, inputs: str, *, batch_size: int = ..., aggregation_strategy: str = ...
    ) -> list[Entity]: ...

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, inputs: list[str], *, batch_size: int = ..., aggregation_strategy: str = ...
    ) -> list[list[Entity]]: ...

    @overload
    def __call__(
        self, inputs: Iterable[str], *, batch_size: int = ..., aggregation_strategy: str = ...
    ) -> Iterator[list[Entity]]: ...

    def __call__(
        self,
        inputs: str | Iterable[str],
        *,
        batch_size: int = 128,
        aggregation_strategy: str = "simple",
    ) -> Any:
        """Find the entities of texts.

        inputs (Union[str, Iterable[str]]): A text, a list of texts, or any iterable of them.
        batch_size (int): Texts at once.
        aggregation_strategy (str): "simple", "first", "average" or "max". They mean the same here:
            the pipeline finds whole entities, and there are no pieces to aggregate.
        RETURNS (Union[List[Dict], List[List[Dict]], Iterator[List[Dict]]]): The entities.
        RAISES (ValueError): For another strategy, such as "none" (E001).
        """
        check_choice("aggregation_strategy", aggregation_strategy, _STRATEGIES, component=self.task)
        if isinstance(inputs, str):
            return self._entities(self.nlp(inputs))
        found = (self._entities(doc) for doc in self.nlp.pipe(inputs, batch_size=batch_size))
        return list(found) if isinstance(inputs, list | tuple) else found

    def _entities(self, doc: Doc) -> list[Entity]:
        spans = (
            [(ent, span_score(ent)) for ent in doc.ents]
            if self.spans_key is None
            else scored_spans(doc, self.spans_key)
        )
        return [
            {
                "entity_group": span.label_,
                "score": score,
                "word": span.text,
                "start": span.start_char,
                "end": span.end_char,
            }
            for span, score in spans
        ]
