"""The component "llm2ner_fewshot": its factory and `FewShotRecognizer`."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Model
from thinc.types import Floats3d
from typing_extensions import Self

from ..batching import batches
from ..decoding.spans import Spans, decode
from ..errors import Errors, Warnings
from ..log import logger
from ..pipeline.annotate import OnExistingEnts, OnExistingSpans
from ..pipeline.base import (
    DEFAULT_THRESHOLD,
    PREDICT_TOKENS,
    LLMPipe,
    ReadingLog,
    no_spans,
)
from ..pipeline.candidates import Candidates
from ..pipeline.gold import Gold, read_gold
from ..pipeline.pretrained_head import with_pretrained_head
from ..pipeline.scorer import score_span_recognizer
from ..pipeline.span_recognizer import DEFAULT_MODEL
from ..pipeline.state import State
from ..pipeline.thresholds import known_labels, read_threshold
from .candidates import OldCandidates
from .evidence import Evidence
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
from .findings import report_learnt, report_names
from .label_words import default_words, is_word
from .name_search import Pattern, check_patterns
from .prototypes import LabelScorer
from .recognition import JointRecognition
from .suggestions import Suggestion, suggest_names
from .text_learning import MOST_ROUNDS, Learnt

# Number of annotated spans above which training `llm2ner` is the better choice.
_MANY_MENTIONS = 2_000
# The beginning of the names of a model's attributes that hold what was learnt.
LEARNT = "few_shot_"
# Tokens of unlabelled texts below which these are not learnt from.
_FEWEST_TOKENS = 50


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
        "on_existing_spans": "replace",
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
    threshold: float | str | dict[str, float],
    on_existing_ents: Literal["keep", "replace", "merge"],
    on_existing_spans: Literal["replace", "merge"],
    bundle_llm: bool,
    scorer: Callable | None,
) -> "FewShotRecognizer":
    """Make the component "llm2ner_fewshot".

    model (Model[List[Doc], List[Floats3d]]): `spacy_llm2ner.SpanRecognizer.v1`. Its head is
        replaced by that of `pretrained`.
    labels (Union[Dict[str, List[str]], List[str]]): For each label a few example names, e.g.
        {"PER": ["John Smith"], "LOC": ["Paris", "Lake Geneva"]}. A list of labels, or empty lists
        of names, where annotated texts (`nlp.initialize`) or words define the labels.
    words (Dict[str, List[str]]): For each label a few nouns with its meaning, e.g. {"PER":
        ["person", "politician"]}. By default the label itself; for labels of CoNLL-2003 and
        OntoNotes the words of a table. An empty list: none.
    other (List[str]): Names of things that have none of the labels.
    pretrained (str): The head that finds mentions, one of those shipped with the package.
    spans_key (str): The key of `doc.spans` to write. Annotated spans are read from this key, else
        from `doc.ents`.
    annotate (str): The annotation to write: "spans", "ents" or "both".
    threshold (Union[float, str, Dict[str, float]]): The least probability that a span is a mention
        with one of the labels: one for all labels, or one per label (the most probable one of the
        mention) as a table or a text, e.g. "PER=0.9,LOC=0.4" (0.5 for labels that are not named).
    on_existing_ents (str): "keep" existing entities, "replace" them all, or "merge": predicted ones
        win where they overlap.
    on_existing_spans (str): If `doc.spans[spans_key]` exists: "replace" its spans, with a warning,
        or "merge": they stay besides the predicted ones.
    bundle_llm (bool): Store the cut LLM in the component's folder.
    scorer (Optional[Callable]): The scoring method.

    DOCS: docs/few-shot.md
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
        on_existing_spans=on_existing_spans,
        bundle_llm=bundle_llm,
        scorer=scorer,
    )


