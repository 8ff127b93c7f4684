"""The component "llm2ner_prompted": its factory, its scorer and `PromptedRecognizer`."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model, Optimizer
from thinc.types import Floats1d
from typing_extensions import Self

from ..errors import Errors, Warnings
from ..llm.alignment import is_blank
from ..log import logger
from ..pipeline.annotate import OnExistingEnts, OnExistingSpans, make_spans
from ..pipeline.base import (
    LLMPipe,
)
from ..pipeline.candidates import Candidates
from ..pipeline.gold import Gold, annotated_ents, read_gold
from ..pipeline.meta_facts import DataFacts, record_training
from ..pipeline.scorer import score_span_recognizer, unscored_weights
from ..pipeline.state import State
from ..pipeline.thresholds import known_labels, read_threshold
from ..settings import check_choice, check_number
from ..tags import READING_RULES, TagSpan, tags_to_spans
from .answered import Answered
from .architecture import Instance
from .metric import ENTITY_POSITION, Score, score_strings
from .parsing import MODES
from .predict import DECODING, Found, Recognizer, Report, Tagged, cut_chunks
from .prompt import check_label_names
from .shim import GeneratorShim
from .training import (
    LabelChoice,
    answers_loss,
    count_labels,
    count_lost,
    make_instance,
    within_pieces,
)

DEFAULT_CONFIG = """
[model]
@architectures = "spacy_llm2ner.PromptedLLM.v1"
name = null
"""
DEFAULT_MODEL = Config().from_str(DEFAULT_CONFIG)["model"]

# Maximum number of words in a question: GNER was trained on sentences.
_CHUNK_WORDS = 80


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
        "chunk_words": _CHUNK_WORDS,
        "spans_key": "sc",
        "annotate": "both",
        "threshold": 0.0,
        "on_existing_ents": "keep",
        "on_existing_spans": "replace",
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
    decoding: Literal["free", "constrained"],
    parser: Literal["robust", "gner"],
    bio: Literal["gner", "conll", "strict"],
    beams: int,
    chunk_words: int,
    spans_key: str,
    annotate: Literal["spans", "ents", "both"],
    threshold: float | str | dict[str, float],
    on_existing_ents: Literal["keep", "replace", "merge"],
    on_existing_spans: Literal["replace", "merge"],
    keep_answers: bool,
    shuffle_labels: bool,
    drop_labels: float,
    negative_labels: int | None,
    scorer: Callable | None,
) -> "PromptedRecognizer":
    """Make the component "llm2ner_prompted".

    model (Model[List[Instance], List[Floats1d]]): The LLM, e.g. `spacy_llm2ner.PromptedLLM.v1`.
    labels (Union[List[str], Dict[str, str]]): The labels to ask for, or labels with descriptions,
        which are added to the prompt.
    label_names (Dict[str, str]): The names of labels in the prompt, e.g. {"PER": "person"}.
    dataset (Optional[str]): The corpus name in GNER's optional prompt line.
    decoding (str): "constrained": the LLM may only copy the text's words and choose among the tags.
        "free": it generates freely, and its answer is parsed.
    parser (str): The parser of free answers: "robust", or "gner" as in the published evaluator.
    bio (str): The reading of invalid BIO tags: see `tags.tags_to_spans`.
    beams (int): Beams of free answers; 1 = greedy.
    chunk_words (int): The most words per question; longer texts are split between sentences.
    spans_key (str): The key of `doc.spans` to write. In training, gold spans are read from this
        key, else from `doc.ents`.
    annotate (str): The annotation to write: "spans", "ents" or "both".
    threshold (Union[float, str, Dict[str, float]]): The least probability of a span: one for all
        labels, or one per label as a table or a text, e.g. "PER=0.9,LOC=0.4" (0 for labels that are
        not named).
    on_existing_ents (str): "keep" existing entities, "replace" them all, or "merge": predicted ones
        win where they overlap.
    on_existing_spans (str): If `doc.spans[spans_key]` exists: "replace" its spans, with a warning,
        or "merge": they stay besides the predicted ones.
    keep_answers (bool): Write free answers to `doc.user_data[name]["answers"]`.
    shuffle_labels (bool): In training, shuffle the labels of each prompt (GNER).
    drop_labels (float): In training, the probability of leaving out a label, with its entities
        (GLiNER).
    negative_labels (Optional[int]): In training, the number of labels without entities to name in a
        prompt, sampled by frequency (UniversalNER). null: all of them (GNER).
    scorer (Optional[Callable]): The scoring method.

    DOCS: docs/prompted.md
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
        on_existing_spans=on_existing_spans,
        keep_answers=keep_answers,
        shuffle_labels=shuffle_labels,
        drop_labels=drop_labels,
        negative_labels=negative_labels,
        scorer=scorer,
    )


