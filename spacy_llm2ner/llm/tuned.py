"""TunedLLM: docs -> hidden states of an LLM that is trained along with the head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .frozen import FrozenLLM
from .frozen_settings import FrozenLLMSettings
from .loading import LoadedLLM, one_thread_after_fork
from .lora import Lora, add_lora
from .passes import Cut
from .reading import Reading
from .trainable import PRECISIONS, TUNINGS, TrainableReader, check_choice, checkpointed

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class TunedLLMSettings:
    """The settings of `spacy_llm2ner.TunedLLM.v1`; see there for their meaning.

    base (FrozenLLMSettings): What is read and how; `reading` is "once" if it is unmasked.
    """

    base: FrozenLLMSettings
    tuning: str = "lora"
    unmasked: bool = False
    mixed_precision: str | None = None
    gradient_checkpointing: bool = False
    lora: Lora = field(default_factory=Lora)

    def __post_init__(self) -> None:
        check_choice("tuning", self.tuning, TUNINGS)
        check_choice("mixed_precision", self.mixed_precision, PRECISIONS)
        if self.tuning == "full" and self.base.dtype != "float32":
            raise ValueError(
                f"llm2ner: with tuning = 'full' the setting 'dtype' of the LLM is "
                f"'{self.base.dtype}', but weights are trained in 'float32'. For speed and memory "
                f"set 'mixed_precision' instead."
            )


class TunedLLM(TrainableReader):
    """Reads texts with an LLM whose weights, or LoRA matrices beside them, are trained.

    Before training it gives the states that `FrozenLLM` gives, but for that one's rounding to
    float16. It has a model of its own, which no other component sees.

    settings (TunedLLMSettings): What to read and how to train.
    """

    def __init__(self, settings: TunedLLMSettings) -> None:
        super().__init__()
        self.settings = settings
        self.base = FrozenLLM(settings.base)  # for what it knows; its model is never loaded
        self.batch_pieces = settings.base.batch_pieces
        self.mixed_precision = settings.mixed_precision
        self._llm: LoadedLLM | None = None
        self._is_causal = False

    def forget(self) -> None:
        """Be as if nothing had been loaded and no weights been given."""
        super().forget()
        self._llm = None

    @property
    def name(self) -> str:
        """The setting `name`, for messages."""
        return self.settings.base.name

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that the states depend on, beside the text and the trained weights."""
        tuned: dict[str, Any] = {"tuning": self.settings.tuning, "unmasked": self.settings.unmasked}
        if self.settings.tuning == "lora":
            lora = self.settings.lora
            tuned["lora"] = [lora.rank, lora.alpha, list(lora.targets or ())]
        return {**self.base.identity, **tuned}

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The LLM's fast tokenizer."""
        return self.base.tokenizer

    @property
    def reading(self) -> Reading:
        """The frame of special pieces and copies around a text."""
        return self.base.reading

    @property
    def cut(self) -> Cut:
        """How long texts are cut: as `FrozenLLM` does."""
        _ = self.module  # whether the LLM is causal is tried out when it is loaded
        left_only = self._is_causal and self.reading.copies == 1
        return Cut(self.base.window, self.base.stride, "left" if left_only else "center")

    @property
    def pooling(self) -> str:
        """How pieces make a token's state."""
        return self.settings.base.pooling

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and width of a token's state."""
        return len(self.base.layers), self.base.width

    @property
    def device(self) -> str:
        """The torch device."""
        return self.base.spec.device

    def _load(self) -> torch.nn.Module:
        one_thread_after_fork()
        llm = LoadedLLM(self.base.spec, max(*self.base.layers, 1))
        self._llm = llm
        self._is_causal = llm.is_causal
        if self.settings.unmasked and self._is_causal:
            self._check_unmasked(llm)
            self._is_causal = False
        if self.settings.tuning == "lora":
            add_lora(llm.model, self.settings.lora)
        else:
            llm.model.requires_grad_(True)
        if self.settings.gradient_checkpointing:
            for block in llm.blocks:
                checkpointed(block)
        return llm.model.to(self.device)  # type: ignore[arg-type]

    def _check_unmasked(self, llm: LoadedLLM) -> None:
        """RAISES: ValueError if pieces do not see what follows, whatever mask is given."""
        import torch

        size = int(llm.model.config.vocab_size)
        rows = [[size // 2, size // 3, last] for last in (size // 2, size // 5)]
        try:
            with torch.no_grad():
                first, other = (
                    self._vectors(
                        torch.tensor([row], device=self.device),
                        torch.ones(1, 3, dtype=torch.long, device=self.device),
                    )[:, :2]
                    for row in rows
                )
            seen = not torch.allclose(first, other)
        except (ValueError, RuntimeError, IndexError) as error:  # no mask of four dimensions
            raise self._not_unmaskable(llm) from error
        if not seen:
            raise self._not_unmaskable(llm)

    def _not_unmaskable(self, llm: LoadedLLM) -> ValueError:
        return ValueError(
            f"llm2ner: the setting 'reading' of the LLM is 'unmasked', but "
            f"{type(llm.model).__name__} of {self.name} looks back only, whatever mask it is "
            f"given. Set 'attention' to 'sdpa' or 'eager', or 'reading' to 'twice'."
        )

    def _vectors(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        import torch

        assert self._llm is not None
        model = self._llm.model
        if self.settings.unmasked:
            # Four dimensions: taken as it is, instead of one that hides what follows.
            lowest = torch.finfo(model.dtype).min
            mask = (1 - mask)[:, None, None].expand(-1, 1, ids.shape[1], -1).to(model.dtype)
            mask = mask * lowest
        return self._llm.pass_states(ids, mask, self.base.layers)

    def _finish(self, picked: torch.Tensor) -> torch.Tensor:
        import torch

        if not self.settings.base.normalize:
            return picked
        return picked * torch.rsqrt(picked.square().mean(dim=-1, keepdim=True) + 1e-6)
