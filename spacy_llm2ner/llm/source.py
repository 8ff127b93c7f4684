"""Where an LLM comes from: a hub id, a folder or a GGUF file -> an ordinary local model folder.

Nothing here loads a model into memory, except the one-time conversion of a GGUF file.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

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

_digests: dict[tuple[str, int, int], str] = {}


def resolve(name: str, *, revision: str | None = None, trust_remote_code: bool = False) -> Path:
    """The local folder of an LLM. Downloads it on first use if `name` is a hub id.

    name (str): A folder with config.json, a .gguf file, or a hub id ("org/name").
    revision (Optional[str]): Branch, tag or commit; only for hub ids.
    trust_remote_code (bool): Also download the repository's Python files.
    RETURNS (Path): A folder that `transformers` can load without any network access.
    RAISES: FileNotFoundError if `name` looks like a path and nothing usable is there;
        OSError if the hub has no such model or cannot be reached.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise FileNotFoundError(
                f"llm2ner: the setting 'name' of the LLM is the folder '{name}', but there is no "
                f"config.json in it. A folder made by `save_pretrained` is expected."
            )
        return path
    if path.is_file():
        if path.suffix.lower() == ".gguf":
            return _converted_gguf(path)
        raise FileNotFoundError(
            f"llm2ner: the setting 'name' of the LLM is the file '{name}'. Of files, only GGUF "
            f"files (.gguf) are accepted; otherwise give a folder or a hub id."
        )
    if _looks_like_path(name):
        raise FileNotFoundError(
            f"llm2ner: the setting 'name' of the LLM is '{name}', and there is no such folder or "
            f"file (working directory: {Path.cwd()}). Give a model folder, a GGUF file or a hub id "
            f"such as 'HuggingFaceTB/SmolLM2-135M-Instruct'; for a trained pipeline: spacy.load("
            f"..., config={{'components.llm2ner.model.llm.name': ...}})."
        )
    return _from_hub(name, revision, trust_remote_code)


