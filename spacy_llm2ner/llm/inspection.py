"""Inspection of an LLM before it is chosen: facts, checks, speed, and suggested settings.

The facts come from the model folder alone. The checks run the LLM on a paragraph of English and
turn what they find into sentences. An LLM that cannot be used at all is an error, as when a
pipeline loads it.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import get_torch_default_device

from ..errors import Warnings
from .checkpoint import Checkpoint, expects_causal, read_config
from .cutting import cut_config, is_cuttable, needed_weights
from .extraction import FrozenLLMSettings
from .frozen import FrozenLLM
from .loading import AUTO, LoadSpec, base_class, native_dtype, read_model
from .plausibility import (
    MOST_PIECES_PER_WORD,
    PARAGRAPH,
    Likelihood,
    PieceCounts,
    count_pieces,
    likelihood,
)

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

# The precisions that are timed, and the bytes of a number.
TIMED = {"float32": 4, "bfloat16": 2}
# bfloat16 is suggested if it is so much faster than float32.
_WORTH = 1.2
# Other names of a class with an LM head do not occur in config.json.
_CAUSAL_HEADS = ("ForCausalLM", "LMHeadModel", "DoubleHeadsModel")
_MASKED_HEADS = ("ForMaskedLM", "ForPreTraining")
_WORDS = len(PARAGRAPH.split())


# What is known without running the LLM ----------------------------------------------------


@dataclass(frozen=True)
class Facts:
    """What the model folder says.

    name, folder, architecture (str): The LLM, where it is, and its model type.
    blocks, width (int): Its blocks, and the size of a state.
    positions (Optional[int]): The most pieces of one row, special ones included.
    vocabulary (int): The number of pieces.
    parameters (int): Weights of all blocks and the embedding, in numbers.
    causal (Optional[bool]): Whether pieces attend only to preceding ones, if it is known.
    tokenizer (str): The kind of tokenizer.
    prefix, separator, suffix (List[str]): Special pieces before the text, between two copies, and
        after it.
    """

    name: str
    folder: str
    architecture: str
    blocks: int
    width: int
    positions: int | None
    vocabulary: int
    parameters: int
    causal: bool | None
    tokenizer: str
    prefix: list[str]
    separator: list[str]
    suffix: list[str]


@dataclass(frozen=True)
class Memory:
    """The memory that the LLM takes with the suggested settings.

    weights (Dict[str, int]): Bytes of the weights that are loaded, by dtype.
    states_per_word (int): Bytes that a store takes for a word.
    """

    weights: dict[str, int]
    states_per_word: int


@dataclass(frozen=True)
class Speed:
    """Words per second on this machine, at the suggested layers.

    reading, dtype (str): How the LLM reads.
    words_per_second (float): The rate, for texts like the paragraph.
    """

    reading: str
    dtype: str
    words_per_second: float


@dataclass(frozen=True)
class Inspection:
    """What is known of an LLM.

    facts (Facts): From its folder.
    paragraph (PieceCounts): How its tokenizer splits a paragraph of English.
    data (Optional[PieceCounts]): How it splits the user's texts.
    likelihood (Optional[Likelihood]): Of that paragraph; None if there is no LM head, or nothing
        was run.
    largest_state (Optional[float]): The largest number in the states of the paragraph.
    device (str): The device that the speed is measured on.
    speeds (List[Speed]): The speeds; none if nothing was run.
    memory (Memory): The memory.
    settings (Dict[str, Any]): Suggested settings of `spacy_llm2ner.FrozenLLM.v1`.
    warnings (List[str]): Sentences about what may go wrong, with codes.
    """

    facts: Facts
    paragraph: PieceCounts
    data: PieceCounts | None
    likelihood: Likelihood | None
    largest_state: float | None
    device: str
    speeds: list[Speed]
    memory: Memory
    settings: dict[str, Any]
    warnings: list[str]


def inspect_llm(
    name: str,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    texts: Sequence[tuple[str, int]] = (),
    run: bool = True,
    seconds: float = 1.5,
) -> Inspection:
    """Find out what a user should know of an LLM before choosing it.

    name (str): Hub id, model folder or GGUF file. Downloaded or converted if needed.
    revision (Optional[str]): Branch, tag or commit; only for hub ids.
    trust_remote_code (bool): Whether code that comes with the model may run.
    texts (Sequence[Tuple[str, int]]): The user's texts, with their numbers of words.
    run (bool): Whether to load and run the LLM. Otherwise only its folder is read.
    seconds (float): How long each speed is measured, at least.
    RETURNS (Inspection): The facts, the checks and the suggestion.
    RAISES (ValueError, OSError): If a pipeline could not use this LLM: see `FrozenLLM`. States
        that are not finite are an error too (E126).
    """
    settings = FrozenLLMSettings(name, revision=revision, trust_remote_code=trust_remote_code)
    inspector = _Inspector(settings, seconds)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = inspector.inspect(texts, run=run)
    told: list[str] = []
    for warning in caught:
        if str(warning.message).startswith("[L2N-"):
            told.append(str(warning.message))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return replace(found, warnings=list(dict.fromkeys([*told, *found.warnings])))


class _Inspector:
    """One inspection; arguments as for `inspect_llm`."""

    def __init__(self, settings: FrozenLLMSettings, seconds: float) -> None:
        self.base = settings
        self.seconds = seconds
        self.doubts: list[str] = []

    @property
    def name(self) -> str:
        return self.base.name

    @cached_property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            self.name,
            revision=self.base.revision,
            trust_remote_code=self.base.trust_remote_code,
        )

    def inspect(self, texts: Sequence[tuple[str, int]], *, run: bool) -> Inspection:
        facts = self._facts()
        tokenizer = self.checkpoint.tokenizer
        paragraph = count_pieces(tokenizer, [(PARAGRAPH, _WORDS)])
        data = count_pieces(tokenizer, texts) if texts else None
        self._judge_pieces(paragraph, data)
        likely = self._likelihood(facts) if run else None
        llm = self._llm("twice" if facts.causal is not False else "once", "float32")
        largest = self._largest_state(llm) if run else None
        if run:
            facts = replace(facts, causal=llm.model.is_causal)
        reading = "once" if facts.causal is False else "twice"
        speeds = self._speeds(("once", "twice") if facts.causal else ("once",)) if run else []
        return Inspection(
            facts=facts,
            paragraph=paragraph,
            data=data,
            likelihood=likely,
            largest_state=largest,
            device=str(get_torch_default_device()),
            speeds=speeds,
            memory=self._memory(llm),
            settings=self._suggested(llm, reading, speeds),
            warnings=self.doubts,
        )

    def _llm(self, reading: str, dtype: str) -> FrozenLLM:
        llm = FrozenLLM(replace(self.base, reading=reading, dtype=dtype))
        llm.checkpoint = self.checkpoint
        return llm

    # The folder ---------------------------------------------------------------------------

    def _facts(self) -> Facts:
        config, tokenizer = self.checkpoint.config, self.checkpoint.tokenizer
        backend = tokenizer.backend_tokenizer
        reading = self._llm("twice", "float32").reading
        whole = read_config(self.checkpoint.folder, trust_remote_code=self.base.trust_remote_code)

        def pieces(ids: Sequence[int]) -> list[str]:
            texts = (backend.decode([piece], skip_special_tokens=False) for piece in ids)
            return [text or str(backend.id_to_token(i)) for text, i in zip(texts, ids, strict=True)]

        return Facts(
            name=self.name,
            folder=str(self.checkpoint.folder),
            architecture=whole.model_type,
            blocks=config.num_hidden_layers,
            width=config.hidden_size,
            positions=self.checkpoint.max_positions,
            vocabulary=config.vocab_size,
            parameters=self._parameters(config),
            causal=expects_causal(config),
            tokenizer=tokenizer_kind(tokenizer),
            prefix=pieces(reading.prefix),
            separator=pieces(reading.separator),
            suffix=pieces(reading.suffix),
        )

    def _parameters(self, config: PretrainedConfig) -> int:
        """The number of weights of a model without its LM head, which is not loaded for it."""
        import torch

        options = {"trust_remote_code": True} if self.base.trust_remote_code else {}
        with torch.device("meta"):
            model = base_class(config).from_config(config, **options)
        return sum(weight.numel() for weight in model.parameters())

    def _memory(self, llm: FrozenLLM) -> Memory:
        config = llm.config
        cut = cut_config(config, llm.depth) if is_cuttable(config) else config
        parameters = self._parameters(cut)
        return Memory(
            weights={dtype: size * parameters for dtype, size in TIMED.items()},
            states_per_word=2 * len(llm.layers) * llm.width,
        )

    def _judge_pieces(self, paragraph: PieceCounts, data: PieceCounts | None) -> None:
        counted = {"plain English": paragraph, "the data": data}
        for texts, counts in counted.items():
            if counts is not None and counts.pieces_per_word > MOST_PIECES_PER_WORD:
                text = Warnings.W63.format(
                    name=self.name, pieces=counts.pieces_per_word, texts=texts
                )
                self.doubts.append(text)
        if data is not None and (data.uncovered or data.unknown):
            text = Warnings.W65.format(
                name=self.name,
                uncovered=data.uncovered,
                characters=data.characters,
                unknown=data.unknown,
                texts="the data",
            )
            self.doubts.append(text)

    # Running ------------------------------------------------------------------------------

    def _likelihood(self, facts: Facts) -> Likelihood | None:
        config = self.checkpoint.config
        auto_class = _head_class(config)
        if auto_class is None:
            return None
        # On a GPU in the precision that its memory is made for.
        spec = LoadSpec.of(self.checkpoint)
        if spec.device != "cpu":
            spec = replace(spec, dtype="bfloat16")
        try:
            model, missing = read_model(spec, auto_class, config)
        except ValueError as error:
            self.doubts.append(Warnings.W66.format(name=self.name, reason=str(error).rstrip(".")))
            return None
        if needed_weights(config, missing):
            return None  # no LM head in the folder, or only part of a model of images and text
        found = likelihood(
            model.to(spec.device), self.checkpoint.tokenizer, most=self.checkpoint.max_positions
        )
        doubt = found and found.warning(self.name)
        if doubt:
            self.doubts.append(doubt)
        return found

    def _largest_state(self, llm: FrozenLLM) -> float:
        """The largest number in the states of a framed paragraph, special pieces included.

        RAISES (ValueError): If there are numbers that are not finite, as for any text (E126).
        """
        import torch

        llm.read(_texts_to_read()[:1])
        encoding = llm.tokenizer.backend_tokenizer.encode(PARAGRAPH, add_special_tokens=False)
        row = torch.tensor([llm.reading.frame(encoding.ids[: llm.window])])
        row = row.to(llm.spec.device)
        states = llm.model.hidden_states(row, torch.ones_like(row), llm.layers)
        return float(states.abs().max())

    def _speeds(self, readings: Sequence[str]) -> list[Speed]:
        speeds = []
        for dtype in TIMED:
            try:
                with warnings.catch_warnings():
                    # Which precision is fast is measured here.
                    warnings.filterwarnings("ignore", ".*L2N-W69")
                    speeds += [
                        Speed(reading, dtype, self._words_per_second(self._llm(reading, dtype)))
                        for reading in readings
                    ]
            except ValueError as error:
                if dtype == "float32":
                    raise
                self.doubts.append(Warnings.W64.format(name=self.name, dtype=dtype, error=error))
        return speeds

    def _words_per_second(self, llm: FrozenLLM) -> float:
        docs = _texts_to_read()
        llm.read(docs[:1])  # loads the model
        words, started = 0, time.perf_counter()
        while True:
            llm.read(docs)
            words += _WORDS * len(docs)
            passed = time.perf_counter() - started
            if passed >= self.seconds:
                return words / max(passed, 1e-9)

    def _suggested(self, llm: FrozenLLM, reading: str, speeds: Sequence[Speed]) -> dict[str, Any]:
        rates = {s.dtype: s.words_per_second for s in speeds if s.reading == reading}
        faster = rates.get("bfloat16", 0.0) >= _WORTH * rates.get("float32", math.inf)
        dtype = "bfloat16" if faster else "float32"
        automatic = native_dtype(llm.device)
        return {
            "name": self.name,
            "revision": self.base.revision,
            "layers": list(llm.layers),
            "reading": reading,
            # Named only where the machine is faster with another one than expected.
            "dtype": AUTO if not rates or dtype == automatic else dtype,
            "trust_remote_code": self.base.trust_remote_code,
        }


def _texts_to_read() -> list[Doc]:
    """The paragraph, beginning with another sentence each time: equal texts are read once."""
    sentences = [f"{sentence.rstrip('.')}." for sentence in PARAGRAPH.split(". ")]
    turned = (sentences[i:] + sentences[:i] for i in range(4))
    vocab = Vocab()
    return [Doc(vocab, words=" ".join(order).split()) for order in turned]


def _head_class(config: PretrainedConfig) -> Any:
    """The auto class that has the LM head of a model; None if its config names no LM head."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    names = tuple(config.architectures or ())
    if config.is_encoder_decoder:
        return None
    if any(name.endswith(_CAUSAL_HEADS) for name in names):
        return AutoModelForCausalLM
    return AutoModelForMaskedLM if any(name.endswith(_MASKED_HEADS) for name in names) else None


def tokenizer_kind(tokenizer: PreTrainedTokenizerBase) -> str:
    """The kind of a tokenizer, e.g. "byte-level BPE".

    tokenizer (PreTrainedTokenizerBase): A fast tokenizer.
    RETURNS (str): Its kind, as the models' papers name it.
    """
    backend = tokenizer.backend_tokenizer
    kind = type(backend.model).__name__
    if "ByteLevel" in str(backend.pre_tokenizer):
        return f"byte-level {kind}"
    if "▁" in f"{backend.normalizer}{backend.pre_tokenizer}":
        bytes_too = ", with bytes for unknown characters"
        by_bytes = getattr(backend.model, "byte_fallback", False)
        return f"SentencePiece {kind}{bytes_too if by_bytes else ''}"
    return kind
