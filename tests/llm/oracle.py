"""What states should be, computed naively: the whole model, one text at a time, char by char."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, settings
from spacy.tokens import Doc
from spacy.vocab import Vocab

_VOCAB = Vocab()
# A busy machine is no reason to fail.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def make_doc(text: str) -> Doc:
    """A doc of words, marks and white space, as spaCy would cut a text: `doc.text == text`."""
    parts = re.findall(r"\s+|\w+|[^\s\w]", text)
    words: list[str] = []
    spaces: list[bool] = []
    for i, part in enumerate(parts):
        if part == " " and i > 0:
            spaces[-1] = True  # one blank after a word belongs to the word
        else:
            words.append(part)
            spaces.append(False)
    doc = Doc(_VOCAB, words=words, spaces=spaces)
    assert doc.text == text
    return doc


def shows_nothing(text: str) -> bool:
    """Whether a text is white space, format characters and marks alone."""
    without = [c for c in text if unicodedata.category(c) not in ("Cf", "Mn")]
    return bool(text) and not "".join(without).strip()


def naive_touching(
    text: str, offsets: Sequence[tuple[int, int]], start: int, end: int
) -> list[int]:
    """The pieces that share a character, other than white space, with text[start:end].

    No piece, if nothing of it can be seen.
    """
    if shows_nothing(text[start:end]):
        return []
    return [
        piece
        for piece, (a, b) in enumerate(offsets)
        if any(a <= i < b and not text[i].isspace() for i in range(start, end))
    ]


def whole_model_states(model: Any, blocks: str, ids: list[int], layers: Sequence[int]) -> Any:
    """(pieces, layers, width): raw outputs of the blocks of an un-cut transformers model."""
    last: dict[str, torch.Tensor] = {}

    def keep(_: Any, __: Any, output: Any) -> None:
        last["states"] = output[0] if isinstance(output, tuple) else output

    row = torch.tensor([ids])
    module = model.get_submodule(blocks)
    handle = module[-1].register_forward_hook(keep)
    with torch.no_grad():
        output = model(
            input_ids=row, attention_mask=torch.ones_like(row), output_hidden_states=True
        )
    handle.remove()
    # transformers applies the final norm to the last of its hidden states: there, the block's own
    # output is what counts.
    hidden = getattr(output, "encoder_hidden_states", None) or output.hidden_states
    assert len(hidden) == len(module) + 1
    rows = [last["states"] if layer == len(module) else hidden[layer] for layer in layers]
    return torch.stack([r[0].float() for r in rows], dim=1)


def expected_states(
    doc: Doc,
    pieces: torch.Tensor,
    offsets: Sequence[tuple[int, int]],
    pooling: str,
    normalize: bool,
) -> np.ndarray:
    """(tokens, layers, width): the states of the doc's tokens from those of its pieces."""
    if normalize:
        pieces = pieces / torch.sqrt((pieces**2).mean(dim=-1, keepdim=True) + 1e-6)
    width = pieces.shape[-1] * (2 if pooling == "first+last" else 1)
    states = torch.zeros(len(doc), pieces.shape[1], width)
    for token in doc:
        touching = naive_touching(doc.text, offsets, token.idx, token.idx + len(token))
        if not touching:
            continue
        first, last = touching[0], touching[-1]
        if pooling == "last":
            states[token.i] = pieces[last]
        elif pooling == "first+last":
            states[token.i] = torch.cat([pieces[first], pieces[last]], dim=-1)
        else:
            states[token.i] = pieces[first : last + 1].mean(dim=0)
    return states.numpy()
