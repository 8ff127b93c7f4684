"""A language model with LM head, which answers prompts and scores given answers.

`llm.loading` loads a cut base model; this module loads the whole model, causal or encoder-decoder,
from the same sources: a hub id, a folder or a GGUF file.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import Errors
from ..llm.checkpoint import load_tokenizer, read_config
from ..llm.cutting import abridged
from ..llm.loading import LoadSpec, is_causal, read_model, shared

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# Weights that may be absent from a folder: tied to the embeddings.
_TIED = ("lm_head.weight", "embed_tokens.weight", "wte.weight", "shared.weight", "embed_out.weight")


@dataclass(frozen=True)
class Answer:
    """A generated answer.

    pieces (List[int]): Its pieces, without the end piece.
    text (str): Its text.
    complete (bool): Whether the model ended it; False if it reached the limit of pieces.
    """

    pieces: list[int]
    text: str
    complete: bool


class LoadedGenerator:
    """A model with LM head and its tokenizer in memory, in evaluation mode.

    spec (LoadSpec): What to load.
    RAISES (ValueError): If it cannot be loaded or has only a slow tokenizer (E1xx), or is not a
        generative language model (E550, E551, E552).
    """

    def __init__(self, spec: LoadSpec) -> None:
        self.spec = spec
        self.tokenizer: PreTrainedTokenizerBase = load_tokenizer(
            spec.folder, trust_remote_code=spec.trust_remote_code
        )
        self.model: Any = _read(spec)
        self.config: PretrainedConfig = self.model.config
        self.is_seq2seq = bool(self.config.is_encoder_decoder)
        self.end = _end_piece(self.model, self.tokenizer, spec)
        self.branches: bool | None = None  # whether it reads trees: tested when first needed
        self._arguments = {*inspect.signature(self.model.forward).parameters}
        if not self.is_seq2seq:
            self._require_causal()
        self._set_generation()

    def _set_generation(self) -> None:
        from transformers import GenerationConfig

        pad = self.tokenizer.pad_token_id
        # Greedy, overriding the generation settings in the model's folder, which are for chats.
        self.model.generation_config = GenerationConfig(
            do_sample=False,
            eos_token_id=self.end,
            pad_token_id=self.end if pad is None else pad,
            decoder_start_token_id=self.start if self.is_seq2seq else None,
        )

    @property
    def start(self) -> int:
        """The piece that the decoder of an encoder-decoder starts with."""
        for name in ("decoder_start_token_id", "bos_token_id", "pad_token_id"):
            piece = getattr(self.config, name, None)
            if piece is not None:
                return int(piece)
        return self.end

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.model.device

    @property
    def max_pieces(self) -> int | None:
        """Maximum pieces of prompt and answer (encoder-decoder: of each); None: no limit."""
        config = self.config if self.is_seq2seq else self.config.get_text_config()
        limits = [
            getattr(config, name, None)
            for name in ("max_position_embeddings", "n_positions")
            # T5 has relative positions; its config's n_positions is not a limit.
            if not self.config.model_type.endswith("t5")
        ]
        return min((limit for limit in limits if limit and limit > 0), default=None)

    def accepts(self, argument: str) -> bool:
        """Whether the model's forward method has an argument of that name."""
        return argument in self._arguments

    def _require_causal(self) -> None:
        """Reject encoders, which load as causal models without an error but cannot generate.

        RAISES (ValueError): For an encoder (E550).
        """
        import torch

        with torch.inference_mode():
            causal = is_causal(
                lambda ids: self.model(input_ids=ids).logits,
                int(self.config.get_text_config().vocab_size),
                self.device,
                tolerance=1e-4,  # logits are compared, of a whole vocabulary
            )
        if not causal:
            raise ValueError(
                Errors.E550.format(folder=self.spec.folder, model=type(self.model).__name__)
            )

    # Pieces -----------------------------------------------------------------------------------

    def text(self, pieces: Sequence[int]) -> str:
        """Pieces as text, without special ones."""
        return self.tokenizer.decode(
            list(pieces), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def padded(
        self, rows: Sequence[Sequence[int]], *, left: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of pieces as (ids, mask), LongTensors (rows, longest)."""
        import torch

        longest = max(len(row) for row in rows)
        ids = torch.full((len(rows), longest), self.model.generation_config.pad_token_id)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        for index, row in enumerate(rows):
            where = slice(longest - len(row), longest) if left else slice(0, len(row))
            ids[index, where] = torch.tensor(list(row), dtype=torch.long)
            mask[index, where] = 1
        return ids.to(self.device), mask.to(self.device)

    # Answers ----------------------------------------------------------------------------------

    def generate(
        self, prompts: Sequence[Sequence[int]], most: Sequence[int], *, beams: int = 1
    ) -> list[Answer]:
        """Answer prompts, greedily or by beam search.

        prompts (Sequence[Sequence[int]]): The pieces of each.
        most (Sequence[int]): The most pieces of each answer.
        beams (int): 1 = greedy.
        """
        import torch

        ids, mask = self.padded(prompts, left=not self.is_seq2seq)
        self.model.eval()
        with torch.inference_mode():
            written = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=max(most),
                num_beams=beams,
            )
        written = written[:, 1 if self.is_seq2seq else ids.shape[1] :].cpu().tolist()
        answers = []
        for row, room in zip(written, most, strict=True):
            # Rows continue until the longest row is done; each is cut at its own limit.
            complete = self.end in row[: room + 1]
            pieces = row[: row.index(self.end)] if complete else row[:room]
            answers.append(Answer(pieces, self.text(pieces), complete))
        return answers

    def log_probs(
        self, prompts: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
    ) -> list[torch.Tensor]:
        """Log-probabilities of given answers, piece by piece; differentiable outside of no_grad.

        prompts (Sequence[Sequence[int]]): The pieces of each prompt.
        targets (Sequence[Sequence[int]]): The pieces of each answer.
        RETURNS (List[FloatTensor]): For each, float32 (pieces of the target,).
        """
        import torch

        longest = max(len(target) for target in targets)
        if self.is_seq2seq:
            ids, mask = self.padded(prompts, left=False)
            shifted = [[self.start, *target[:-1]] for target in targets]
            decoder_ids, _ = self.padded(shifted, left=False)
            output = self.model(
                input_ids=ids, attention_mask=mask, decoder_input_ids=decoder_ids, use_cache=False
            )
            rows = [output.logits[i, : len(target)] for i, target in enumerate(targets)]
        else:
            both = [[*prompt, *target] for prompt, target in zip(prompts, targets, strict=True)]
            ids, mask = self.padded(both, left=True)
            extra: dict[str, Any] = {}
            if self.accepts("position_ids"):
                extra["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
            if self.accepts("logits_to_keep"):
                extra["logits_to_keep"] = longest + 1
            output = self.model(input_ids=ids, attention_mask=mask, use_cache=False, **extra)
            # The prediction of the last piece is not needed.
            rows = [output.logits[i, -len(t) - 1 : -1] for i, t in enumerate(targets)]
        return [
            torch.log_softmax(row.float(), dim=-1)
            .gather(1, torch.tensor(list(target), device=row.device)[:, None])
            .squeeze(1)
            for row, target in zip(rows, targets, strict=True)
        ]


def load_generator(spec: LoadSpec, *, own: bool = False) -> LoadedGenerator:
    """The model of `spec`, shared with all other users of it; a separate copy for tuning.

    RAISES (ValueError): See `LoadedGenerator`.
    """
    if own:
        return LoadedGenerator(spec)
    return shared(LoadedGenerator, spec, lambda: LoadedGenerator(spec))


def _read(spec: LoadSpec) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    config = read_config(spec.folder, trust_remote_code=spec.trust_remote_code)
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model, missing = read_model(spec, auto, config, what="model with LM head")
    missing = _really_missing(model, missing)
    if missing:
        raise ValueError(Errors.E551.format(folder=spec.folder, weights=abridged(missing)))
    model.requires_grad_(False)
    return model.eval().to(spec.device)


def _really_missing(model: Any, missing: Sequence[str]) -> list[str]:
    tied = bool(getattr(model.config, "tie_word_embeddings", False))
    return sorted(key for key in missing if not (tied and key.endswith(_TIED)))


def _end_piece(model: Any, tokenizer: Any, spec: LoadSpec) -> int:
    end = tokenizer.eos_token_id
    if end is None:
        end = model.config.eos_token_id
    if isinstance(end, list):
        end = end[0]
    if end is None:
        raise ValueError(Errors.E552.format(folder=spec.folder))
    return int(end)
