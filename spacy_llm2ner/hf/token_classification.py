"""Any AutoModelForTokenClassification checkpoint: docs -> scores of the checkpoint's tags."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from spacy.tokens import Doc

from ..compat import one_thread_after_fork, save_tokenizer, transformers_loader
from ..errors import Errors
from ..llm.alignment import PoolingPlan, token_boundaries
from ..llm.checkpoint import Checkpoint, read_config
from ..llm.cutting import abridged, find_blocks
from ..llm.loading import LoadSpec, read_model
from ..llm.lora import Lora, add_lora
from ..llm.passes import Text, planned
from ..llm.reading import Reading, make_reading
from ..llm.trainable import PRECISIONS, TUNINGS, TrainableReader, checkpointed
from ..llm.windows import Cut
from ..settings import check_choice
from .pipeline_words import tokens_of_words, word_starts

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

WORDS = ("pipeline", "tokens")
# Where neither the model nor its tokenizer sets a limit.
_WINDOW_WITHOUT_LIMIT = 512
# The bias of a new tag, whose weights start at zero: improbable before training.
_NEW_TAG_LOGIT = -5.0


@dataclass(frozen=True)
class ClassifierSettings:
    """The settings of `spacy_llm2ner.HFTokenClassifier.v1`, which documents them."""

    name: str
    revision: str | None = None
    words: str = "pipeline"
    tuning: str = "full"
    window: int | None = None
    stride: int | None = None
    mixed_precision: str | None = None
    gradient_checkpointing: bool = False
    device: str | None = None
    batch_pieces: int = 4096
    attention: str | None = None
    trust_remote_code: bool = False
    lora: Lora = field(default_factory=Lora)

    def __post_init__(self) -> None:
        check_choice("words", self.words, WORDS, of="the LLM")
        check_choice("tuning", self.tuning, TUNINGS, of="the LLM")
        check_choice("mixed_precision", self.mixed_precision, PRECISIONS, of="the LLM")


class HFTokenClassifier(TrainableReader):
    """A complete checkpoint for token classification: its blocks and its last layer.

    With tuning = "full", the pipeline stores all of it, including the tokenizer, and no longer
    needs the checkpoint. With "lora" it stores only the adapters and the last layer.

    settings (ClassifierSettings): The settings.
    """

    name_setting = "model.name"

    def __init__(self, settings: ClassifierSettings) -> None:
        super().__init__()
        self.settings = settings
        self.batch_pieces = settings.batch_pieces
        self.mixed_precision = settings.mixed_precision
        self._tags: list[str] = []
        self._files: dict[str, bytes] = {}
        self._checkpoint: Checkpoint | None = None

    def forget(self) -> None:
        """Reset: drop the model, its trained weights, tags and files."""
        super().forget()
        self._tags, self._files, self._checkpoint = [], {}, None

    # Identity and settings --------------------------------------------------------------------

    @property
    def checkpoint(self) -> Checkpoint:
        """The model folder, or the stored files of a pipeline that contains the model."""
        if self._checkpoint is None:
            chosen = self.settings
            self._checkpoint = Checkpoint(
                chosen.name,
                revision=chosen.revision,
                trust_remote_code=chosen.trust_remote_code,
                folder=_unpacked(self, self._files) if self._files else None,
            )
        return self._checkpoint

    @property
    def needed(self) -> Checkpoint | None:
        """The checkpoint's folder; None if the pipeline stores all of it."""
        return None if self._files else self.checkpoint

    @property
    def spec(self) -> LoadSpec:
        """The key of the loaded model."""
        return LoadSpec.of(
            self.checkpoint, device=self.settings.device, attention=self.settings.attention
        )

    @property
    def tags(self) -> list[str]:
        """The tags, in the order of the scores: the checkpoint's id2label, then new ones."""
        if not self._tags:
            names = self.checkpoint.config.id2label
            self._tags = [str(names[i]) for i in range(len(names))]
        return self._tags

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that the scores depend on besides the text and the stored weights."""
        stored: dict[str, Any] = {"tuning": self.settings.tuning}
        if self.settings.tuning == "lora":
            stored["lora"] = self.settings.lora.identity
            stored.update(self.checkpoint.identity)
        return stored

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's fast tokenizer."""
        return self.checkpoint.tokenizer

    @property
    def reading(self) -> Reading:
        """The special pieces that the tokenizer puts around a text."""
        return make_reading("once", self.tokenizer, needs_prefix=False)

    @property
    def window(self) -> int:
        """The longest window, in pieces; by default the model's maximum.

        RAISES (ValueError): If the setting exceeds the maximum (E451).
        """
        limit = self.checkpoint.max_positions
        most = _WINDOW_WITHOUT_LIMIT if limit is None else limit - self.reading.overhead
        window = self.settings.window or most
        if limit is not None and window > most:
            raise ValueError(Errors.E451.format(window=window, name=self.settings.name, most=most))
        return window

    @property
    def cut(self) -> Cut:
        """The way long texts are cut: by default with a stride of half a window."""
        window = self.window
        return Cut(window, self.settings.stride or max(1, window // 2), "center")

    @property
    def pooling(self) -> str:
        """A word has the scores of its first piece."""
        return "first"

    @property
    def shape(self) -> tuple[int, int]:
        """One row of scores per word, one score per tag."""
        return 1, len(self.tags)

    @property
    def device(self) -> str:
        """The torch device."""
        return self.spec.device

    # Words ------------------------------------------------------------------------------------

    def prepare(self, docs: Sequence[Doc]) -> list[Text]:
        """Split docs into pieces and windows; `units` of each holds the tokens of each word."""
        if self.settings.words == "pipeline":
            return [self._prepare_pipeline(doc) for doc in docs]
        prepared = super().prepare(docs)
        for text in prepared:
            touched = np.unique(text.plan.token).astype(np.int32)
            text.units = np.stack([touched, touched + 1], axis=1)
            plan = text.plan
            rows = np.searchsorted(touched, plan.token)
            text.plan = PoolingPlan(rows, plan.slot, plan.piece, plan.weight, plan.slots)
            text.tokens = len(touched)
        return prepared

    def _prepare_pipeline(self, doc: Doc) -> Text:
        text, boundaries = doc.text, token_boundaries(doc)
        encoding = self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
        starts = word_starts(text, encoding.ids, encoding.offsets, self.tokenizer)
        first = np.flatnonzero(starts)
        n_words = len(first)
        rows = np.arange(n_words)
        ones = np.ones(n_words, dtype=np.float32)
        plan = PoolingPlan(rows, np.zeros(n_words, dtype=np.int64), first, ones, slots=1)
        prepared = planned(n_words, encoding.ids, plan, self.cut)
        prepared.units = tokens_of_words(text, starts, encoding.offsets, boundaries)
        return prepared

    # The model --------------------------------------------------------------------------------

    def _load(self) -> torch.nn.Module:
        _ = self.tokenizer  # an unusable one is an error before anything is written
        model = self._from_files() if self._files else self._from_folder()
        last = _last_layer(model)
        if len(self.tags) > last.out_features:
            last = _widen(model, len(self.tags))
        if self.settings.tuning == "lora":
            name = next(n for n, module in model.named_modules() if module is last)
            add_lora(model, self.settings.lora, exclude=[name])
            for parameter in last.parameters():
                parameter.requires_grad_(True)
        else:
            model.requires_grad_(True)
        if self.settings.gradient_checkpointing:
            for block in find_blocks(model, self.checkpoint.config.num_hidden_layers):
                checkpointed(block)
        return model.to(self.device)

    def _from_folder(self) -> Any:
        from transformers import AutoModelForTokenClassification

        spec = self.spec
        config = read_config(spec.folder, trust_remote_code=spec.trust_remote_code)
        model, missing = read_model(
            spec, AutoModelForTokenClassification, config, what="classifier"
        )
        if missing:
            raise ValueError(Errors.E452.format(name=self.settings.name, weights=abridged(missing)))
        return model.float()

    def _from_files(self) -> Any:
        """Build the architecture without weights, which the pipeline stores and restores."""
        from transformers import AutoModelForTokenClassification

        one_thread_after_fork()
        folder = self.checkpoint.folder
        config = read_config(folder)
        if self.settings.attention is not None:
            config._attn_implementation = self.settings.attention
        with transformers_loader("classifier", folder):
            return AutoModelForTokenClassification.from_config(config).float()

    def _vectors(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.module(input_ids=ids, attention_mask=mask).logits[:, :, None]

    def set_tags(self, tags: Sequence[str]) -> None:
        """Add tags; the scores of the existing ones stay.

        tags (Sequence[str]): All tags: the existing ones, then the new ones.
        """
        self._tags = list(tags)
        if self._module is not None:
            _widen(self._module, len(tags))

    # Storing with a pipeline ------------------------------------------------------------------

    def extras(self) -> dict[str, Any]:
        """The tags; with tuning = "full" also the configuration and the tokenizer, as files."""
        if not self._tags:
            return {}
        files = {} if self.settings.tuning == "lora" else self._files
        if not files and self.settings.tuning == "full":
            files = self._files = self._packed()
        return {"tags": self._tags, "files": self._with_tags(files)}

    def take(self, extras: Mapping[str, Any]) -> None:
        """Restore what `extras` returned."""
        self._tags = list(extras.get("tags", ()))
        self._files, self._checkpoint = dict(extras.get("files", {})), None

    def _packed(self) -> dict[str, bytes]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            save_tokenizer(self.tokenizer, folder)
            shutil.copy(self.checkpoint.folder / "config.json", folder)
            return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}

    def _with_tags(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        if not files:
            return {}
        config = json.loads(files["config.json"])
        config["id2label"] = {str(i): tag for i, tag in enumerate(self._tags)}
        config["label2id"] = {tag: i for i, tag in enumerate(self._tags)}
        text = json.dumps(config, indent=2)
        return {**files, "config.json": text.encode("utf8")}


def _unpacked(owner: HFTokenClassifier, files: Mapping[str, bytes]) -> Path:
    """Write files to a temporary folder, which is deleted with its owner."""
    folder = Path(tempfile.mkdtemp(prefix="llm2ner-"))
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    for name, content in files.items():
        (folder / Path(name).name).write_bytes(content)
    return folder


def _last_layer(model: Any) -> torch.nn.Linear:
    """The linear layer that computes the scores: the last one with one output per tag.

    RAISES (ValueError): If there is none (E453).
    """
    import torch

    n_tags = model.config.num_labels
    found = [
        module
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module.out_features == n_tags
    ]
    if not found:
        raise ValueError(Errors.E453.format(model=type(model).__name__, tags=n_tags))
    return found[-1]


def _widen(model: Any, n_tags: int) -> torch.nn.Linear:
    """Add outputs to the last layer, keeping its `requires_grad`."""
    import torch

    old = _last_layer(model)
    if n_tags == old.out_features:
        return old
    new = torch.nn.Linear(old.in_features, n_tags, bias=True).to(old.weight.device)
    with torch.no_grad():
        new.weight.zero_()
        new.weight[: old.out_features] = old.weight
        new.bias.fill_(_NEW_TAG_LOGIT)
        new.bias[: old.out_features] = 0.0 if old.bias is None else old.bias
    new.requires_grad_(old.weight.requires_grad)
    name = next(n for n, module in model.named_modules() if module is old)
    model.get_submodule(name.rpartition(".")[0]).register_module(name.rpartition(".")[2], new)
    model.config.num_labels = n_tags
    return new
