"""Base classes of the components: labels, reading, thresholds, writing of spans, storage."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from spacy import util
from spacy.errors import Errors as SpacyErrors
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Model
from typing_extensions import Self

from ..architectures.shims import HeadShim, IdentityShim, LLMShim
from ..architectures.slices import is_long
from ..batching import batches
from ..decoding.spans import Spans
from ..errors import Errors, Warnings
from ..llm.bundle import find_bundle
from ..llm.checkpoint import missing
from ..llm.frozen import TOKENS_AHEAD
from ..llm.pieces import by_token
from ..log import logger
from ..settings import check_choice
from .annotate import (
    ON_EXISTING_ENTS,
    ON_EXISTING_SPANS,
    lost_spans,
    make_spans,
    write_ents,
    write_spans,
)
from .candidates import FindsCandidates
from .data_checks import ChecksData
from .gold import Gold, count_unseen, labels_of, read_gold
from .llm_folders import Place, llm_folder, shared_weights, write_shared
from .schedule import schedule_faults
from .scorer import score_span_recognizer, unscored_weights
from .state import State, no_effect
from .thresholds import HasThreshold, PerLabel, per_label, read_threshold

# Tokens whose states and scores are in memory at once during prediction.
PREDICT_TOKENS = 20_000
# Docs of the training data that are read at once, with one progress bar.
READ_DOCS = 2_000
# Tokens in the sample for the statistics of the states.
SAMPLE_TOKENS = 20_000
# Reading time within one batch, in seconds, from which a log line is written.
_SECONDS_WORTH_A_LINE = 3.0

ANNOTATE = ("spans", "ents", "both")

DEFAULT_THRESHOLD = 0.5
DEFAULT_TEMPERATURE = 1.0


class LLMPipe(HasThreshold, FindsCandidates, ChecksData, TrainablePipe):
    """A trainable component whose model holds an LLM.

    Labels can be added at any time. The head is written to disk, the LLM is not. The log reports
    how many texts the LLM read.

    vocab (Vocab): The shared vocabulary.
    model (Model): The Thinc model, with shims of the LLM and the head.
    name (str): The component instance's name, also in the losses.
    settings (Dict[str, Any]): The settings. They are in the pipeline's config, where an override at
        load reaches them, and are not stored with the weights.
    cfg (Dict[str, Any]): The state that is stored with the weights: the labels, and the state of
        subclasses.
    """

    vocab: Vocab
    model: Model
    name: str
    settings: dict[str, Any]
    cfg: dict[str, Any]

    # The batches of docs that `pipe` reads ahead, at most.
    batches_ahead: ClassVar[int] = 8

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str,
        *,
        annotate: str,
        on_existing_ents: str,
        on_existing_spans: str,
        **settings: Any,
    ) -> None:
        check_choice("annotate", annotate, ANNOTATE, component=name)
        check_choice("on_existing_ents", on_existing_ents, ON_EXISTING_ENTS, component=name)
        check_choice("on_existing_spans", on_existing_spans, ON_EXISTING_SPANS, component=name)
        self.vocab = vocab
        self.model = model
        self.name = name
        self.settings = {
            "annotate": annotate,
            "on_existing_ents": on_existing_ents,
            "on_existing_spans": on_existing_spans,
            **settings,
        }
        self.cfg = State(name, self.settings, {"labels": []})
        self._configured = self.threshold
        self._warned: set[str] = set()

    def __setattr__(self, attribute: str, value: Any) -> None:
        """Refuse an attribute with the name of a setting, which would have no effect."""
        if attribute in self.__dict__.get("settings", ()) and attribute != "threshold":
            raise AttributeError(no_effect(self.name, attribute, f"the attribute '{attribute}'"))
        super().__setattr__(attribute, value)

    @property
    def key(self) -> str:
        """The key of `doc.spans` to write; gold annotation is read from it too."""
        return str(self.settings["spans_key"])

    # Labels -----------------------------------------------------------------------------------

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the model's output.

        DOCS: https://spacy.io/api/spancategorizer#labels
        """
        return tuple(self.cfg["labels"])

    @property
    def label_data(self) -> list[str]:
        """The labels as `spacy init labels` stores them."""
        return list(self.labels)

    def add_label(self, label: str) -> int:
        """Add a label. A trained head is enlarged and keeps its weights for the other labels.

        label (str): The label.
        RETURNS (int): 1 if it was added, 0 if it already existed.
        RAISES (ValueError): If it is not a string.

        DOCS: https://spacy.io/api/spancategorizer#add_label
        """
        if not isinstance(label, str):
            raise ValueError(SpacyErrors.E187)
        if label in self.labels:
            return 0
        self.cfg["labels"].append(label)
        self.vocab.strings.add(label)
        if self.model.has_dim("nO"):
            self.set_output(len(self.labels))
        return 1

    def _take_labels(
        self,
        golds: list[Gold],
        labels: list[str] | None,
        get_examples: Callable[[], Iterable[Example]],
    ) -> None:
        """Add the given labels, which must include those of the data, or else those of the data."""
        for label in labels_of(golds) if labels is None else labels:
            self.add_label(label)
        if not any(gold.spans for gold in golds):
            self._report_unlabelled(golds, get_examples)
        self._require_known_labels(golds)

    def _require_known_labels(self, golds: list[Gold]) -> None:
        unknown = sorted({*labels_of(golds)} - {*self.labels})
        if unknown:
            raise ValueError(
                Errors.E310.format(
                    name=self.name, unknown=", ".join(unknown), labels=", ".join(self.labels)
                )
            )

    # The head and the LLM ---------------------------------------------------------------------

    def _shims(self, kind: type) -> list[Any]:
        return [s for node in self.model.walk() for s in node.shims if isinstance(s, kind)]

    def _llm_shims(self) -> list[LLMShim]:
        return self._shims(LLMShim)

    def _require_head(self) -> None:
        """Raise spaCy's error about a missing `initialize` before the LLM is loaded."""
        if not all(shim.is_built for shim in self._shims(HeadShim)):
            raise ValueError(SpacyErrors.E109.format(name=self.name))

    def _read_ahead(self, docs: list[Doc]) -> Sequence[np.ndarray]:
        """Let each LLM read docs if its store has room.

        RETURNS (Sequence[ndarray]): Their states by token; of several LLMs, see `merged_states`.
            Nothing if an LLM did not read them.
        """
        states: list[Sequence[np.ndarray]] = []
        for shim in self._llm_shims():
            shim.llm.remember()
            if shim.llm.has_room():
                with ReadingLog(self, [shim], always=True):
                    read = shim.llm.states(docs)
                states.append(by_token(shim.llm, docs, read))
        return merged_states(states) if len(states) == len(self._llm_shims()) else []

    def _log_summaries(self) -> None:
        for summary in dict.fromkeys(shim.llm.summary() for shim in self._llm_shims()):
            logger.info("%s: %s", self.name, summary)

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Process a stream of docs in the order in which they come.

        Docs are read ahead until they have some thousand tokens, so that the LLM gets texts of
        similar length together; see `_tokens_ahead`. A doc that fails is given to the error handler
        by itself, and the others are processed.

        stream (Iterable[Doc]): The docs.
        batch_size (int): Docs in a batch. At most eight batches are read ahead; with 1, each doc is
            given out before the next one is read.
        YIELDS (Doc): The docs, in order.

        DOCS: https://spacy.io/api/spancategorizer#pipe
        """
        for docs in self._batches(stream, batch_size):
            yield from self._annotated(docs)

    def _annotated(self, docs: list[Doc]) -> Iterator[Doc]:
        """Annotate docs, all at once; one by one if that fails, to find the ones that fail."""
        error_handler = self.get_error_handler()
        predictions: list[Any] | None = None
        try:
            predictions = self.predict(docs)
        except Exception as error:
            if len(docs) == 1:
                error_handler(self.name, self, docs, error)
                return
        if predictions is None:  # not in the handler: the errors of docs are errors of their own
            for doc in docs:
                yield from self._annotated([doc])
            return
        for doc, prediction in zip(docs, predictions, strict=True):
            try:
                self.set_annotations([doc], [prediction])
            except Exception as error:
                error_handler(self.name, self, [doc], error)
            else:
                yield doc

    def _batches(self, stream: Iterable[Doc], batch_size: int) -> Iterator[list[Doc]]:
        most = batch_size if batch_size == 1 else batch_size * self.batches_ahead
        docs = iter(stream)
        # The budget is computed after the first doc: without docs no LLM is needed. There is no
        # lookahead, because the preceding component would have to process the next doc for it.
        for doc in docs:
            budget = self._tokens_ahead()
            yield from batches(chain([doc], docs), budget, most=most, lookahead=False)

    def _tokens_ahead(self) -> float:
        """Tokens of docs that are read ahead.

        Their states, by all LLMs together, fill at most half of the cache of recent texts: the next
        component on the same LLM reads the same docs ahead and finds the states there.
        """
        llms = [shim.llm for shim in self._llm_shims()]
        try:
            room = sum(1 / llm.tokens_at_once() for llm in llms)
            wanted = max((llm.tokens_ahead() for llm in llms), default=TOKENS_AHEAD)
        except Exception:  # a missing LLM: `predict` raises the error if a text needs it
            return TOKENS_AHEAD
        return max(1.0, min(wanted, 1 / room)) if llms else wanted

    def _cost(self, doc: Doc) -> int:
        """The size of a doc in a batch for prediction, where a long doc must be alone."""
        return PREDICT_TOKENS + 1 if is_long(self.model, doc) else len(doc)

    def _warn_once(self, text: str, about: str = "") -> None:
        """Warn once per training.

        text (str): A text of `errors.Warnings`, which begins with its code in brackets, so that
            `spacy.errors.filter_warning` can match it.
        about (str): What it is about, if there may be several.
        """
        code = text.split("]")[0] + about
        if code not in self._warned:
            self._warned.add(code)
            warnings.warn(text, UserWarning, stacklevel=3)

    # Writing spans ----------------------------------------------------------------------------

    def set_annotations(self, docs: Iterable[Doc], predictions: list[Any]) -> None:
        """Write predicted spans, which are disjoint, to docs.

        docs (Iterable[Doc]): The docs.
        predictions (List[Spans]): The output of `predict` for them.

        DOCS: https://spacy.io/api/spancategorizer#set_annotations
        """
        for doc, found in zip(docs, predictions, strict=True):
            self._write(doc, self._make_spans(doc, found), found.scores)

    def _make_spans(self, doc: Doc, found: Spans) -> list[Span]:
        labels = (self.labels[index] for index in found.labels)
        return make_spans(doc, found.starts, found.ends, labels, found.scores)

    def _write(self, doc: Doc, spans: list[Span], scores: np.ndarray) -> None:
        """Write disjoint spans to the annotation chosen by the setting `annotate`."""
        if self.settings["annotate"] in ("spans", "both"):
            self._write_spans(doc, spans, scores)
        if self.settings["annotate"] in ("ents", "both"):
            write_ents(doc, spans, self.settings["on_existing_ents"])

    def _write_spans(self, doc: Doc, spans: list[Span], scores: np.ndarray) -> None:
        """Write the span group; warn once if it replaces spans of another component."""
        on_existing = self.settings["on_existing_spans"]
        if on_existing == "replace":
            lost = lost_spans(doc, spans, self.key)
            if lost:
                self._warn_once(Warnings.W12.format(name=self.name, key=self.key, spans=lost))
        write_spans(doc, spans, scores, self.key, on_existing)

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """Score examples with the scorer, which gets the settings, as in spaCy those of `cfg`.

        examples (Iterable[Example]): The examples.
        kwargs: Settings for the scorer that override the component's.
        RETURNS (Dict[str, Any]): The scores.

        DOCS: https://spacy.io/api/spancategorizer#score
        """
        examples = list(examples)
        self._report_scored(examples, "the scored data")
        return super().score(examples, **{**self.settings, **kwargs})

    def _report_schedule(self, nlp: Language | None, n_docs: int) -> None:
        """Warn before training if it is too short, or if its last step is never evaluated."""
        faults = [] if nlp is None else schedule_faults(nlp, n_docs)
        if faults:
            first, *others = faults
            sentences = [first, *(fault[0].upper() + fault[1:] for fault in others)]
            self._warn_once(Warnings.W08.format(name=self.name, faults=" ".join(sentences)))

    # Serialisation ----------------------------------------------------------------------------

    def to_bytes(self, *, exclude: Iterable[str] = util.SimpleFrozenList()) -> bytes:
        """Write state and weights to bytes, without the LLM.

        exclude (Iterable[str]): Parts to leave out: "cfg", "vocab", "model".
        RETURNS (bytes): The bytes.

        DOCS: https://spacy.io/api/spancategorizer#to_bytes
        """
        self._report_unstored()
        return super().to_bytes(exclude=exclude)

    def from_bytes(
        self, bytes_data: bytes, *, exclude: Iterable[str] = util.SimpleFrozenList()
    ) -> Self:
        """Load state and weights from bytes.

        bytes_data (bytes): The output of `to_bytes`, without the LLM.
        exclude (Iterable[str]): Parts to leave unchanged: "cfg", "vocab", "model".
        RETURNS (LLMPipe): This component.

        DOCS: https://spacy.io/api/spancategorizer#from_bytes
        """
        with self._loading(exclude):
            super().from_bytes(bytes_data, exclude=exclude)
        return self

    def to_disk(
        self, path: str | Path, *, exclude: Iterable[str] = util.SimpleFrozenList()
    ) -> None:
        """Write state and weights; the cut LLM too if `bundle_llm` is set.

        path (Union[str, Path]): The component's folder.
        exclude (Iterable[str]): Parts to leave out: "cfg", "vocab", "model", "llm".

        DOCS: https://spacy.io/api/spancategorizer#to_disk
        """
        self._report_unstored()
        super().to_disk(path, exclude=exclude)
        if self.settings.get("bundle_llm") and "llm" not in exclude:
            places = [Place(s.llm, llm_folder(s, Path(path))) for s in self._llm_shims()]
            for alike in shared_weights(places):
                write_shared(alike)

    def from_disk(
        self, path: str | Path, *, exclude: Iterable[str] = util.SimpleFrozenList()
    ) -> Self:
        """Load state and weights. The LLM is loaded on first use: the bundled one, unless the
        setting `name` was overridden. A missing one is a warning here (W09), and an error then.

        path (Union[str, Path]): The component's folder.
        exclude (Iterable[str]): Parts to leave unchanged: "cfg", "vocab", "model", "llm".
        RETURNS (LLMPipe): This component.

        DOCS: https://spacy.io/api/spancategorizer#from_disk
        """
        with self._loading(exclude):
            super().from_disk(path, exclude=exclude)
        for shim in self._shims(IdentityShim):
            bundle = None
            if isinstance(shim, LLMShim) and "llm" not in exclude:
                bundle = find_bundle(llm_folder(shim, Path(path)), shim.llm.settings.name)
                if bundle is not None:
                    shim.llm.use_bundle(bundle)
            if bundle is None:
                self._warn_if_missing(shim)
        return self

    def _warn_if_missing(self, shim: IdentityShim) -> None:
        """Warn (W09, W10) about an LLM that is not on this machine, but needed for a text."""
        llm = shim.needed
        if llm is None or not missing(llm.name, llm.revision):
            return
        text = Warnings.W09 if isinstance(shim, LLMShim) else Warnings.W10
        setting = f"components.{self.name}.{shim.name_setting}"
        text = text.format(name=self.name, llm=llm.name, cwd=Path.cwd(), setting=setting)
        self._warn_once(text, about=shim.name_setting)

    @contextmanager
    def _loading(self, exclude: Iterable[str]) -> Iterator[None]:
        """Replace the state, rather than update it, while spaCy loads the parts."""
        if "model" not in exclude:
            # The current number of labels must not conflict with the stored one.
            for node in self.model.walk():
                if "nO" in node.dim_names and node.shims + list(node.ref_names):
                    node.set_dim("nO", None, force=True)  # type: ignore[arg-type]
        if "cfg" in exclude:
            yield
            return
        before, self.cfg = self.cfg, State(self.name, self.settings)
        yield
        if "labels" not in self.cfg:
            raise ValueError(Errors.E311.format(name=self.name))
        self._state_loaded(before)

    def _state_loaded(self, before: dict[str, Any]) -> None:
        """Check and complete `cfg` after it was loaded.

        before (Dict[str, Any]): Its value before loading.
        """
        for label in self.labels:
            self.vocab.strings.add(label)


class EntityPipe(LLMPipe):
    """A component that finds spans with a head and keeps those at or above a threshold.

    A threshold is a setting. A temperature is state: it is fitted to the logits of this head,
    stored with the labels and weights, and reset by `initialize`.
    """

    scorer: Callable | None

    # The annotation that is scored if both are written.
    _main_annotation: ClassVar[str]
    # The texts of warnings: their codes differ between the components.
    _misaligned: ClassVar[str]
    _score_weights: ClassVar[str]

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str,
        *,
        threshold: float | str | dict[str, float],
        decoding: str,
        **settings: Any,
    ) -> None:
        check_choice("decoding", decoding, self.decodings, component=name)
        super().__init__(
            vocab,
            model,
            name,
            threshold=read_threshold(name, threshold),
            decoding=decoding,
            **settings,
        )

    # Thresholds and temperatures --------------------------------------------------------------

    @property
    def temperature(self) -> PerLabel:
        """The divisor of logits, or of the log-odds of scores: 1 unless calibrated.

        One number for all labels, or one per label (1 for labels that are not named).
        """
        return self.cfg.get("temperature", DEFAULT_TEMPERATURE)

    @temperature.setter
    def temperature(self, value: PerLabel) -> None:
        check_temperature(self.name, value)
        # A component that was never calibrated is stored without a temperature.
        self.cfg.pop("temperature", None)
        if value != DEFAULT_TEMPERATURE:
            self.cfg["temperature"] = value

    def _temperatures(self) -> np.ndarray:
        return per_label(self.temperature, self.labels, DEFAULT_TEMPERATURE)

    def _state_loaded(self, before: dict[str, Any]) -> None:
        super()._state_loaded(before)
        check_temperature(self.name, self.temperature)

    # Before training --------------------------------------------------------------------------

    def _take_labels(
        self,
        golds: list[Gold],
        labels: list[str] | None,
        get_examples: Callable[[], Iterable[Example]],
    ) -> None:
        super()._take_labels(golds, labels, get_examples)
        self._thresholds()  # warns about labels that the component does not have

    def _report_misaligned(self, golds: list[Gold]) -> None:
        lost = sum(gold.lost for gold in golds)
        if lost:
            total = sum(len(gold.spans) + gold.lost for gold in golds)
            self._warn_once(self._misaligned.format(name=self.name, lost=lost, total=total))

    def _report_score_weights(self, nlp: Language | None) -> None:
        """Warn before training if all checkpoints would get the same score."""
        if nlp is None or self.scorer is not score_span_recognizer:
            return
        annotate = self.settings["annotate"]
        weights = unscored_weights(nlp, self.name, annotate=annotate, key=self.key)
        if weights:
            main = self._main_annotation if annotate == "both" else annotate
            self._warn_once(
                self._score_weights.format(
                    name=self.name,
                    weights=", ".join(weights),
                    annotate=annotate,
                    key=self.key,
                    own="ents_f" if main == "ents" else f"spans_{self.key}_f",
                )
            )

    def _read_corpus(self, get_examples: Callable[[], Iterable[Example]]) -> CorpusReading:
        """Let a frozen LLM read all texts in advance, if the store has room.

        get_examples (Callable[[], Iterable[Example]]): Function that returns the training data.
        RETURNS (CorpusReading): A sample, and the counts of gold spans that cannot be learnt.
        """
        sample: list[Doc] = []
        sampled = unseen = unscored = 0
        stream = iter(get_examples())
        while examples := list(islice(stream, READ_DOCS)):
            docs = [example.predicted for example in examples]
            unseen += count_unseen(examples, self._read_ahead(docs), self.key)
            unscored += self._count_unscored(examples)
            for doc in docs:
                if sampled < SAMPLE_TOKENS:
                    sample.append(doc)
                    sampled += len(doc)
        self._log_summaries()
        return CorpusReading(sample, unseen, unscored)

    def _count_unscored(self, examples: Sequence[Example]) -> int:
        """Count gold spans without a score, if the model does not score every span of tokens."""
        count = self.model.attrs.get("count_unscored")
        if count is None:
            return 0
        spans = [read_gold(example, self.key).spans for example in examples]
        return count(self.model, [example.predicted for example in examples], spans)


@dataclass(frozen=True)
class CorpusReading:
    """Findings from reading a training corpus.

    sample (List[Doc]): Some of its docs, for the statistics of their states.
    unseen (int): Gold spans without a state at one of their edges.
    unscored (int): Gold spans that the model does not score.
    """

    sample: list[Doc]
    unseen: int
    unscored: int


def merged_states(states: Sequence[Sequence[np.ndarray]]) -> Sequence[np.ndarray]:
    """What several LLMs have seen of some docs.

    states (Sequence[Sequence[ndarray]]): For each LLM the states of each doc.
    RETURNS (Sequence[ndarray]): Those of a single LLM as they are. Of several, for each doc bool
        (tokens, 1, 1): whether any of them has a state for a token.
    """
    if len(states) < 2:
        return states[0] if states else []
    return [
        np.any([np.any(each[:, 0], axis=1) for each in doc], axis=0)[:, None, None]
        for doc in zip(*states, strict=True)
    ]


def no_spans() -> Spans:
    """The spans of a text without tokens."""
    whole = np.zeros(0, dtype=np.int32)
    return Spans(whole, whole, whole, np.zeros(0, dtype=np.float32))


def check_temperature(name: str, temperature: PerLabel) -> None:
    """Require positive numbers.

    name (str): The component instance's name.
    temperature (Union[float, Dict[str, float]]): One for all labels, or one per label.
    RAISES (ValueError): If a temperature is not a finite number above 0 (E313).
    """
    values = temperature.values() if isinstance(temperature, dict) else [temperature]
    if not all(isinstance(value, Real) and 0.0 < value < float("inf") for value in values):
        raise ValueError(Errors.E313.format(name=name, temperature=temperature))


class ReadingLog:
    """Context that logs, during training, how many texts the LLM read and how many were stored.

    Equal texts count as one.

    pipe (LLMPipe): The component.
    shims (Optional[Sequence[LLMShim]]): The LLMs; None for all of the component.
    always (bool): Whether to log short passes too.
    """

    def __init__(
        self, pipe: LLMPipe, shims: Sequence[LLMShim] | None = None, *, always: bool
    ) -> None:
        shims = pipe._llm_shims() if shims is None else shims
        self.llms = [shim.llm for shim in shims]
        self.called = [f"the LLM '{s.member}'" if s.member else "the LLM" for s in shims]
        self.name, self.always = pipe.name, always

    def _counts(self) -> list[tuple[int, int, float]]:
        return [(llm.texts_asked, llm.texts_read, llm.seconds) for llm in self.llms]

    def __enter__(self) -> None:
        self.before = self._counts()

    def __exit__(self, *_: object) -> None:
        counts = zip(self.llms, self.called, self.before, self._counts(), strict=True)
        for llm, called, before, after in counts:
            asked, read = after[0] - before[0], after[1] - before[1]
            seconds = after[2] - before[2]
            if llm.remembering and (self.always or seconds > _SECONDS_WORTH_A_LINE):
                took = f" in {seconds:.0f} s" if read else ""
                logger.info(
                    "%s: of %d texts %s read %d%s; %d were remembered",
                    self.name,
                    asked,
                    called,
                    read,
                    took,
                    asked - read,
                )
