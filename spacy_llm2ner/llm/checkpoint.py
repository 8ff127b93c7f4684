"""A checkpoint: a local model folder, and everything that is known without loading its weights.

The source is a folder, a hub id or a GGUF file. Nothing here loads a model into memory, except the
one-time conversion of a GGUF file.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compat import transformers_loader, translate_rope
from ..errors import Errors, reason
from .digests import file_digest
from .gguf import CONVERSION, convert_gguf
from .plausibility import check_pieces

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

# Files that may be needed to load a model and its tokenizer; weights of other frameworks are not.
_HUB_PATTERNS = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
# Keys of config.json that change without any effect on the states.
_VOLATILE_CONFIG_KEYS = {
    "_attn_implementation_autoset",
    "_name_or_path",
    "architectures",
    "dtype",
    "torch_dtype",
    "transformers_version",
    "use_cache",
}
# Keys of tokenizer_config.json that change the pieces of a text, with the same tokenizer.json.
_TOKENIZER_KEYS = {
    "add_bos_token",
    "add_eos_token",
    "add_prefix_space",
    "do_lower_case",
    "legacy",
    "strip_accents",
    "tokenize_chinese_chars",
}
_IDENTITY_FILE = "llm2ner_identity.json"
# A text in several scripts that shows whether a tokenizer's offsets can be used.
_PROBE = "In 1833 Ada Lovelace met 20 people. Москва, Αθήνα, 東京都, القاهرة"
# RoBERTa and its relatives: the first position is pad_token_id + 1, so a table of 514 holds 512.
# fmt: off
_POSITIONS_AFTER_PAD = {
    "camembert", "data2vec-text", "esm", "ibert", "longformer", "luke", "mpnet", "roberta",
    "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
}
# fmt: on
# Model types without masked LM that transformers also lists as causal, which they are only with
# is_decoder.
_ENCODERS = {"bert-generation", "xlnet"}


class Checkpoint:
    """A model folder, found on first use, with its configuration, tokenizer, identity and limits.

    A copied or unpickled checkpoint looks for its folder again, because the folder may have moved.

    name (str): A folder with config.json, a .gguf file, or a hub id ("org/name").
    revision (Optional[str]): Branch, tag or commit; only for hub ids.
    trust_remote_code (bool): Whether code that comes with the model may run.
    folder (Optional[Path]): The folder, if known; `name` is then used in messages only.
    """

    def __init__(
        self,
        name: str,
        *,
        revision: str | None = None,
        trust_remote_code: bool = False,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self.revision = revision
        self.trust_remote_code = trust_remote_code
        self.known_folder = folder

    def __getstate__(self) -> dict[str, Any]:
        cached = ("folder", "config", "tokenizer")
        return {key: value for key, value in vars(self).items() if key not in cached}

    @cached_property
    def folder(self) -> Path:
        """The local folder.

        RAISES (FileNotFoundError, OSError): See `find_folder`.
        """
        if self.known_folder is not None:
            return self.known_folder
        return find_folder(
            self.name, revision=self.revision, trust_remote_code=self.trust_remote_code
        )

    @cached_property
    def config(self) -> PretrainedConfig:
        """The configuration of its language model, with all blocks; see `load_config`."""
        return load_config(self.folder, trust_remote_code=self.trust_remote_code)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The fast tokenizer; see `load_tokenizer`."""
        return load_tokenizer(self.folder, trust_remote_code=self.trust_remote_code)

    @property
    def identity(self) -> dict[str, str]:
        """Digests of the model and the tokenizer; see `identity`."""
        return identity(self.folder)

    @property
    def max_positions(self) -> int | None:
        """The most pieces of one row, special ones included; None if the model sets no limit."""
        limit = getattr(self.config, "max_position_embeddings", None)
        if limit is None or limit < 1:
            return None
        if self.config.model_type in _POSITIONS_AFTER_PAD:
            limit -= (self.config.pad_token_id or 0) + 1
        return min(limit, self.tokenizer.model_max_length)


# Finding the folder -----------------------------------------------------------------------


def find_folder(name: str, *, revision: str | None = None, trust_remote_code: bool = False) -> Path:
    """The local folder of an LLM. Downloads it on first use if `name` is a hub id.

    name (str): A folder with config.json, a .gguf file, or a hub id ("org/name").
    revision (Optional[str]): Branch, tag or commit; only for hub ids.
    trust_remote_code (bool): Also download the repository's Python files.
    RETURNS (Path): A folder that `transformers` can load without any network access.
    RAISES (FileNotFoundError): If `name` looks like a path without a usable model (E104, E105,
        E106).
    RAISES (OSError): If the hub has no such model or cannot be reached (E107).
    """
    path = _local_path(name)
    if path is None:
        return _from_hub(name, revision, trust_remote_code)
    return _converted_gguf(path) if path.is_file() else path