class FewShotRecognizer(LLMPipe):
    """Pipeline component that finds and labels spans by a few examples.

    All spans are scored by a logistic regression on the states of their tokens and on what a
    pretrained head for mentions says, fitted at first use. Its examples are names (`labels`), words
    with the meaning of a label (`words`), patterns (`add_patterns`), and texts, annotated or not
    (`initialize`, `adapt`), in any combination. (Version 1 labels what the mention head finds.)

    It writes `doc.ents` and `doc.spans[spans_key]`, with scores in `span._.score` and
    `doc.spans[spans_key].attrs["scores"]`.

    DOCS: docs/few-shot.md
    """

    default_threshold = DEFAULT_THRESHOLD
    labels_by = "names"
    _unknown_threshold = Warnings.W45

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
        threshold: float | str | dict[str, float] = DEFAULT_THRESHOLD,
        on_existing_ents: OnExistingEnts = "keep",
        on_existing_spans: OnExistingSpans = "replace",
        bundle_llm: bool = False,
        scorer: Callable | None = score_span_recognizer,
    ) -> None:
        """Initialise the component; see `make_few_shot` for the settings.

        RAISES (ValueError): For a setting that is not accepted.
        """
        super().__init__(
            vocab,
            with_pretrained_head(name, model, pretrained),
            name,
            spans_key=spans_key,
            annotate=annotate,
            threshold=read_threshold(name, threshold),
            on_existing_ents=on_existing_ents,
            on_existing_spans=on_existing_spans,
            bundle_llm=bundle_llm,
        )
        self.scorer = scorer
        strings = labels if isinstance(labels, Mapping) else dict.fromkeys(labels, ())
        self.strings = {label: tuple(given) for label, given in strings.items()}
        self.words = {label: tuple(given) for label, given in (words or {}).items()}
        self.other = tuple(other)
        self._check_strings()
        self.cfg["setting"] = list(self.strings)
        self.balance = True
        self.version = 2
        self.cfg["patterns"] = []
        for label in self.strings:
            self.add_label(label)

    def _check_strings(self) -> None:
        unknown = sorted({*self.words} - {*self.strings}) if self.strings else []
        if unknown:
            raise ValueError(
                Errors.E501.format(name=self.name, label=unknown[0], labels=", ".join(self.strings))
            )
        for setting, given in (
            *((f"labels.{label}", given) for label, given in self.strings.items()),
            *((f"words.{label}", given) for label, given in self.words.items()),
            ("other", self.other),
        ):
            if any(not string.strip() or string != string.strip() for string in given):
                raise ValueError(
                    Errors.E502.format(name=self.name, setting=setting, strings=list(given))
                )

    # Labels -----------------------------------------------------------------------------------

    @property
    def patterns(self) -> list[dict[str, Any]]:
        """The patterns that were added."""
        return list(self.cfg.get("patterns", ()))

    def add_patterns(self, patterns: Iterable[Pattern]) -> None:
        """Add patterns in the format of spaCy's EntityRuler, and their labels.

        A phrase, or tokens given by their text, are names, as those of the setting `labels`. Other
        token patterns count where unlabelled texts are learnt from (`initialize`).

        patterns (Iterable[Dict[str, Any]]): Such as {"label": "city", "pattern": "Paris"}.
        RAISES (ValueError): For an entry that is no pattern (E507).
        """
        new = check_patterns(self.name, patterns)
        for entry in new:
            self.add_label(entry["label"])
        self.cfg["patterns"] = [*self.patterns, *new]

    def add_label(self, label: str) -> int:
        """Add a label. Until it has examples, its words define its meaning.

        label (str): The label.
        RETURNS (int): 1 if it was added, 0 if it already existed.
        RAISES (ValueError): If it is not a string, or empty (E503).
        """
        if label == OTHER:
            raise ValueError(Errors.E503.format(name=self.name))
        return super().add_label(label)

    def with_labels(self, labels: Mapping[str, str | Sequence[str]]) -> Self:
        """Make a component for other labels, with the same LLM and mention head.

        It knows nothing of what this one has learnt.

        labels (Mapping[str, Union[str, Sequence[str]]]): For each label its names; or a text with
            words for its meaning, separated by commas. Without either, the label is the word.
        RETURNS (FewShotRecognizer): The component, which is no part of a pipeline.
        RAISES (ValueError): For an empty label, name or word (E502, E503).
        """
        made = copy.copy(self)
        made.model = copy.copy(self.model)
        # Its layers are those of the other one, what was learnt from names is not.
        made.model._attrs = {k: v for k, v in self.model.attrs.items() if not k.startswith(LEARNT)}
        made.settings = {**self.settings, "threshold": known_labels(self.threshold, labels)}
        names: dict[str, Sequence[str]] = {}
        words: dict[str, Sequence[str]] = {}
        for label, given in labels.items():
            names[label] = () if isinstance(given, str) else tuple(given)
            if isinstance(given, str) and given.strip():
                words[label] = tuple(word.strip() for word in given.split(","))
        made.strings = {label: tuple(given) for label, given in names.items()}
        made.words = {label: tuple(given) for label, given in words.items()}
        made._check_strings()
        state = {"labels": [], "setting": [*labels], "patterns": [], "balance": True, "version": 2}
        made.cfg = State(self.name, made.settings, state)
        made._warned = set()
        for label in labels:
            made.add_label(label)
        return made

    def set_output(self, nO: int) -> None:
        """Do nothing: the mention head has no labels.

        nO (int): The number of labels.
        """

    # Learning ---------------------------------------------------------------------------------

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: list[str] | None = None,
        patterns: Iterable[Pattern] | None = None,
    ) -> None:
        """Learn from texts, annotated or not, which replace those of any earlier call.

        Annotated spans are examples of their labels, all other spans of annotated texts of no
        label. A text is unlabelled if all its tokens lack annotation (`Doc.has_annotation
        ("ENT_IOB")` is False, and there is no span group `spans_key`). In such texts the names of
        labels are looked for, and a few rounds add the surest mentions. (Version 1 ignores them.)

        get_examples (Callable[[], Iterable[Example]]): Function that returns the texts. A few
            annotated texts, or some hundred unlabelled ones, are enough.
        nlp (Optional[Language]): The pipeline.
        labels (Optional[List[str]]): The labels; None: those of the data. Those of the setting
            `labels` are always included.
        patterns (Optional[Iterable[Dict[str, Any]]]): Patterns as for spaCy's EntityRuler, which
            replace earlier ones; None to keep those.
        RAISES (TypeError): If `get_examples` is not such a function.
        RAISES (ValueError): If there are no labels, if gold labels are missing from `labels`, or
            for an entry of `patterns` that is no pattern (E507).
        """
        validate_get_examples(get_examples, "FewShotRecognizer.initialize")
        self._warned.clear()
        examples = list(get_examples())
        if patterns is not None:
            self.cfg["patterns"] = []
            self.add_patterns(patterns)
        golds = [read_gold(example, self.key) for example in examples]
        self._take_labels(golds, labels, get_examples)
        self._report_dev(nlp)
        if self.version == 1:
            self._learn_annotated(examples, golds)
            self._scorer()
            return
        report_names(self)
        self._learn_texts([example.predicted for example in examples], golds)
        JointRecognition(self).fitted()

    def _report_unlabelled(
        self, golds: list[Gold], get_examples: Callable[[], Iterable[Example]]
    ) -> None:
        """Raise an error, or warn, about texts without spans, unless they are to be learnt from."""
        groups = [spans for example in get_examples() for spans in example.reference.spans.values()]
        if self.version == 1 or not self.labels or any(map(len, groups)):
            super()._report_unlabelled(golds, get_examples)

    def _learn_texts(
        self,
        docs: list[Doc],
        golds: list[Gold],
        *,
        keep: bool = False,
        rounds: int = MOST_ROUNDS,
        progress: bool = False,
    ) -> Learnt | None:
        for shim in self._llm_shims():
            shim.llm.remember()
        pairs = [(doc, gold) for doc, gold in zip(docs, golds, strict=True) if len(doc)]
        plain = sum(len(doc) for doc, gold in pairs if not gold.known.any())
        if plain < _FEWEST_TOKENS:
            pairs = [(doc, gold) for doc, gold in pairs if gold.known.any()]
        if not pairs:
            if not keep:
                Evidence().store(self.model)
            return None
        with ReadingLog(self, always=True):
            docs, golds = [doc for doc, _ in pairs], [gold for _, gold in pairs]
            learnt, too_long = JointRecognition(self).learn(
                docs, golds, keep=keep, rounds=rounds, progress=progress
            )
        report_learnt(self, golds, learnt, too_long, _MANY_MENTIONS)
        return learnt

    def adapt(
        self, docs: Iterable[Doc], *, rounds: int = MOST_ROUNDS, progress: bool = False
    ) -> Learnt:
        """Learn from unlabelled texts, beside what was learnt from annotated ones.

        docs (Iterable[Doc]): The texts. Any annotation of theirs is ignored.
        rounds (int): The most rounds; they end earlier if two agree.
        progress (bool): Whether to show progress bars.
        RETURNS (Learnt): How the rounds went.
        RAISES (ValueError): If the texts are too short (E509), or if the component has learnt by
            version 1 from annotated texts, which it did not keep (E508).
        """
        if self.version == 1 and Annotated.of_model(self.model).classes:
            raise ValueError(Errors.E508.format(name=self.name))
        self.version = 2
        self._warned.clear()
        report_names(self)
        docs = list(docs)
        golds = [Gold([], 0, np.zeros(len(doc), dtype=bool)) for doc in docs]
        learnt = self._learn_texts(docs, golds, keep=True, rounds=rounds, progress=progress)
        if learnt is None:
            tokens = sum(map(len, docs))
            raise ValueError(
                Errors.E509.format(name=self.name, tokens=tokens, fewest=_FEWEST_TOKENS)
            )
        JointRecognition(self).fitted()
        return learnt

    def suggest(self, docs: Iterable[Doc], most: int = 20) -> list[Suggestion]:
        """Find names in texts that the labels may have, for the user to accept or strike out.

        docs (Iterable[Doc]): The texts.
        most (int): The most names of a label.
        RETURNS (List[Suggestion]): The names, by label and score.
        """
        return suggest_names(self, list(docs), most)

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
            self._warn_once(Warnings.W42.format(name=self.name, lost=annotated.lost, total=total))
        if 2 * annotated.n_found < total:
            self._warn_once(
                Warnings.W44.format(name=self.name, found=annotated.n_found, total=total)
            )
        if total > _MANY_MENTIONS:
            self._warn_once(Warnings.W41.format(name=self.name, total=total))
        if total:
            logger.info(
                "%s: the mention head finds %d of %d annotated spans, and %d mentions that are "
                "none of them",
                self.name,
                annotated.n_found,
                total,
                annotated.n_other,
            )

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Any = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Do nothing but warn once (L2N-W43): the component learns in `initialize`.

        RETURNS (Dict[str, float]): The losses, with 0 for this component.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        validate_examples(examples, "FewShotRecognizer.update")
        self._warn_once(Warnings.W43.format(name=self.name))
        return losses

    def _scorer(self) -> LabelScorer:
        """Return the scorer of labels for mentions' vectors.

        It is fitted at first use, and stored with the weights until settings or labels change.
        """
        settings = [self.labels, self.strings, self.words, self.other]
        made_from = json.dumps([*settings, "balance"] if self.balance else settings)
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
        return fit_labels(
            self.labels, annotated, names, words, self._read_strings, balance=self.balance
        )

    @property
    def balance(self) -> bool:
        """Whether labels count alike, however many names and words each has.

        Without effect if there are annotated texts, whose numbers say how frequent labels are. It
        is stored with the weights. Pipelines that were stored before it existed do not have it, and
        keep their predictions.
        """
        return bool(self.cfg.get("balance"))

    @balance.setter
    def balance(self, value: bool) -> None:
        self.cfg["balance"] = value

    @property
    def version(self) -> int:
        """The way of learning: 2, or 1 in pipelines that an earlier release stored.

        Version 1 labels what the mention head finds; version 2 judges all spans. It is stored with
        the weights, so that stored pipelines keep their predictions. After a change, learn again
        (`initialize`).
        """
        return int(self.cfg.get("version", 1))

    @version.setter
    def version(self, value: int) -> None:
        if value not in (1, 2):
            raise ValueError(Errors.E513.format(name=self.name, version=value))
        self.cfg["version"] = value

    def _words(self, exemplified: set[str]) -> dict[str, tuple[str, ...]]:
        """Return the words of each label: those of the settings, or the label itself.

        exemplified (Set[str]): Labels with names or annotated spans.
        RAISES (ValueError): For a label with neither words nor examples (E504).
        """
        words, vague = {}, []
        for label in self.labels:
            words[label] = self.words.get(label, default_words(label))
            if label not in self.words and not is_word(label):
                words[label] = () if label in exemplified else words[label]
                vague += [] if label in exemplified else [label]
            if not words[label] and label not in exemplified:
                raise ValueError(Errors.E504.format(name=self.name, label=label))
        if vague:
            self._warn_once(Warnings.W40.format(name=self.name, labels=", ".join(vague)))
        return words

    # Predicting -------------------------------------------------------------------------------

    def predict(self, docs: Iterable[Doc]) -> list[Spans]:
        """Find and label the mentions of docs, without modifying the docs.

        docs (Iterable[Doc]): The docs.
        RETURNS (List[Spans]): For each doc disjoint spans. A score is p(mention) * p(label).
        RAISES (ValueError): If there are no labels (E505).
        """
        docs = list(docs)
        if not any(len(doc) for doc in docs):
            return [no_spans() for _ in docs]
        if not self.labels:
            raise ValueError(Errors.E505.format(name=self.name))
        thresholds = self._thresholds()
        if self.version == 1:
            scorer = self._scorer()
            with ReadingLog(self, always=False):
                return [self._label(scorer, thresholds, *read) for read in self._read(docs)]
        joint = JointRecognition(self)
        fitted = joint.fitted()
        with ReadingLog(self, always=False):
            return [joint.label(fitted, thresholds, *read) for read in self._read(docs)]

    def find_candidates(
        self, docs: list[Doc], floors: Sequence[np.ndarray], decoding: str | None = None
    ) -> list[Candidates]:
        """Score docs, so that thresholds can be chosen afterwards.

        docs (List[Doc]): The docs.
        floors (Sequence[ndarray]): For each doc the least thresholds that may be chosen, float32
            (labels,).
        decoding (Optional[str]): Without effect: spans are disjoint.
        RETURNS (List[Candidates]): All spans from the floors on.
        RAISES (ValueError): If there are no labels (E505).
        """
        if not any(len(doc) for doc in docs):
            return [Candidates(no_spans()) for _ in docs]
        if not self.labels:
            raise ValueError(Errors.E505.format(name=self.name))
        found: Callable[..., Candidates]
        if self.version == 1:
            found = partial(self._mention_candidates, self._scorer())
        else:
            joint = JointRecognition(self)
            found = partial(joint.candidates, joint.fitted())
        with ReadingLog(self, always=False):
            return [
                found(floor, *read) for floor, read in zip(floors, self._read(docs), strict=True)
            ]

    def _mention_candidates(
        self, scorer: LabelScorer, floors: np.ndarray, states: np.ndarray, band: np.ndarray
    ) -> OldCandidates:
        found = decode(band.max(axis=2, keepdims=True), np.array([floors.min()]), "all")
        p = scorer.probabilities(self._vectors(states, found.ends))[:, : len(self.labels)]
        best = p.argmax(axis=1).astype(np.int32)
        scores = found.scores * p[np.arange(len(best)), best]
        spans = Spans(found.starts, found.ends, best, scores)
        return OldCandidates(spans, found.scores, found.scores * p.sum(axis=1))

    def _label(
        self, scorer: LabelScorer, thresholds: np.ndarray, states: np.ndarray, band: np.ndarray
    ) -> Spans:
        found = self._mentions(band, thresholds.min())
        p = scorer.probabilities(self._vectors(states, found.ends))
        labelled = p[:, : len(self.labels)]
        best = labelled.argmax(axis=1).astype(np.int32)
        scores = found.scores * labelled[np.arange(len(best)), best]
        # A mention may be ambiguous between labels: the sum over labels must reach the threshold.
        any_label = found.scores * labelled.sum(axis=1)
        kept = any_label >= thresholds[best]
        return Spans(found.starts, found.ends, best, scores).select(kept)

    def _read(self, docs: list[Doc]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield each doc's states (tokens, layers, width) and the mention head's band."""
        self._require_head()
        llm, head = self.model.layers
        for some in batches(docs, PREDICT_TOKENS):
            states = llm.predict(some)
            for rows, band in zip(states, head.predict(states), strict=True):
                yield rows, self.model.ops.to_numpy(band)

    def _read_strings(self, strings: Strings, carriers: Sequence[str]) -> Classified:
        """Return the vectors of strings in each carrier sentence, and their classes."""
        docs, places, classes = carry(self.vocab, strings, carriers)
        if not docs:
            return np.zeros((0, 0), dtype=np.float32), []
        states = self.model.layers[0].predict(docs)
        rows = [self._vectors(s, np.array([i + 1])) for s, i in zip(states, places, strict=True)]
        return np.concatenate(rows), classes

    def _mentions(self, band: np.ndarray, threshold: float) -> Spans:
        """Decode the disjoint spans of the mention head, ignoring its labels."""
        return decode(band.max(axis=2, keepdims=True), np.array([threshold]), "flat")

    def _vectors(self, states: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Return the vectors of spans: their last tokens' states, standardised as in the head.

        states (ndarray): (tokens, layers, width).
        ends (ndarray): Ends of the spans, exclusive: int (spans,).
        RETURNS (ndarray): float32 (spans, layers * width).
        """
        mean, scale = self._statistics()
        last = states[ends - 1].astype(np.float32)
        return ((last - mean) * scale).reshape(len(ends), mean.size)

    def _statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """The mean and scale of states in the mention head: float32 (layers, width)."""
        module = self.model.layers[1].shims[0].module  # type: ignore[attr-defined]
        buffers = module.standardize.mean, module.standardize.scale
        mean, scale = (buffer.cpu().numpy() for buffer in buffers)
        return mean, scale

    # Serialisation ----------------------------------------------------------------------------

    def _state_loaded(self, before: dict[str, Any]) -> None:
        # Labels that were changed in the config since the pipeline was stored take effect.
        stored, setting = self.cfg, list(self.strings)
        if stored["setting"] != setting:
            learnt = [label for label in stored["labels"] if label not in stored["setting"]]
            stored.update(labels=list(dict.fromkeys([*setting, *learnt])), setting=setting)
        super()._state_loaded(before)
