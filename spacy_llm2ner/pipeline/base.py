"""What every component with a trained head on a frozen LLM has: labels, spans, reading, storage."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import srsly
from spacy import util
from spacy.errors import Errors
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab
from thinc.api import Model
from typing_extensions import Self

from ..architectures.shims import HeadShim, LLMShim
from ..decoding.spans import Spans
from ..llm.frozen import FrozenLLM
from ..log import logger
from .annotate import make_spans, write_ents, write_spans
from .gold import Gold, labels_of
from .schedule import schedule_faults

# Tokens whose states and scores are held at once while predicting.
PREDICT_TOKENS = 20_000
# Docs of the training data that are read at once, with one progress bar.
READ_DOCS = 2_000
# Tokens from which the head takes the statistics of the states.
SAMPLE_TOKENS = 20_000
# Seconds of reading within one batch that the log speaks of, beside reading ahead.
_SECONDS_WORTH_A_LINE = 3.0
# The file of a bundled LLM that says which `name` it stands for.
_BUNDLED_NAME = "llm2ner_name.json"


class LLMPipe(TrainablePipe):
    """A trainable component whose model holds a frozen LLM and a head.

    Labels can be added at any time; the head goes to disk and the LLM stays where it is; the log
    says what the LLM had to read.

    vocab (Vocab): The shared vocabulary.
    model (Model): The Thinc model; its LLM and head stand behind `LLMShim` and `HeadShim`.
    name (str): The component instance's name, also in the losses.
    cfg (Any): Settings. They are in the pipeline's config, and so are not stored with the weights.
    """

    vocab: Vocab
    model: Model
    name: str
    cfg: dict[str, Any]

    def __init__(self, vocab: Vocab, model: Model, name: str, **cfg: Any) -> None:
        self.vocab = vocab
        self.model = model
        self.name = name
        self.cfg = {"labels": [], **cfg}
        self._warned: set[str] = set()

    @property
    def key(self) -> str:
        """The key of `doc.spans` that is written, and where gold annotation is looked for."""
        return str(self.cfg["spans_key"])

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
        """Add a label. A trained head grows: what it learnt for the other labels stays.

        label (str): The label.
        RETURNS (int): 1 if it was added, 0 if it was there.
        RAISES: ValueError if it is no string.

        DOCS: https://spacy.io/api/spancategorizer#add_label
        """
        if not isinstance(label, str):
            raise ValueError(Errors.E187)
        if label in self.labels:
            return 0
        self.cfg["labels"].append(label)
        self.vocab.strings.add(label)
        if self.model.has_dim("nO"):
            self.set_output(len(self.labels))
        return 1

    def _take_labels(self, golds: list[Gold], labels: list[str] | None) -> None:
        """Add the labels that are given, or else those of the data, which must be all there."""
        for label in labels_of(golds) if labels is None else labels:
            self.add_label(label)
        self._require_labels()
        self._require_known_labels(golds)

    def _require_known_labels(self, golds: list[Gold]) -> None:
        unknown = sorted({*labels_of(golds)} - {*self.labels})
        if unknown:
            raise ValueError(
                f"{self.name}: the training data has spans labelled {', '.join(unknown)}, but the "
                f"component's labels are {', '.join(self.labels)}. Add labels with add_label, or "
                f"give all of them in [initialize.components.{self.name}.labels] (made by "
                f"`spacy init labels`)."
            )

    # The head and the LLM ---------------------------------------------------------------------

    def _shims(self, kind: type) -> list[Any]:
        return [s for node in self.model.walk() for s in node.shims if isinstance(s, kind)]

    def _llm_shims(self) -> list[LLMShim]:
        return self._shims(LLMShim)

    def _require_head(self) -> None:
        """Say that `initialize` is missing before the LLM is loaded and reads in vain."""
        if not all(shim.is_built for shim in self._shims(HeadShim)):
            raise ValueError(Errors.E109.format(name=self.name))

    def _read_ahead(self, docs: list[Doc]) -> list[np.ndarray]:
        """Have the LLM read docs as far as they can be remembered: their states, or nothing."""
        states: list[np.ndarray] = []
        for shim in self._llm_shims():
            shim.llm.remember()
            if shim.llm.has_room():
                with ReadingLog(self, always=True):
                    states = shim.llm.states(docs)
        return states

    def _log_summaries(self) -> None:
        for shim in self._llm_shims():
            logger.info("%s: %s", self.name, shim.llm.summary())

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Process a stream of docs in batches.

        A batch also ends when its states fill half of the memory of recent texts: the next
        component on the same LLM finds them there, because it asks for the same batches.

        stream (Iterable[Doc]): The docs.
        batch_size (int): The most docs in a batch.
        YIELDS (Doc): The docs, in order.

        DOCS: https://spacy.io/api/spancategorizer#pipe
        """
        error_handler = self.get_error_handler()
        for docs in self._batches(stream, batch_size):
            try:
                self.set_annotations(docs, self.predict(docs))
                yield from docs
            except Exception as error:
                error_handler(self.name, self, docs, error)

    def _batches(self, stream: Iterable[Doc], batch_size: int) -> Iterator[list[Doc]]:
        budget: float | None = None
        docs: list[Doc] = []
        tokens = 0
        for doc in stream:
            docs.append(doc)
            tokens += len(doc)
            if budget is None:
                budget = self._tokens_at_once()
            # Never by looking at the next doc: the component before would have to read on for it.
            if len(docs) >= batch_size or tokens >= budget:
                yield docs
                docs, tokens = [], 0
        if docs:
            yield docs

    def _tokens_at_once(self) -> float:
        try:
            return min((shim.llm.tokens_at_once() for shim in self._llm_shims()), default=math.inf)
        except Exception:  # an LLM that is not there: `predict` says so, if any text needs it
            return math.inf

    def _warn(self, code: str, sentence: str) -> None:
        """Warn once per training, in a form that `spacy.errors.filter_warning` can match."""
        if code not in self._warned:
            self._warned.add(code)
            warnings.warn(f"[{code}] {self.name}: {sentence}", UserWarning, stacklevel=3)

    # What is found ----------------------------------------------------------------------------

    def set_annotations(self, docs: Iterable[Doc], predictions: list[Any]) -> None:
        """Write predicted spans, which are disjoint, to docs.

        docs (Iterable[Doc]): The docs.
        predictions (List[Spans]): What `predict` gave for them.

        DOCS: https://spacy.io/api/spancategorizer#set_annotations
        """
        for doc, found in zip(docs, predictions, strict=True):
            self._write(doc, self._make_spans(doc, found), found.scores)

    def _make_spans(self, doc: Doc, found: Spans) -> list[Span]:
        labels = (self.labels[index] for index in found.labels)
        return make_spans(doc, found.starts, found.ends, labels, found.scores)

    def _write(self, doc: Doc, spans: list[Span], scores: np.ndarray) -> None:
        """Write disjoint spans where the setting `annotate` says."""
        if self.cfg["annotate"] in ("spans", "both"):
            write_spans(doc, spans, scores, self.key)
        if self.cfg["annotate"] in ("ents", "both"):
            write_ents(doc, spans, self.cfg["on_existing_ents"])

    def _report_schedule(self, nlp: Language | None, n_docs: int) -> None:
        """Say so before the training if it will be too short, or its end never be evaluated."""
        faults = [] if nlp is None else schedule_faults(nlp, n_docs)
        if faults:
            self._warn("L2N-W08", f"the schedule does not fit the data: {' '.join(faults)}")

    # Going to disk and back -------------------------------------------------------------------

    def to_bytes(self, *, exclude: Iterable[str] = util.SimpleFrozenList()) -> bytes:
        """Labels and head as bytes; the LLM never goes along here.

        exclude (Iterable[str]): Parts to leave out: "cfg", "vocab", "model".
        RETURNS (bytes): The component.

        DOCS: https://spacy.io/api/spancategorizer#to_bytes
        """
        self._validate_serialization_attrs()
        return util.to_bytes(
            {
                "cfg": lambda: srsly.json_dumps(self._stored_cfg()),
                "vocab": lambda: self.vocab.to_bytes(exclude=exclude),
                "model": self.model.to_bytes,
            },
            exclude,
        )

    def from_bytes(
        self, bytes_data: bytes, *, exclude: Iterable[str] = util.SimpleFrozenList()
    ) -> Self:
        """Load labels and head from bytes.

        bytes_data (bytes): What `to_bytes` gave.
        exclude (Iterable[str]): Parts to leave as they are.
        RETURNS (LLMPipe): This component.

        DOCS: https://spacy.io/api/spancategorizer#from_bytes
        """
        self._validate_serialization_attrs()
        util.from_bytes(
            bytes_data,
            {
                "cfg": lambda data: self._load_cfg(srsly.json_loads(data)),
                "vocab": lambda data: self.vocab.from_bytes(data, exclude=exclude),
                "model": self._load_model,
            },
            exclude,
        )
        return self

    def to_disk(
        self, path: str | Path, *, exclude: Iterable[str] = util.SimpleFrozenList()
    ) -> None:
        """Write labels and head; the cut LLM too if `bundle_llm` is set.

        path (Union[str, Path]): The component's folder.
        exclude (Iterable[str]): Parts to leave out: "cfg", "vocab", "model", "llm".

        DOCS: https://spacy.io/api/spancategorizer#to_disk
        """
        self._validate_serialization_attrs()
        serialize: dict[str, Callable[[Path], Any]] = {
            "cfg": lambda p: srsly.write_json(p, self._stored_cfg()),
            "vocab": lambda p: self.vocab.to_disk(p, exclude=exclude),
            "model": self.model.to_disk,
        }
        if self.cfg.get("bundle_llm"):
            for shim in self._llm_shims():
                serialize["llm"] = partial(_save_bundle, shim.llm)
        util.to_disk(path, serialize, exclude)

    def from_disk(
        self, path: str | Path, *, exclude: Iterable[str] = util.SimpleFrozenList()
    ) -> Self:
        """Load labels and head. The LLM is loaded when it is first needed: the bundled one, unless
        the setting `name` has been overridden.

        path (Union[str, Path]): The component's folder.
        exclude (Iterable[str]): Parts to leave as they are.
        RETURNS (LLMPipe): This component.

        DOCS: https://spacy.io/api/spancategorizer#from_disk
        """
        self._validate_serialization_attrs()
        deserialize: dict[str, Callable[[Path], Any]] = {
            "cfg": lambda p: self._load_cfg(srsly.read_json(p)),
            "vocab": lambda p: self.vocab.from_disk(p, exclude=exclude),
            "model": lambda p: self._load_model(p.read_bytes()),
        }
        util.from_disk(path, deserialize, exclude)
        bundle = Path(path) / "llm"
        if "llm" not in exclude and bundle.is_dir():
            for shim in self._llm_shims():
                if _bundled_name(bundle) in (None, shim.llm.settings.name):
                    shim.llm.use_bundle(bundle)
        return self

    def _stored_cfg(self) -> dict[str, Any]:
        # Everything else is in the pipeline's config, where an override at load can reach it.
        return {"labels": list(self.labels)}

    def _load_cfg(self, stored: dict[str, Any]) -> None:
        self.cfg["labels"] = list(stored["labels"])
        for label in self.labels:
            self.vocab.strings.add(label)

    def _load_model(self, data: bytes) -> None:
        # A number of labels that this instance was made for must not stand in the stored one's way.
        for node in self.model.walk():
            if "nO" in node.dim_names and node.shims + list(node.ref_names):
                node.set_dim("nO", None, force=True)  # type: ignore[arg-type]
        try:
            self.model.from_bytes(data)
        except AttributeError as error:
            raise ValueError(Errors.E149) from error