def make_prompted_scorer() -> Callable[..., dict[str, Any]]:
    """Create the scorer (`spacy_llm2ner.prompted_scorer.v1`)."""
    return score_prompted


def score_prompted(
    examples: Iterable[Example], *, spans_key: str = "sc", annotate: str = "both", **cfg: Any
) -> dict[str, Any]:
    """Score entities by position, and by GNER's metric of normalised strings.

    examples (Iterable[Example]): The examples.
    spans_key (str): The span group.
    annotate (str): The annotation that the component writes: "spans", "ents" or "both".
    RETURNS (Dict[str, Any]): The scores of `score_span_recognizer`; `entity_position_p/r/f`, equal
        to `ents_p/r/f`, or to those of the span group if no entities are written; and
        `gner_string_p/r/f`.
    """
    examples = list(examples)
    scores = score_span_recognizer(examples, spans_key=spans_key, annotate=annotate)
    written = "ents" if annotate in ("ents", "both") else f"spans_{spans_key}"
    scores.update({f"{ENTITY_POSITION}_{x}": scores.get(f"{written}_{x}") for x in "prf"})
    found = _score_strings(examples, spans_key, annotate)
    scores.update(found.named() if found is not None else {f"gner_string_{x}": None for x in "prf"})
    return scores


def _score_strings(examples: list[Example], spans_key: str, annotate: str) -> Score | None:
    sentences = []
    for example in examples:
        gold = annotated_ents(example.reference, spans_key)
        if gold is None:
            continue
        doc = example.predicted
        found = doc.spans.get(spans_key, []) if annotate == "spans" else doc.ents
        # One list of words for both docs: their tokenisation may differ.
        words, wanted = _words(example.reference, gold)
        more, other = _words(doc, list(found))
        moved = [(s + len(words), e + len(words), label) for s, e, label in other]
        sentences.append(([*words, *more], wanted, moved))
    return score_strings(sentences) if sentences else None


def _words(doc: Doc, spans: list[Span]) -> tuple[list[str], list[TagSpan]]:
    return [token.text for token in doc], [(s.start, s.end, s.label_) for s in spans]