def folder_at_hand(name: str, *, revision: str | None = None) -> Path | None:
    """The local folder of an LLM, if it can be had without a download or a conversion.

    name (str): As in `find_folder`.
    revision (Optional[str]): Branch, tag or commit; only for hub ids.
    RETURNS (Optional[Path]): A folder with config.json. None for a .gguf file, and for a hub id
        that is not in the hub's cache.
    RAISES (FileNotFoundError): If `name` looks like a path without a usable model (E104, E105,
        E106).
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    path = _local_path(name)
    if path is not None:
        return None if path.is_file() else path
    try:
        config = try_to_load_from_cache(name, "config.json", revision=revision)
    except HFValidationError as error:
        raise FileNotFoundError(Errors.E106.format(name=name, cwd=Path.cwd())) from error
    return Path(config).parent if isinstance(config, str) else None


def _local_path(name: str) -> Path | None:
    """The model folder or .gguf file that `name` stands for; None if it is a hub id."""
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise FileNotFoundError(Errors.E104.format(folder=name))
        return path
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise FileNotFoundError(Errors.E105.format(file=name))
        return path
    if _looks_like_path(name):
        raise FileNotFoundError(Errors.E106.format(name=name, cwd=Path.cwd()))
    return None


def _looks_like_path(name: str) -> bool:
    return (
        name.startswith((".", "/", "~"))
        or "\\" in name
        or name.count("/") > 1
        or name.lower().endswith(".gguf")
    )


def missing(name: str, revision: str | None = None) -> bool:
    """Whether `name` is no usable model of this machine and cannot be one of the hub.

    With the environment variable HF_HUB_OFFLINE, a hub id counts as missing if it is not in the
    cache. Nothing is loaded or downloaded.

    name (str): As for `find_folder`.
    revision (Optional[str]): Branch, tag or commit of a hub id.
    """
    from huggingface_hub.constants import HF_HUB_OFFLINE

    try:
        at_hand = folder_at_hand(name, revision=revision) is not None
    except FileNotFoundError:
        return True
    return not at_hand and not Path(name).expanduser().is_file() and HF_HUB_OFFLINE


def _from_hub(name: str, revision: str | None, trust_remote_code: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = [*_HUB_PATTERNS, *(["*.py"] if trust_remote_code else [])]
    # Weights in sub-folders are other formats of the same model (original/, onnx/, ...).
    ignore = ["*/*", "consolidated*"]
    try:
        folder = Path(
            snapshot_download(
                name, revision=revision, allow_patterns=patterns, ignore_patterns=ignore
            )
        )
        if not any(folder.glob("*.safetensors")):
            snapshot_download(
                name, revision=revision, allow_patterns=["*.bin"], ignore_patterns=ignore
            )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        where = f" (revision {revision})" if revision else ""
        text = Errors.E107.format(name=name, revision=where, error=reason(error))
        raise OSError(text) from error
    return folder


def _converted_gguf(path: Path) -> Path:
    from huggingface_hub.constants import HF_HOME

    name = f"{path.stem}-{file_digest(path)[:16]}-{CONVERSION}"
    folder = Path(HF_HOME) / "spacy_llm2ner" / name
    if not folder.is_dir():
        convert_gguf(path, folder)
    return folder


# Configuration and tokenizer --------------------------------------------------------------


def read_config(folder: Path, *, trust_remote_code: bool = False) -> PretrainedConfig:
    """The whole configuration, as config.json has it.

    RAISES (ValueError): If `transformers` cannot read it (E101, E102).
    """
    from transformers import AutoConfig

    with transformers_loader("configuration", folder):
        config = AutoConfig.from_pretrained(
            str(folder), trust_remote_code=trust_remote_code, local_files_only=True
        )
    translate_rope(config if config.is_encoder_decoder else config.get_text_config())
    return config


def load_config(folder: Path, *, trust_remote_code: bool = False) -> PretrainedConfig:
    """The configuration of the model, or of the language model within a vision-language model.

    RAISES (ValueError): If `transformers` cannot read it (E101, E102).
    RAISES (ValueError): If it does not give the number of blocks (E108).
    """
    config = read_config(folder, trust_remote_code=trust_remote_code)
    if hasattr(config, "num_decoder_layers"):
        # The config of a T5 encoder saved on its own may have is_encoder_decoder = False.
        config.is_encoder_decoder = True
    if not config.is_encoder_decoder:
        # Vision-language models keep the language model's settings one level down.
        config = config.get_text_config()
    for setting in ("num_hidden_layers", "hidden_size", "vocab_size"):
        if not isinstance(getattr(config, setting, None), int):
            raise ValueError(
                Errors.E108.format(folder=folder, model_type=config.model_type, setting=setting)
            )
    return config


def attention_reach(config: PretrainedConfig, depth: int) -> int | None:
    """How many pieces, itself included, a piece attends to in the narrowest of some blocks.

    config (PretrainedConfig): The LLM's configuration.
    depth (int): The number of blocks that run.
    RETURNS (Optional[int]): The size of their sliding window; None if they attend to all pieces.
    """
    size = getattr(config, "sliding_window", None)
    if not size or getattr(config, "use_sliding_window", True) is False:
        return None
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and "sliding_attention" not in kinds[:depth]:
        return None
    return int(size)


def expects_causal(config: PretrainedConfig) -> bool | None:
    """Whether pieces attend only to preceding pieces, as far as the configuration tells.

    Needs no weights; `loading.is_causal` tests a loaded model.

    config (PretrainedConfig): As `load_config` returns it.
    RETURNS (Optional[bool]): None if the configuration does not tell.
    """
    from transformers.models.auto import modeling_auto as auto

    kind = config.model_type
    # Of an encoder-decoder, only the encoder is read.
    if config.is_encoder_decoder or getattr(config, "use_bidirectional_attention", None):
        return False
    if config.is_decoder:
        return True
    if kind in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES or kind in _ENCODERS:
        return False
    if kind in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return True
    for name in config.architectures or ():
        if name.endswith(("ForMaskedLM", "ForCausalLM", "LMHeadModel")):
            return not name.endswith("ForMaskedLM")
    return None


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The model's fast tokenizer, set to read any text as plain text, without truncation.

    Special pieces are only added around a text, never matched in it: "</s>" or "[SEP]" in a text
    are ordinary characters. (Exception: the SentencePiece Unigram model of T5 has "</s>" among its
    ordinary pieces, and transformers cannot remove it.)

    Warns if pieces do not cover plain English (W61).

    RAISES (ValueError): If there is no tokenizer, or only a slow one without character offsets
        (E101, E109), or one that does not fit the text or the weights (E140, E141).
    """
    from transformers import AutoTokenizer

    # The package tokenizers raises bare Exceptions for broken files.
    with transformers_loader("tokenizer", folder, errors=(Exception,)):
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), trust_remote_code=trust_remote_code, local_files_only=True
        )
    if not tokenizer.is_fast:
        raise ValueError(Errors.E109.format(folder=folder, tokenizer=type(tokenizer).__name__))
    # Set once, here: changing a fast tokenizer while another thread uses it is an error.
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    _check_offsets(backend, folder)
    config = read_config(folder, trust_remote_code=trust_remote_code)
    config = config if config.is_encoder_decoder else config.get_text_config()
    _check_pieces(tokenizer, folder, getattr(config, "vocab_size", None))
    doubt = check_pieces(tokenizer, str(folder))
    if doubt:
        warnings.warn(doubt, stacklevel=2)
    return tokenizer