class ReadingLog:
    """Says in the log what the LLM had to read and what was remembered, while training.

    Equal texts count as one: they are read and remembered together.

    pipe (LLMPipe): The component.
    always (bool): Also say so if the LLM needed no more than a moment.
    """

    def __init__(self, pipe: LLMPipe, *, always: bool) -> None:
        self.llms = [shim.llm for shim in pipe._llm_shims()]
        self.name, self.always = pipe.name, always

    def _counts(self) -> list[tuple[int, int, float]]:
        return [(llm.texts_asked, llm.texts_read, llm.seconds) for llm in self.llms]

    def __enter__(self) -> None:
        self.before = self._counts()

    def __exit__(self, *_: object) -> None:
        for llm, before, after in zip(self.llms, self.before, self._counts(), strict=True):
            asked, read = after[0] - before[0], after[1] - before[1]
            seconds = after[2] - before[2]
            if llm.remembering and (self.always or seconds > _SECONDS_WORTH_A_LINE):
                took = f" in {seconds:.0f} s" if read else ""
                logger.info(
                    "%s: of %d texts the LLM read %d%s; %d were remembered",
                    *(self.name, asked, read, took, asked - read),
                )


def _save_bundle(llm: FrozenLLM, folder: Path) -> None:
    llm.save_bundle(folder)
    srsly.write_json(folder / _BUNDLED_NAME, {"name": llm.settings.name})


def _bundled_name(folder: Path) -> str | None:
    """The setting `name` of the pipeline that the bundle was written by; None if it is not said."""
    path = folder / _BUNDLED_NAME
    return srsly.read_json(path)["name"] if path.is_file() else None


def within_budget(docs: list[Doc], tokens: int) -> Iterator[list[Doc]]:
    """Consecutive runs of docs of at most `tokens` tokens (or one longer doc)."""
    run: list[Doc] = []
    size = 0
    for doc in docs:
        if run and size + len(doc) > tokens:
            yield run
            run, size = [], 0
        run.append(doc)
        size += len(doc)
    if run:
        yield run
