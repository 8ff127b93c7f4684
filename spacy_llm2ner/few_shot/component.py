"""Few-shot recognition: `nlp.add_pipe("llm2ner_fewshot", config={"labels": {...}})`."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Model
from thinc.types import Floats3d

from ..batching import batches
from ..decoding.spans import Spans, decode
from ..log import logger
from ..pipeline.base import (
    ANNOTATE,
    DEFAULT_THRESHOLD,
    ON_EXISTING_ENTS,
    LLMPipe,
    OnExistingEnts,
    ReadingLog,
    check_threshold,
    no_spans,
)
from ..pipeline.gold import Gold, read_gold
from ..pipeline.pretrained_head import with_pretrained_head
from ..pipeline.scorer import score_span_recognizer
from ..pipeline.span_recognizer import DEFAULT_MODEL
from ..settings import check_choice
from .examples import (
    OTHER,
    Annotated,
    Classified,
    Strings,
    carry,
    count_line,
    fit_labels,
    keep_scorer,
    kept_scorer,
)
from .label_words import default_words, is_word
from .prototypes import LabelScorer

# Tokens whose states are held at once.
_TOKENS_AT_ONCE = 20_000
# Annotated mentions from which a head of its own is the better choice.
_MANY_MENTIONS = 2_000


@Language.factory(
    "llm2ner_fewshot",
    assigns=["doc.ents", "doc.spans", "token.ent_iob", "token.ent_type"],
    default_config={
        "model": DEFAULT_MODEL,
        "labels": {},
        "words": {},
        "other": [],
        "pretrained": "mentions",
        "spans_key": "sc",
        "annotate": "both",
        "threshold": DEFAULT_THRESHOLD,
        "on_existing_ents": "keep",
        "bundle_llm": False,
        "scorer": {"@scorers": "spacy_llm2ner.span_recognizer_scorer.v1"},
    },
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def make_few_shot(
    nlp: Language,
    name: str,
    model: Model[list[Doc], list[Floats3d]],
    labels: dict[str, list[str]] | list[str],
    words: dict[str, list[str]],
    other: list[str],
    pretrained: str,
    spans_key: str,
    annotate: Literal["spans", "ents", "both"],
    threshold: float,
    on_existing_ents: Literal["keep", "replace", "merge"],
    bundle_llm: bool,
    scorer: Callable | None,
) -> "FewShotRecognizer":
    """Make the component "llm2ner_fewshot".

    model (Model[List[Doc], List[Floats3d]]): `spacy_llm2ner.SpanRecognizer.v1`, of which the LLM is
        used; the head is that of `pretrained`.
    labels (Union[Dict[str, List[str]], List[str]]): For each label some names of things that have
        it, e.g. {"PER": ["John Smith"], "LOC": ["Paris", "Lake Geneva"]}. A list of labels, or
        empty lists of names, if there are annotated texts (`nlp.initialize`), or nothing but words.
    words (Dict[str, List[str]]): What a label means, in a few nouns, e.g. {"PER": ["person",
        "politician"]}. Of a label that is not named here: the label itself, or for those of
        CoNLL-2003 and OntoNotes words of a table. An empty list: none.
    other (List[str]): Names of things that have none of the labels.
    pretrained (str): The head that finds mentions, of those that come with the package.
    spans_key (str): The key of `doc.spans` that is written. Annotated spans are looked for under
        this key, else in `doc.ents`.
    annotate (str): What is written: "spans", "ents" or "both".
    threshold (float): The probability, that a span is a mention and has one of the labels, from
        which it counts.
    on_existing_ents (str): "keep" entities that are there, "replace" them all, or "merge": ours win
        where they overlap.
    bundle_llm (bool): Write the cut LLM into the component's folder.
    scorer (Optional[Callable]): The scoring method.
    """
    return FewShotRecognizer(
        nlp.vocab,
        model,
        name,
        labels=labels,
        words=words,
        other=other,
        pretrained=pretrained,
        spans_key=spans_key,
        annotate=annotate,
        threshold=threshold,
        on_existing_ents=on_existing_ents,
        bundle_llm=bundle_llm,
        scorer=scorer,
    )


class FewShotRecognizer(LLMPipe):
    """Finds mentions with a head that comes trained, and labels them by a few examples per label.

    Nothing is trained but a logistic regression on the states of the mentions' last tokens, in
    the moment when it is first needed. It learns from names given as strings (`labels`), from words
    that say what a label means (`words`), and from annotated texts (`initialize`), in any mixture.

    Writes `doc.ents` and `doc.spans[spans_key]`, with scores in `span._.score` and
    `doc.spans[spans_key].attrs["scores"]`.
    """

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], list[Floats3d]],
        name: str = "llm2ner_fewshot",
        *,
        labels: Mapping[str, Sequence[str]] | Sequence[str] = (),
        words: Mapping[str, Sequence[str]] | None = None,
        other: Sequence[str] = (),
        pretrained: str = "mentions",
        spans_key: str = "sc",
        annotate: Literal["spans", "ents", "both"] = "both",
        threshold: float = DEFAULT_THRESHOLD,
        on_existing_ents: OnExistingEnts = "keep",
        bundle_llm: bool = False,
        scorer: Callable | None = score_span_recognizer,
    ) -> None:
        """Make a component; see `make_few_shot` for the settings.

        RAISES: ValueError for a setting that is none of the accepted values.
        """
        check_choice("annotate", annotate, ANNOTATE, component=name)
        check_choice("on_existing_ents", on_existing_ents, ON_EXISTING_ENTS, component=name)
        check_threshold(name, threshold)
        super().__init__(
            vocab,
            with_pretrained_head(name, model, pretrained),
            name,
            spans_key=spans_key,
            annotate=annotate,
            threshold=threshold,
            on_existing_ents=on_existing_ents,
            bundle_llm=bundle_llm,
        )
        self.scorer = scorer
        strings = labels if isinstance(labels, Mapping) else dict.fromkeys(labels, ())
        self.strings = {label: tuple(given) for label, given in strings.items()}
        self.words = {label: tuple(given) for label, given in (words or {}).items()}
        self.other = tuple(other)
        self._check_strings()
        self.cfg["setting"] = list(self.strings)
        for label in self.strings:
            self.add_label(label)

    def _check_strings(self) -> None:
        unknown = sorted({*self.words} - {*self.strings}) if self.strings else []
        if unknown:
            raise ValueError(
                f"{self.name}: the setting 'words' names the label '{unknown[0]}', but the setting "
                f"'labels' has {', '.join(self.strings)}. Add it there, with an empty list if "
                f"there are no names for it."
            )
        for setting, given in (
            *((f"labels.{label}", given) for label, given in self.strings.items()),
            *((f"words.{label}", given) for label, given in self.words.items()),
            ("other", self.other),
        ):
            if any(not string.strip() or string != string.strip() for string in given):
                raise ValueError(
                    f"{self.name}: the setting '{setting}' is {list(given)}; names or words are "
                    f"expected, none of them empty or with white space around it."
                )

    # Labels -----------------------------------------------------------------------------------

    def add_label(self, label: str) -> int:
        """Add a label: until it has examples, what it means is guessed from its words.

        label (str): The label.
        RETURNS (int): 1 if it was added, 0 if it was there.
        RAISES: ValueError if it is no string, or an empty one.
        """
        if label == OTHER:
            raise ValueError(
                f"{self.name}: a label is empty, in the setting 'labels' or in the annotation. "
                f"Every label needs a name."
            )
        return super().add_label(label)

    def set_output(self, nO: int) -> None:
        """Nothing to do: labels are no part of the mention head.

        nO (int): The number of labels.
        """

    # Learning ---------------------------------------------------------------------------------

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: list[str] | None = None,
    ) -> None:
        """Learn from annotated texts; what was learnt from others before is forgotten.

        Annotated entities are examples of their labels. Mentions that are found where nothing is
        annotated are examples of what has no label.

        get_examples (Callable[[], Iterable[Example]]): Gives the texts: a few will do, and texts
            without annotation do no harm.
        nlp (Optional[Language]): The pipeline.
        labels (Optional[List[str]]): The labels; None = those of the data. Those of the setting
            `labels` are always among them.
        RAISES: TypeError if `get_examples` is not what is described above; ValueError if there are
            no labels, or if gold labels are missing from those that are given.
        """
        validate_get_examples(get_examples, "FewShotRecognizer.initialize")
        self._warned.clear()
        examples = list(get_examples())
        golds = [read_gold(example, self.key) for example in examples]
        self._take_labels(golds, labels)
        self._learn_annotated(examples, golds)
        self._scorer()

    def _learn_annotated(self, examples: list[Example], golds: list[Gold]) -> None:
        annotated = Annotated()
        for shim in self._llm_shims():
            shim.llm.remember()
        pairs = zip(examples, golds, strict=True)
        said = [(example.predicted, gold) for example, gold in pairs if gold.known.any()]
        if said:
            docs, golds = [doc for doc, _ in said], [gold for _, gold in said]
            with ReadingLog(self, always=True):
                for gold, (states, band) in zip(golds, self._read(docs), strict=True):
                    found = self._mentions(band, DEFAULT_THRESHOLD)
                    annotated.add(gold, states, found, self._vectors)
        annotated.store(self.model)
        total = annotated.n_gold
        if annotated.lost:
            self._warn(
                "L2N-W42",
                f"{annotated.lost} of {total} annotated spans do not begin and end where tokens of "
                f"the pipeline's tokenizer do, or end with a token that the LLM does not see, and "
                f"cannot be learnt.",
            )
        if 2 * annotated.n_found < total:
            self._warn(
                "L2N-W44",
                f"the mention head finds {annotated.n_found} of {total} annotated spans. What it "
                f"does not find gets no label: for spans of this kind, train 'llm2ner'.",
            )
        if total > _MANY_MENTIONS:
            self._warn(
                "L2N-W41",
                f"there are {total} annotated spans. From so many a head of its own learns more, "
                f"boundaries included: train 'llm2ner'.",
            )
        if total:
            logger.info(
                "%s: the mention head finds %d of %d annotated spans, and %d mentions that are "
                "none of them",
                *(self.name, annotated.n_found, total, annotated.n_other),
            )

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Any = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Nothing to do: all is learnt in `initialize`. Warns once, [L2N-W43].

        RETURNS (Dict[str, float]): The losses, with 0 for this component.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        validate_examples(examples, "FewShotRecognizer.update")
        self._warn(
            "L2N-W43",
            "this component learns from examples in nlp.initialize() and has nothing to update. "
            "For training in steps there is 'llm2ner'.",
        )
        return losses

    def _scorer(self) -> LabelScorer:
        """Probabilities of labels for mentions' vectors.

        Fitted when it is first needed, and kept with the weights for as long as the settings and
        the labels are the same.
        """
        made_from = json.dumps([self.labels, self.strings, self.words, self.other])
        scorer = kept_scorer(self.model, made_from)
        if scorer is None:
            scorer = self._fit()
            keep_scorer(self.model, scorer, made_from)
        return scorer

    def _fit(self) -> LabelScorer:
        annotated = Annotated.of_model(self.model).only(self.labels)
        names = {**{label: self.strings.get(label, ()) for label in self.labels}, OTHER: self.other}
        words = self._words({*annotated.classes, *(label for label in names if names[label])})
        logger.info("%s: %s", self.name, count_line(annotated, names, words))
        return fit_labels(self.labels, annotated, names, words, self._read_strings)

    def _words(self, exemplified: set[str]) -> dict[str, tuple[str, ...]]:
        """What each label means: by the settings, or by the label itself.

        RAISES: ValueError for a label without words that is not among the exemplified ones.
        """
        words, vague = {}, []
        for label in self.labels:
            words[label] = self.words.get(label, default_words(label))
            if label not in self.words and not is_word(label):
                words[label] = () if label in exemplified else words[label]
                vague += [] if label in exemplified else [label]
            if not words[label] and label not in exemplified:
                raise ValueError(
                    f"{self.name}: for the label '{label}' there are neither annotated texts nor "
                    f"names in the setting 'labels' nor words in the setting 'words'. Give some, "
                    f"e.g. 'words': {{'{label}': ['person']}}."
                )
        if vague:
            self._warn(
                "L2N-W40",
                f"for {', '.join(vague)} there are neither annotated texts nor names in the "
                f"setting 'labels', and the label is no English word. Give a few names, or say by "
                f"the setting 'words' what it means.",
            )
        return words

    # Predicting -------------------------------------------------------------------------------

    def predict(self, docs: Iterable[Doc]) -> list[Spans]:
        """Find and label the mentions of docs, without changing the docs.

        docs (Iterable[Doc]): The docs.
        RETURNS (List[Spans]): For each doc disjoint spans; a score is the probability that the span
            is a mention, times that of its label.
        RAISES: ValueError if there are no labels.
        """
        docs = list(docs)
        if not any(len(doc) for doc in docs):
            return [no_spans() for _ in docs]
        if not self.labels:
            raise ValueError(
                f"{self.name}: there are no labels. Give them with a few names each by the setting "
                f"'labels', e.g. nlp.add_pipe('llm2ner_fewshot', config={{'labels': {{'PER': "
                f"['John Smith'], 'LOC': ['Paris']}}}}), or by nlp.initialize() with annotated "
                f"examples."
            )
        scorer = self._scorer()
        with ReadingLog(self, always=False):
            return [self._label(scorer, states, band) for states, band in self._read(docs)]

    def _label(self, scorer: LabelScorer, states: np.ndarray, band: np.ndarray) -> Spans:
        found = self._mentions(band, self.settings["threshold"])
        p = scorer.probabilities(self._vectors(states, found.ends))
        labelled = p[:, : len(self.labels)]
        best = labelled.argmax(axis=1).astype(np.int32)
        scores = found.scores * labelled[np.arange(len(best)), best]
        # Unsure which label is no reason to leave a mention out; unsure whether any label is.
        any_label = found.scores * labelled.sum(axis=1)
        kept = any_label >= np.float32(self.settings["threshold"])
        return Spans(found.starts, found.ends, best, scores).select(kept)

    def _read(self, docs: list[Doc]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each doc its states (tokens, layers, width) and the mention head's band."""
        self._require_head()
        llm, head = self.model.layers
        for some in batches(docs, _TOKENS_AT_ONCE):
            states = llm.predict(some)
            for rows, band in zip(states, head.predict(states), strict=True):
                yield rows, self.model.ops.to_numpy(band)

    def _read_strings(self, strings: Strings, carriers: Sequence[str]) -> Classified:
        """The vectors of strings without a context, in each carrier, and their classes."""
        docs, places, classes = carry(self.vocab, strings, carriers)
        if not docs:
            return np.zeros((0, 0), dtype=np.float32), []
        states = self.model.layers[0].predict(docs)
        rows = [self._vectors(s, np.array([i + 1])) for s, i in zip(states, places, strict=True)]
        return np.concatenate(rows), classes

    def _mentions(self, band: np.ndarray, threshold: float) -> Spans:
        """The mention head's disjoint spans, whatever its labels."""
        return decode(band.max(axis=2, keepdims=True), np.array([threshold]), "flat")

    def _vectors(self, states: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """What spans are known by: their last tokens' states, in the mention head's own scale.

        states (ndarray): (tokens, layers, width). ends (ndarray): int (spans,).
        RETURNS (ndarray): float32 (spans, layers * width).
        """
        module = self.model.layers[1].shims[0].module  # type: ignore[attr-defined]
        mean, scale = (
            buffer.cpu().numpy() for buffer in (module.standardize.mean, module.standardize.scale)
        )
        last = states[ends - 1].astype(np.float32)
        return ((last - mean) * scale).reshape(len(ends), mean.size)

    # Going to disk and back -------------------------------------------------------------------

    def _state_loaded(self, before: dict[str, Any]) -> None:
        # Labels that were changed in the config since the pipeline was stored take effect.
        stored, setting = self.cfg, list(self.strings)
        if stored["setting"] != setting:
            learnt = [label for label in stored["labels"] if label not in stored["setting"]]
            stored.update(labels=list(dict.fromkeys([*setting, *learnt])), setting=setting)
        super()._state_loaded(before)