def _looks_like_path(name: str) -> bool:
    return (
        name.startswith((".", "/", "~"))
        or "\\" in name
        or name.count("/") > 1
        or name.lower().endswith(".gguf")
    )


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
        raise OSError(
            f"llm2ner: the LLM '{name}'{f' (revision {revision})' if revision else ''} is no local "
            f"folder or GGUF file, and could not be had from the model hub either: {error}. "
            f"Check the name, log in if the model is gated, or download it elsewhere and give the "
            f"folder as 'name'."
        ) from error
    return folder


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Turn a GGUF file into an ordinary model folder, weights dequantised to float16.

    The folder appears only when it is complete. The tokenizer is saved as its plain fast
    tokenizer, so that no tokenizer class of one transformers version is needed to read it.

    gguf (Path): A GGUF file of an architecture that `transformers` can dequantise.
    folder (Path): The folder to make; must not exist.
    RAISES: ImportError if the packages `gguf` and `accelerate` are missing; ValueError if
        `transformers` cannot read the file.
    """
    try:
        import accelerate  # noqa: F401
        import gguf as _  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"llm2ner: to read the GGUF file {gguf}, install the extra 'gguf': "
            f"pip install 'spacy-llm2ner[gguf]' (missing: {error.name})."
        ) from error
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

    from .loading import not_loadable, quiet_transformers, save_tokenizer

    where: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    if hasattr(transformers, "GgufConfig"):  # transformers 5 may leave weights packed
        where["quantization_config"] = transformers.GgufConfig(dequantize=True)
    source = str(gguf.parent)
    with quiet_transformers():
        try:
            model = AutoModelForCausalLM.from_pretrained(source, **where).to(torch.float16)
            loaded = AutoTokenizer.from_pretrained(
                source, gguf_file=gguf.name, local_files_only=True
            )
        except (ValueError, KeyError, OSError, ImportError, RuntimeError) as error:
            raise not_loadable("GGUF file", gguf, error) from error
    if getattr(model, "hf_quantizer", None) is not None:  # plain weights by now, but for the label
        model.hf_quantizer = None
        vars(model.config).pop("quantization_config", None)

    def piece(index: int | None) -> str | None:
        return None if index is None else loaded.convert_ids_to_tokens(index)

    # Names of the special pieces come from the model's config: the tokenizer classes that
    # transformers picks for GGUF files fill in their own defaults.
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=loaded.backend_tokenizer,
        bos_token=piece(model.config.bos_token_id),
        eos_token=piece(model.config.eos_token_id),
        unk_token=loaded.unk_token,
        chat_template=loaded.chat_template,
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        model.save_pretrained(scratch)
        save_tokenizer(tokenizer, scratch)
        # mkdtemp and safetensors give the owner alone access; a model is for all who share it.
        scratch.chmod(0o755)
        for file in scratch.iterdir():
            file.chmod(0o644)
        try:
            scratch.rename(folder)
        except OSError:
            if not (folder / "config.json").is_file():  # another process was faster
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _converted_gguf(path: Path) -> Path:
    from huggingface_hub.constants import HF_HOME

    folder = Path(HF_HOME) / "spacy_llm2ner" / f"{path.stem}-{file_digest(path)[:16]}"
    if not folder.is_dir():
        convert_gguf(path, folder)
    return folder


def file_digest(path: Path) -> str:
    """sha256 of a file, as hex digits. Remembered per process by path, size and time stamp.

    Weight files in the hub's cache are links to blobs that are *named* by their sha256: those are
    not read again.
    """
    real = path.resolve()
    if real.parent.name == "blobs" and len(real.name) == 64:
        return real.name
    stat = real.stat()
    key = (str(real), stat.st_size, stat.st_mtime_ns)
    if key not in _digests:
        sha = hashlib.sha256()
        with real.open("rb") as file:
            while chunk := file.read(1 << 22):
                sha.update(chunk)
        _digests[key] = sha.hexdigest()
    return _digests[key]


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a model folder: safetensors if there are any, else PyTorch's."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))


def identity(folder: Path) -> dict[str, str]:
    """What a model *is*, wherever it lies and whatever it is called.

    folder (Path): A model folder, as `resolve` gives it.
    RETURNS (Dict[str, str]): sha256 digests {"model": weights and config, "tokenizer": ...}.
        A cut model that was bundled with a pipeline states the digests of its original.
    RAISES: FileNotFoundError if there are no weight files or no fast tokenizer.
    """
    bundled = folder / _IDENTITY_FILE
    if bundled.is_file():
        return dict(json.loads(bundled.read_text(encoding="utf8")))
    weights = weight_files(folder)
    if not weights:
        raise FileNotFoundError(
            f"llm2ner: there are no weights in the LLM's folder {folder} "
            f"(*.safetensors or *.bin expected)."
        )
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
        raise FileNotFoundError(
            f"llm2ner: there is no tokenizer in the LLM's folder {folder} "
            f"(tokenizer.json expected: a fast tokenizer is needed for character offsets)."
        )
    # tokenizer.json says everything; the other files matter only where it is absent.
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
    """State in `folder`, which holds a cut copy of a model, the digests of its original."""
    (folder / _IDENTITY_FILE).write_text(json.dumps(parts, indent=2) + "\n", encoding="utf8")


# Comparing --------------------------------------------------------------------------------


def differing_parts(expected: dict[str, Any], found: dict[str, Any]) -> set[str]:
    """The parts in which two identities differ; none if nothing is expected."""
    if not expected:
        return set()
    return {part for part in {*expected, *found} if expected.get(part) != found.get(part)}


def describe_difference(expected: dict[str, Any], found: dict[str, Any]) -> Iterable[str]:
    """The parts in which two identities differ, as "layers: [8, 12] expected, [8] found"."""
    for part in sorted({*expected, *found}):
        if expected.get(part) != found.get(part):
            yield f"{part}: {_short(expected.get(part))} expected, {_short(found.get(part))} found"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
