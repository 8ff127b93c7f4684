"""The systems that are timed: the bare model, FrozenLLM, `nlp.pipe`, and doc by doc."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from spacy.language import Language

from benchmarks.pipelines import is_frozen_llm, layers_of
from spacy_llm2ner.batching import batches_by_length
from spacy_llm2ner.llm.frozen import FrozenLLM


def llm_of(nlp: Language) -> FrozenLLM:
    """The frozen LLM of a pipeline."""
    return next(node.shims[0].llm for node in layers_of(nlp) if is_frozen_llm(node))


class BareModel:
    """(a) The cut model of transformers on ready batches of all texts, sorted by length.

    It gets padded piece ids and their mask, and gives its last hidden states, which are dropped:
    no tokenizer, no states per word, no head.

    nlp (Language): A pipeline with a frozen LLM; long texts are cut into the same windows.
    texts (List[str]): The texts.
    """

    def __init__(self, nlp: Language, texts: list[str]) -> None:
        llm = llm_of(nlp)
        self.model = llm.model.model
        tokenizer = llm.tokenizer.backend_tokenizer
        cut = llm.cut(is_causal=llm.model.is_causal)
        self.rows: list[list[int]] = []
        for text in texts:
            pieces = tokenizer.encode(text, add_special_tokens=False).ids
            self.rows += [
                llm.reading.frame(pieces[start : start + cut.window])
                for start in _starts(len(pieces), cut.window, cut.stride)
            ]
        self.pieces = sum(map(len, self.rows))

    def batches(self, batch_pieces: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Piece ids and masks of batches with at most so many padded pieces."""
        made = []
        for batch in batches_by_length([len(row) for row in self.rows], batch_pieces):
            rows = [torch.tensor(self.rows[i]) for i in batch]
            mask = [torch.ones_like(row) for row in rows]
            pad = torch.nn.utils.rnn.pad_sequence
            made.append((pad(rows, batch_first=True), pad(mask, batch_first=True)))
        return made

    def run(self, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """One forward pass for each batch."""
        with torch.inference_mode():
            for ids, mask in batches:
                self.model(input_ids=ids, attention_mask=mask)


def _starts(count: int, window: int, stride: int) -> Iterator[int]:
    """Starts of windows over `count` pieces; the last one ends with the text."""
    if count:
        yield from range(0, max(0, count - window), stride)
        yield max(0, count - window)


def pipeline_systems(nlp: Language, texts: list[str]) -> dict[str, Callable[[], Any]]:
    """(b) FrozenLLM reads all texts; (c) `nlp.pipe`; (d) `nlp(text)`, one after another."""
    docs = [nlp.make_doc(text) for text in texts]
    return {
        "FrozenLLM.read": lambda: llm_of(nlp).read(docs),
        "nlp.pipe": lambda: list(nlp.pipe(texts)),
        "nlp(text)": lambda: [nlp(text) for text in texts],
    }