def _check_offsets(tokenizer: Tokenizer, folder: Path) -> None:
    """Require that pieces cover the characters that they stand for.

    A vocabulary may lack some of the probe's scripts; one without any piece is another error.

    RAISES (ValueError): If most pieces are empty, or all are on one character (E140).
    """
    encoded = tokenizer.encode(_PROBE, add_special_tokens=False)
    offsets = [(start, end) for start, end in encoded.offsets if not _PROBE[start:end].isspace()]
    covered = {i for start, end in offsets for i in range(start, end)}
    empty = sum(start >= end for start, end in offsets)
    if offsets and (2 * empty > len(offsets) or len(covered) < 2):
        raise ValueError(
            Errors.E140.format(
                folder=folder, text=_PROBE, pieces=len(offsets), characters=len(covered)
            )
        )


def _check_pieces(tokenizer: PreTrainedTokenizerBase, folder: Path, rows: int | None) -> None:
    """Require a row of the embedding for each piece that a text can have.

    Special pieces, such as one for padding, are never found in a text and may lack a row.

    rows (Optional[int]): The rows of the embedding; None if the configuration does not say.
    RAISES (ValueError): If there are more pieces than rows (E141).
    """
    backend = tokenizer.backend_tokenizer
    numbers = backend.get_vocab(with_added_tokens=True)
    special = {n for n, added in backend.get_added_tokens_decoder().items() if added.special}
    special -= {tokenizer.unk_token_id}
    piece = max((p for p in numbers if numbers[p] not in special), key=numbers.get, default=None)
    if rows is not None and piece is not None and numbers[piece] >= rows:
        raise ValueError(
            Errors.E141.format(folder=folder, piece=piece, number=numbers[piece], rows=rows)
        )


