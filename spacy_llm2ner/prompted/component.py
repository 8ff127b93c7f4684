"""Prompted recognition: `nlp.add_pipe("llm2ner_prompted", config={"labels": [...]})`."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, cast

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model, Optimizer
from thinc.types import Floats1d

from ..log import logger
from ..pipeline.base import (
    ANNOTATE,
    ON_EXISTING_ENTS,
    LLMPipe,
    OnExistingEnts,
    check_threshold,
    make_spans,
)
from ..pipeline.gold import Gold, annotated_ents, read_gold
from ..pipeline.scorer import score_span_recognizer, unscored_weights
from ..settings import check_choice, check_number
from ..tags import READING_RULES, TagSpan, tags_to_spans
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
    lost_gold,
    make_instance,
    within_pieces,
)

DEFAULT_CONFIG = """
[model]
@architectures = "spacy_llm2ner.PromptedLLM.v1"
name = null
"""
DEFAULT_MODEL = Config().from_str(DEFAULT_CONFIG)["model"]

# Words of one instance or one question: GNER was trained on sentences.
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
    decoding: Literal["free", "constrained"],
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
) -> "PromptedRecognizer":
    """Make the component "llm2ner_prompted".

    model (Model[List[Instance], List[Floats1d]]): The LLM, e.g. `spacy_llm2ner.PromptedLLM.v1`.
    labels (Union[List[str], Dict[str, str]]): The labels that are asked for, or labels with
        descriptions, which then stand in the prompt.
    label_names (Dict[str, str]): What the prompt calls labels, e.g. {"PER": "person"}.
    dataset (Optional[str]): GNER's optional line with the name of a corpus.
    decoding (str): "free": the LLM writes, and its answer is parsed. "constrained": it may only
        copy the text's words and choose among the tags.
    parser (str): How free answers are read: "robust", or as the published evaluator does: "gner".
    bio (str): How tags that are no valid BIO are read: see `tags.tags_to_spans`.
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


def make_prompted_scorer() -> Callable[..., dict[str, Any]]:
    """The scorer as a registered function (`spacy_llm2ner.prompted_scorer.v1`)."""
    return score_prompted