class PromptedRecognizer(LLMPipe):
    """Pipeline component that prompts an LLM for a tag per word; labels are names.

    It needs no training, but can be tuned. It writes `doc.ents`, `doc.spans[spans_key]` with
    scores, and a report on lost words and repairs to `doc.user_data[name]`.

    DOCS: docs/prompted.md
    """

    decodings = DECODING
    labels_by = "descriptions"
    default_threshold = 0.0
    batches_ahead = 1  # an answer takes long, and batches are made of prompts
    _unknown_threshold = Warnings.W34

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Instance], list[Floats1d]],
        name: str = "llm2ner_prompted",
        *,
        labels: list[str] | dict[str, str] | None = None,
        label_names: dict[str, str] | None = None,
        dataset: str | None = None,
        decoding: Literal["free", "constrained"] = "constrained",
        parser: Literal["robust", "gner"] = "robust",
        bio: Literal["gner", "conll", "strict"] = "gner",
        beams: int = 1,
        chunk_words: int = _CHUNK_WORDS,
        spans_key: str = "sc",
        annotate: Literal["spans", "ents", "both"] = "both",
        threshold: float | str | dict[str, float] = 0.0,
        on_existing_ents: OnExistingEnts = "keep",
        on_existing_spans: OnExistingSpans = "replace",
        keep_answers: bool = False,
        shuffle_labels: bool = True,
        drop_labels: float = 0.0,
        negative_labels: int | None = None,
        scorer: Callable | None = score_prompted,
    ) -> None:
        """Initialise the component; see `make_prompted` for the settings.

        RAISES (ValueError): For a setting that is not accepted.
        """
        for setting, value, accepted in (
            ("decoding", decoding, DECODING),
            ("parser", parser, MODES),
            ("bio", bio, READING_RULES),
        ):
            check_choice(setting, value, accepted, component=name)
        check_number("beams", beams, least=1, component=name)
        check_number("chunk_words", chunk_words, least=1, component=name)
        super().__init__(
            vocab,
            model,
            name,
            descriptions=dict(labels) if isinstance(labels, dict) else {},
            label_names=dict(label_names or {}),
            dataset=dataset,
            decoding=decoding,
            parser=parser,
            bio=bio,
            beams=beams,
            chunk_words=chunk_words,
            spans_key=spans_key,
            annotate=annotate,
            threshold=read_threshold(name, threshold),
            on_existing_ents=on_existing_ents,
            on_existing_spans=on_existing_spans,
            keep_answers=keep_answers,
        )
        self.label_choice = LabelChoice(shuffle_labels, drop_labels, negative_labels)
        self.scorer = scorer
        self._label_counts: Counter[str] = Counter()
        self.cfg["setting"] = sorted(labels or [])
        for label in labels or []:
            self.add_label(label)
        self._check_names()

    @property
    def shim(self) -> GeneratorShim:
        """The shim of the LLM."""
        return cast(GeneratorShim, self._shims(GeneratorShim)[0])

    # Labels -----------------------------------------------------------------------------------

    def add_label(self, label: str) -> int:
        """Add a label, which prompts will name from now on.

        label (str): The label.
        RETURNS (int): 1 if it was added, 0 if it already existed.
        RAISES (ValueError): If it is not a string, or indistinguishable from another label in an
            answer.
        """
        added = super().add_label(label)
        if added:
            try:
                self._check_names()
            except ValueError:
                self.cfg["labels"].remove(label)
                raise
        return added

    def with_labels(self, labels: Mapping[str, str | Sequence[str]]) -> Self:
        """Make a component for other labels, with the same LLM.

        labels (Mapping[str, Union[str, Sequence[str]]]): For each label its description, or a few
            names, which become its description; nothing if it is empty.
        RETURNS (PromptedRecognizer): The component, which is no part of a pipeline.
        RAISES (ValueError): If a label is indistinguishable from another one in an answer.
        """
        made = copy.copy(self)
        described = {
            label: given if isinstance(given, str) else ", ".join(given)
            for label, given in labels.items()
        }
        made.settings = {
            **self.settings,
            "descriptions": {label: text for label, text in described.items() if text},
            "threshold": known_labels(self.threshold, labels),
        }
        made.cfg = State(self.name, made.settings, {"labels": [], "setting": sorted(labels)})
        made._warned = set()
        for label in labels:
            made.add_label(label)
        return made

    def _check_names(self) -> None:
        names = [self.prompt_name(label) for label in self.labels]
        check_label_names(names)
        if len({*names}) < len(names):
            twice = sorted(name for name, n in Counter(names).items() if n > 1)
            raise ValueError(Errors.E510.format(name=self.name, twice=twice[0]))

    def prompt_name(self, label: str) -> str:
        """Return the name of a label in the prompt: that of `label_names`, else the label."""
        return str(self.settings["label_names"].get(label, label))

    def _state_loaded(self, before: dict[str, Any]) -> None:
        # Labels that were changed in the config since the pipeline was stored take effect.
        if self.cfg.get("setting", before["setting"]) != before["setting"]:
            self.cfg = before
        self.cfg["setting"] = before["setting"]
        super()._state_loaded(before)

    def _recognizer(self, decoding: str | None = None) -> Recognizer:
        names = [self.prompt_name(label) for label in self.labels]
        chosen = self.settings
        given = {self.prompt_name(label): text for label, text in chosen["descriptions"].items()}
        return Recognizer(
            self.shim,
            names,
            given,
            decoding=decoding or chosen["decoding"],
            mode=chosen["parser"],
            beams=chosen["beams"],
            dataset=chosen["dataset"],
        )

    # Predicting -------------------------------------------------------------------------------

    def predict(self, docs: Iterable[Doc]) -> list[Found]:
        """Prompt the LLM about docs, without modifying them.

        docs (Iterable[Doc]): The docs.
        RETURNS (List[Found]): For each doc its spans, their scores, and a report.
        RAISES (ValueError): If there are no labels (E511).
        """
        docs = list(docs)
        return self._ask(docs, [self._thresholds()] * len(docs))

    def find_candidates(
        self, docs: list[Doc], floors: Sequence[np.ndarray], decoding: str | None = None
    ) -> list[Candidates]:
        """Prompt the LLM about docs, so that thresholds can be chosen afterwards.

        docs (List[Doc]): The docs.
        floors (Sequence[ndarray]): For each doc the least thresholds that may be chosen, float32
            (labels,).
        decoding (Optional[str]): One of `decodings`; None for the setting.
        RETURNS (List[Candidates]): The spans from the floors on.
        RAISES (ValueError): If there are no labels (E511).
        """
        order = {label: index for index, label in enumerate(self.labels)}
        return [Answered.of(found, order) for found in self._ask(docs, floors, decoding)]

    def write_candidates(
        self, doc: Doc, found: Candidates, thresholds: np.ndarray, decoding: str | None = None
    ) -> None:
        """Write spans of a doc as `set_annotations` does, by thresholds of its own.

        doc (Doc): The doc.
        found (Candidates): What `find_candidates` found in it, or some of that.
        thresholds (ndarray): float32 (labels,), none below the floor.
        decoding (Optional[str]): The decoding that the candidates were found with.
        """
        assert isinstance(found, Answered)
        self.set_annotations([doc], [found.above(thresholds, self.labels)])

    def _ask(
        self, docs: list[Doc], thresholds: Sequence[np.ndarray], decoding: str | None = None
    ) -> list[Found]:
        """Prompt the LLM about docs.

        thresholds (Sequence[ndarray]): For each doc the threshold of each label.
        """
        if not any(not is_blank(token.text) for doc in docs for token in doc):
            return [Found() for _ in docs]
        if not self.labels:
            raise ValueError(Errors.E511.format(name=self.name))
        recognizer = self._recognizer(decoding)
        questions, owners = [], []
        for index, doc in enumerate(docs):
            for chunk in cut_chunks(doc, self.settings["chunk_words"]):
                asked = recognizer.ask(chunk)
                questions += asked
                owners += [index] * len(asked)
        answers = recognizer.answer(questions, self.name)
        found = [Found() for _ in docs]
        limits = [dict(zip(self.labels, least.tolist(), strict=True)) for least in thresholds]
        for question, owner, tagged in zip(questions, owners, answers, strict=True):
            self._collect(found[owner], question.chunk.tokens, tagged, limits[owner])
        self._log([f.report for f in found])
        return found

    def _collect(
        self, found: Found, tokens: list[int], tagged: Tagged, thresholds: dict[str, float]
    ) -> None:
        labels = {self.prompt_name(label): label for label in self.labels}
        found.report.add(tagged, len(tokens), self.settings["keep_answers"])
        for start, end, name in tags_to_spans(tagged.tags, self.settings["bio"]):
            score = float(np.prod(tagged.scores[start:end]))
            label = labels[name]
            if score >= thresholds[label]:
                found.spans.append((tokens[start], tokens[end - 1] + 1, label))
                found.scores.append(score)

    def _log(self, reports: Sequence[Report]) -> None:
        total = Report()
        for report in reports:
            total.update(report)
        if not total.is_clean:
            logger.info("%s: %s", self.name, total)

    def set_annotations(self, docs: Iterable[Doc], predictions: list[Found]) -> None:
        """Write predicted spans, their scores and the report to docs.

        docs (Iterable[Doc]): The docs.
        predictions (List[Found]): The output of `predict` for them.
        """
        for doc, found in zip(docs, predictions, strict=True):
            starts = np.array([start for start, _, _ in found.spans], dtype=np.int32)
            ends = np.array([end for _, end, _ in found.spans], dtype=np.int32)
            scores = np.array(found.scores, dtype=np.float32)
            spans = make_spans(doc, starts, ends, [label for *_, label in found.spans], scores)
            self._write(doc, spans, scores)
            doc.user_data[self.name] = found.report.to_dict()

    # Training ---------------------------------------------------------------------------------

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: list[str] | None = None,
    ) -> None:
        """Initialise for training: labels, and new weights if the LLM is to be tuned.

        get_examples (Callable[[], Iterable[Example]]): Function that returns the training data.
        nlp (Optional[Language]): The pipeline.
        labels (Optional[List[str]]): The labels; None: those of the data, in addition to those of
            the setting `labels`.
        RAISES (TypeError): If `get_examples` is not such a function.
        RAISES (ValueError): If there are no labels, or if gold labels are missing from `labels`.
        """
        validate_get_examples(get_examples, "PromptedRecognizer.initialize")
        self._warned.clear()
        facts = DataFacts(self.key)
        golds = [read_gold(example, self.key) for example in facts.count(get_examples())]
        record_training(nlp, self.name, facts)
        self._label_counts = count_labels(golds)
        self._take_labels(golds, labels, get_examples)
        self._report_lost(golds)
        self._report_score_weights(nlp)
        self._report_schedule(nlp, len(golds))
        self._report_dev(nlp)
        self.shim.start_tuning()

    def _report_lost(self, golds: list[Gold]) -> None:
        total, lost, overlapping = count_lost(golds)
        if lost:
            self._warn_once(Warnings.W30.format(name=self.name, lost=lost, total=total))
        if overlapping:
            self._warn_once(
                Warnings.W31.format(name=self.name, overlapping=overlapping, total=total)
            )

    def _report_score_weights(self, nlp: Language | None) -> None:
        if nlp is None or self.scorer not in (score_prompted, score_span_recognizer):
            return
        weights = unscored_weights(nlp, self.name, annotate=self.settings["annotate"], key=self.key)
        if weights and not any(w.startswith(("gner_string", "entity_position")) for w in weights):
            self._warn_once(Warnings.W32.format(name=self.name, weights=", ".join(weights)))

    def instances(self, examples: Iterable[Example], *, choose: bool = True) -> list[Instance]:
        """Convert annotated examples to prompts with target answers.

        examples (Iterable[Example]): Annotated examples. Words without annotation have weight 0 in
            the answer.
        choose (bool): Whether to shuffle, drop and sample labels as configured; else all of them
            are named in order.
        RETURNS (List[Instance]): One or more for each example with words.
        RAISES (ValueError): For gold labels that the component does not have, and for a text that
            exceeds the LLM's context.
        """
        recognizer = self._recognizer()
        names = {label: self.prompt_name(label) for label in self.labels}
        labels = self.label_choice if choose else LabelChoice(shuffle=False)
        found = []
        for example in examples:
            gold = read_gold(example, self.key)
            self._require_known_labels([gold])
            for chunk in cut_chunks(example.predicted, self.settings["chunk_words"]):
                for question in recognizer.ask(chunk):
                    if any(gold.known[token] for token in question.chunk.tokens):
                        part = question.chunk
                        named = labels.of_chunk(part, gold, names, self._label_counts)
                        found.append(make_instance(recognizer, part, gold, named))
        return found

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Update the LLM's weights from a batch, split by the LLM's `batch_pieces`.

        examples (Iterable[Example]): The batch.
        drop (float): Not used: the dropout of LoRA is a setting of the LLM.
        sgd (Optional[Optimizer]): The optimizer; None or False: gradients are only accumulated.
        losses (Optional[Dict[str, float]]): The losses to add to, by component name.
        RETURNS (Dict[str, float]): The losses.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, "PromptedRecognizer.update")
        instances = self.instances(examples)
        counted = sum(sum(instance.weights) for instance in instances)
        if not counted:
            return losses
        if not self.shim.is_tuned:
            self._warn_once(Warnings.W33.format(name=self.name))
        for part in within_pieces(instances, self.shim.settings.batch_pieces):
            scores, backprop = self.model.begin_update(part)
            loss, d_scores = answers_loss(self.model.ops, part, scores, counted)
            losses[self.name] += loss
            backprop(d_scores)
        if sgd not in (None, False):
            self.finish_update(sgd)
        return losses

    def get_loss(
        self, examples: Iterable[Example], scores: list[Floats1d]
    ) -> tuple[float, list[Floats1d]]:
        """Compute the loss of a batch and its gradient.

        examples (Iterable[Example]): The batch.
        scores (List[Floats1d]): The model's output for `instances(examples, choose=False)`: the log
            probabilities of the answers' pieces.
        RETURNS (Tuple[float, List[Floats1d]]): The mean negative log probability, and its gradient.
        """
        examples = list(examples)
        validate_examples(examples, "PromptedRecognizer.get_loss")
        instances = self.instances(examples, choose=False)
        counted = sum(sum(instance.weights) for instance in instances)
        return answers_loss(self.model.ops, instances, scores, max(counted, 1.0))