# Identity ---------------------------------------------------------------------------------


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a model folder: safetensors if there are any, else PyTorch's."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))


def identity(folder: Path) -> dict[str, str]:
    """The identity of a model by content, independent of its path and name.

    folder (Path): A model folder, as `find_folder` gives it.
    RETURNS (Dict[str, str]): sha256 digests {"model": weights and config, "tokenizer": ...}.
        A cut model that was bundled with a pipeline has the digests of its original and, if its
        weights were rounded, "storage": "float16" or "4bit".
    RAISES (FileNotFoundError): If there are no weight files or no fast tokenizer (E110, E111).
    """
    if is_bundle(folder):
        return dict(json.loads((folder / _IDENTITY_FILE).read_text(encoding="utf8")))
    weights = weight_files(folder)
    if not weights:
        raise FileNotFoundError(Errors.E110.format(folder=folder))
    config = json.loads((folder / "config.json").read_text(encoding="utf8"))
    stable = {key: value for key, value in config.items() if key not in _VOLATILE_CONFIG_KEYS}
    model = hashlib.sha256(json.dumps(stable, sort_keys=True).encode("utf8"))
    for path in weights:
        model.update(file_digest(path).encode("ascii"))
    return {"model": model.hexdigest(), "tokenizer": _tokenizer_digest(folder)}


def _tokenizer_digest(folder: Path) -> str:
    names = ["tokenizer.json", "vocab.json", "merges.txt", "vocab.txt"]
    found = [folder / name for name in names if (folder / name).is_file()]
    found += sorted(folder.glob("*.model"))  # SentencePiece; its file has several names
    if not found:
        raise FileNotFoundError(Errors.E111.format(folder=folder))
    # tokenizer.json is complete; the other files matter only where it is absent.
    used = found[:1] if found[0].name == "tokenizer.json" else found
    parts = [file_digest(path) for path in used]
    settings_file = folder / "tokenizer_config.json"
    if settings_file.is_file():
        settings = json.loads(settings_file.read_text(encoding="utf8"))
        behaviour = {key: settings[key] for key in _TOKENIZER_KEYS if key in settings}
        if behaviour:
            parts.append(json.dumps(behaviour, sort_keys=True))
    return hashlib.sha256("".join(parts).encode("utf8")).hexdigest()


def write_identity(folder: Path, parts: dict[str, str]) -> None:
    """Write the digests of the original model into `folder`, which holds a cut copy of it.

    parts (Dict[str, str]): The digests; also, if weights of the copy were rounded, "storage": how.
    """
    (folder / _IDENTITY_FILE).write_text(json.dumps(parts, indent=2) + "\n", encoding="utf8")


def is_bundle(folder: Path) -> bool:
    """Whether a folder holds a cut copy, made for a pipeline, that knows its original."""
    return (folder / _IDENTITY_FILE).is_file()


def differing_parts(expected: dict[str, Any], found: dict[str, Any]) -> set[str]:
    """The parts in which two identities differ; none if nothing is expected."""
    if not expected:
        return set()
    return {part for part in {*expected, *found} if expected.get(part) != found.get(part)}


def is_other_model(expected: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether two identities name different models or tokenizers, not only other settings."""
    return any(
        expected[part] != found[part]
        for part in ("model", "tokenizer")
        if part in expected and part in found
    )


def describe_difference(expected: dict[str, Any], found: dict[str, Any]) -> Iterable[str]:
    """The parts in which two identities differ, as "layers: [8, 12] expected, [8] found"."""
    for part in sorted({*expected, *found}):
        if expected.get(part) != found.get(part):
            yield f"{part}: {_short(expected.get(part))} expected, {_short(found.get(part))} found"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
