"""TunedLLM: docs -> hidden states of an LLM that is trained with the head, by LoRA or in full."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import Errors
from ..settings import check_choice
from .checkpoint import Checkpoint
from .extraction import Extraction, FrozenLLMSettings
from .loading import LoadedLLM, is_causal
from .lora import Lora, add_lora
from .passes import normalized
from .reading import Reading
from .trainable import PRECISIONS, TUNINGS, TrainableReader, checkpointed
from .windows import Cut

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class TunedLLMSettings:
    """The settings of `spacy_llm2ner.TunedLLM.v1`, which documents them.

    base (FrozenLLMSettings): The settings of reading; `reading` is "once" if `unmasked` is set.
    """

    base: FrozenLLMSettings
    tuning: str = "lora"
    unmasked: bool = False
    mixed_precision: str | None = None
    gradient_checkpointing: bool = False
    lora: Lora = field(default_factory=Lora)

    def __post_init__(self) -> None:
        check_choice("tuning", self.tuning, TUNINGS, of="the LLM")
        check_choice("mixed_precision", self.mixed_precision, PRECISIONS, of="the LLM")
        if self.tuning == "full" and self.base.dtype != "float32":
            raise ValueError(Errors.E128.format(dtype=self.base.dtype))


class TunedLLM(TrainableReader):
    """Reads texts with an LLM whose weights, or LoRA matrices beside them, are trained.

    Before training the states equal those of `FrozenLLM`, except for rounding to float16. The model
    is not shared with other components.

    settings (TunedLLMSettings): The settings of reading and training.
    """

    def __init__(self, settings: TunedLLMSettings) -> None:
        super().__init__()
        self.settings = settings
        self.extraction = Extraction(settings.base)
        self.batch_pieces = self.extraction.batch_pieces
        self.mixed_precision = settings.mixed_precision
        self._llm: LoadedLLM | None = None
        self._is_causal = False

    def forget(self) -> None:
        """Reset: drop the model and its trained weights."""
        super().forget()
        self._llm = None

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that the states depend on besides the text and the trained weights."""
        tuned: dict[str, Any] = {"tuning": self.settings.tuning, "unmasked": self.settings.unmasked}
        if self.settings.tuning == "lora":
            tuned["lora"] = self.settings.lora.identity
        return {**self.extraction.identity, **tuned}

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The LLM's fast tokenizer."""
        return self.extraction.tokenizer

    @property
    def reading(self) -> Reading:
        """The frame of special pieces and copies around a text."""
        return self.extraction.reading

    @property
    def window(self) -> int:
        """The longest window, in pieces."""
        return self.extraction.window

    @property
    def cut(self) -> Cut:
        """The way long texts are cut, as in `FrozenLLM`."""
        _ = self.module  # loading tests whether the LLM is causal
        return self.extraction.cut(is_causal=self._is_causal)

    @property
    def pooling(self) -> str:
        """The pooling of piece states to a token's state."""
        return self.settings.base.pooling

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and width of a token's state."""
        return len(self.extraction.layers), self.extraction.width

    @property
    def device(self) -> str:
        """The torch device."""
        return self.extraction.spec.device

    @property
    def needed(self) -> Checkpoint | None:
        """The LLM's folder, also with tuning = "full": its configuration is not stored."""
        return self.extraction.checkpoint

    def _load(self) -> torch.nn.Module:
        llm = LoadedLLM(self.extraction.spec, self.extraction.depth)
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
        """Require that pieces attend to later pieces under the mask of `_vectors`.

        RAISES (ValueError): If they do not (E129).
        """
        import torch

        refused: Exception | None = None
        try:
            with torch.no_grad():
                blind = is_causal(
                    lambda ids: self._vectors(ids, torch.ones_like(ids)),
                    int(llm.model.config.vocab_size),
                    self.device,
                )
        except (ValueError, RuntimeError, IndexError) as error:  # no mask of four dimensions
            refused, blind = error, True
        if blind:
            raise ValueError(
                Errors.E129.format(model=type(llm.model).__name__, name=self.settings.base.name)
            ) from refused

    def _vectors(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        import torch

        assert self._llm is not None
        model = self._llm.model
        if self.settings.unmasked:
            # transformers uses a four-dimensional mask unchanged and adds no causal mask.
            lowest = torch.finfo(model.dtype).min
            mask = (1 - mask)[:, None, None].expand(-1, 1, ids.shape[1], -1).to(model.dtype)
            mask = mask * lowest
        return self._llm.pass_states(ids, mask, self.extraction.layers)

    def _finish(self, picked: torch.Tensor) -> torch.Tensor:
        return normalized(picked) if self.settings.base.normalize else picked