def score_prompted(
    examples: Iterable[Example], *, spans_key: str = "sc", annotate: str = "both", **cfg: Any
) -> dict[str, Any]:
    """Entity F1 by position, as everywhere, and GNER's F1 of normalised strings beside it.

    spans_key (str): The span group.
    annotate (str): "spans", "ents" or "both": what the component writes, and so what is scored.
    RETURNS (Dict[str, Any]): What `score_span_recognizer` gives; `entity_position_p/r/f`, the same
        as `ents_p/r/f` (of the span group if no entities are written) under a name that says what
        it is; and `gner_string_p/r/f`.
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
        # One list of words for both docs, which need not be tokenised alike.
        words, wanted = _words(example.reference, gold)
        more, other = _words(doc, list(found))
        moved = [(s + len(words), e + len(words), label) for s, e, label in other]
        sentences.append(([*words, *more], wanted, moved))
    return score_strings(sentences) if sentences else None


def _words(doc: Doc, spans: list[Span]) -> tuple[list[str], list[TagSpan]]:
    return [token.text for token in doc], [(s.start, s.end, s.label_) for s in spans]


class PromptedRecognizer(LLMPipe):
    """Asks an LLM for the tag of every word; labels are names, and need no training.

    Writes `doc.ents`, `doc.spans[spans_key]` with scores, and what had to be repaired or was lost
    to `doc.user_data[name]`.
    """

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
        threshold: float | dict[str, float] = 0.0,
        on_existing_ents: OnExistingEnts = "keep",
        keep_answers: bool = False,
        shuffle_labels: bool = True,
        drop_labels: float = 0.0,
        negative_labels: int | None = None,
        scorer: Callable | None = score_prompted,
    ) -> None:
        """Make a component; see `make_prompted` for the settings.

        RAISES: ValueError for a setting that is none of the accepted values.
        """
        for setting, value, accepted in (
            ("annotate", annotate, ANNOTATE),
            ("decoding", decoding, DECODING),
            ("parser", parser, MODES),
            ("bio", bio, READING_RULES),
            ("on_existing_ents", on_existing_ents, ON_EXISTING_ENTS),
        ):
            check_choice(setting, value, accepted, component=name)
        check_number("beams", beams, least=1, component=name)
        check_number("chunk_words", chunk_words, least=1, component=name)
        check_threshold(name, threshold)
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
            threshold=threshold,
            on_existing_ents=on_existing_ents,
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
        """The LLM."""
        return cast(GeneratorShim, self._shims(GeneratorShim)[0])

    # Labels -----------------------------------------------------------------------------------

    def add_label(self, label: str) -> int:
        """Add a label: the LLM is asked for it from now on.

        label (str): The label.
        RETURNS (int): 1 if it was added, 0 if it was there.
        RAISES: ValueError if it is no string, or cannot be told apart from another in an answer.
        """
        added = super().add_label(label)
        if added:
            try:
                self._check_names()
            except ValueError:
                self.cfg["labels"].remove(label)
                raise
        return added

    def _check_names(self) -> None:
        names = [self.prompt_name(label) for label in self.labels]
        check_label_names(names)
        if len({*names}) < len(names):
            twice = sorted(name for name, n in Counter(names).items() if n > 1)
            raise ValueError(
                f"{self.name}: the setting 'label_names' gives several labels the name "
                f"'{twice[0]}'. Each label needs a name of its own."
            )

    def prompt_name(self, label: str) -> str:
        """What the prompt calls a label: the setting `label_names`, else the label itself."""
        return str(self.settings["label_names"].get(label, label))

    def _state_loaded(self, before: dict[str, Any]) -> None:
        # Labels that were changed in the config since the pipeline was stored take effect.
        if self.cfg.get("setting", before["setting"]) != before["setting"]:
            self.cfg = before
        self.cfg["setting"] = before["setting"]
        super()._state_loaded(before)

    def _recognizer(self) -> Recognizer:
        names = [self.prompt_name(label) for label in self.labels]
        chosen = self.settings
        given = {self.prompt_name(label): text for label, text in chosen["descriptions"].items()}
        return Recognizer(
            *(self.shim, names, given, chosen["decoding"], chosen["parser"], chosen["beams"]),
            dataset=chosen["dataset"],
        )

    # Predicting -------------------------------------------------------------------------------

    def predict(self, docs: Iterable[Doc]) -> list[Found]:
        """Ask the LLM about docs, without changing them.

        docs (Iterable[Doc]): The docs.
        RETURNS (List[Found]): For each its spans, their scores, and a report.
        RAISES: ValueError if there are no labels to ask for.
        """
        docs = list(docs)
        if not any(not token.is_space for doc in docs for token in doc):
            return [Found() for _ in docs]
        if not self.labels:
            raise ValueError(
                f"{self.name}: there are no labels to ask for. Give them by the setting 'labels', "
                f"e.g. nlp.add_pipe('llm2ner_prompted', config={{'labels': ['person', 'city']}}), "
                f"or by nlp.initialize() with training examples."
            )
        recognizer = self._recognizer()
        questions, owners = [], []
        for index, doc in enumerate(docs):
            for chunk in cut_chunks(doc, self.settings["chunk_words"]):
                asked = recognizer.ask(chunk)
                questions += asked
                owners += [index] * len(asked)
        answers = recognizer.answer(questions, self.name)
        found = [Found() for _ in docs]
        for question, owner, tagged in zip(questions, owners, answers, strict=True):
            self._collect(found[owner], question.chunk.tokens, tagged)
        self._log([f.report for f in found])
        return found

    def _collect(self, found: Found, tokens: list[int], tagged: Tagged) -> None:
        labels = {self.prompt_name(label): label for label in self.labels}
        found.report.add(tagged, len(tokens), self.settings["keep_answers"])
        for start, end, name in tags_to_spans(tagged.tags, self.settings["bio"]):
            score = float(np.prod(tagged.scores[start:end]))
            label = labels[name]
            if score >= self._threshold(label):
                found.spans.append((tokens[start], tokens[end - 1] + 1, label))
                found.scores.append(score)

    def _threshold(self, label: str) -> float:
        threshold = self.settings["threshold"]
        return threshold.get(label, 0.0) if isinstance(threshold, dict) else threshold

    def _log(self, reports: Sequence[Report]) -> None:
        total = Report()
        for report in reports:
            total.update(report)
        if not total.is_clean:
            logger.info("%s: %s", self.name, total)

    def set_annotations(self, docs: Iterable[Doc], predictions: list[Found]) -> None:
        """Write predicted spans, their scores and the report to docs.

        docs (Iterable[Doc]): The docs.
        predictions (List[Found]): What `predict` gave for them.
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
        """Prepare for training: labels, and fresh weights if the LLM is to be tuned.

        get_examples (Callable[[], Iterable[Example]]): Gives the training data.
        nlp (Optional[Language]): The pipeline.
        labels (Optional[List[str]]): The labels; None = those of the data, beside those of the
            setting `labels`.
        RAISES: TypeError if `get_examples` is not what is described above; ValueError if there are
            no labels, or if gold labels are missing from those that are given.
        """
        validate_get_examples(get_examples, "PromptedRecognizer.initialize")
        self._warned.clear()
        golds = [read_gold(example, self.key) for example in get_examples()]
        self._label_counts = count_labels(golds)
        self._take_labels(golds, labels)
        self._report_lost(golds)
        self._report_score_weights(nlp)
        self._report_schedule(nlp, len(golds))
        self.shim.start_tuning()

    def _report_lost(self, golds: list[Gold]) -> None:
        for code, sentence in lost_gold(golds):
            self._warn(code, sentence)

    def _report_score_weights(self, nlp: Language | None) -> None:
        if nlp is None or self.scorer not in (score_prompted, score_span_recognizer):
            return
        weights = unscored_weights(nlp, self.name, annotate=self.settings["annotate"], key=self.key)
        if weights and not any(w.startswith(("gner_string", "entity_position")) for w in weights):
            self._warn(
                "L2N-W32",
                f"no component gives a score that [training.score_weights] counts "
                f"({', '.join(weights)}), so that every checkpoint looks as good as any other. "
                f"Add ents_f, entity_position_f or gner_string_f = 1.0 there.",
            )

    def instances(self, examples: Iterable[Example], *, choose: bool = True) -> list[Instance]:
        """Prompts with the answers that are wanted, for the annotation of examples.

        examples (Iterable[Example]): Annotated examples. Words about which the annotation says
            nothing stand in the answer and do not count.
        choose (bool): Shuffle, drop and sample labels as set; else all of them in order.
        RETURNS (List[Instance]): One or more for each example with words.
        RAISES: ValueError for gold labels that the component does not have, and for a text that the
            LLM has no room for.
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
        """Learn from a batch of examples, in parts that the LLM's `batch_pieces` allows.

        examples (Iterable[Example]): The batch.
        drop (float): Not used: the dropout of LoRA is a setting of the LLM.
        sgd (Optional[Optimizer]): The optimizer; None or False: gradients are only collected.
        losses (Optional[Dict[str, float]]): Where the loss is added, under the component's name.
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
            self._warn(
                "L2N-W33",
                "the setting 'tuning' of the LLM is 'none', or nlp.initialize() was not called: "
                "nothing is learnt.",
            )
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
        """The loss of a batch and its gradient.

        examples (Iterable[Example]): The batch.
        scores (List[Floats1d]): What the model gives for `instances(examples, choose=False)`: the
            logarithms of the probabilities of the answers' pieces.
        RETURNS (Tuple[float, List[Floats1d]]): The mean of their negatives, and its gradient.
        """
        examples = list(examples)
        validate_examples(examples, "PromptedRecognizer.get_loss")
        instances = self.instances(examples, choose=False)
        counted = sum(sum(instance.weights) for instance in instances)
        return answers_loss(self.model.ops, instances, scores, max(counted, 1.0))
