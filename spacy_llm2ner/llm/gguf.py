"""A GGUF file -> an ordinary model folder, converted once."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compat import (
    forget_quantization,
    gguf_architectures,
    gguf_options,
    save_tokenizer,
    transformers_loader,
)
from ..errors import Errors
from .digests import file_digest
from .gguf_metadata import GGUFHeader, read_header
from .gguf_settings import check_scaling, complete_config, has_sizes
from .plausibility import likelihood

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

# Part of the name of converted folders, so that those of earlier conversions are not used. The
# first conversion had no number, and the tokenizer of transformers; the second lacked settings that
# transformers does not read, such as the scaling of rotary positions.
CONVERSION = 3
# Metadata with an element per piece: the tokenizer is built without transformers.
_VOCABULARY = (
    *("tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.ggml.token_type"),
    "tokenizer.ggml.merges",
)
# Files that keep the tokenizer of transformers: heads are stored with its digest. This one is the
# default LLM; its tokenizer differs from our own in runs of white space before a digit.
_TOKENIZER_OF_TRANSFORMERS = {
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Turn a GGUF file into an ordinary model folder, with weights dequantised to float16.

    The folder appears only when it is complete. The tokenizer is built from the file's metadata and
    saved as a plain fast tokenizer, so that no tokenizer class of one transformers version is
    needed to read it. Warns if the LLM finds plain English no likelier than shuffled words (W60).

    gguf (Path): A GGUF file of an architecture that `transformers` can dequantise.
    folder (Path): The folder to make; must not exist.
    RAISES (ImportError): If the packages `gguf` and `accelerate` are missing (E103).
    RAISES (ValueError): If `transformers` cannot read the weights (E101, E156), reads them only in
        part or otherwise than they are meant (E155, E157), or the metadata are damaged or describe
        no tokenizer that is known (E150-E154).
    """
    try:
        import accelerate  # noqa: F401
        import gguf as _  # noqa: F401
    except ImportError as error:
        raise ImportError(Errors.E103.format(file=gguf, package=error.name)) from error
    import torch

    from .gguf_tokenizer import make_tokenizer

    header = read_header(gguf)
    _check_architecture(header)
    by_transformers = file_digest(gguf) in _TOKENIZER_OF_TRANSFORMERS
    tokenizer = None if by_transformers else make_tokenizer(gguf, header.metadata)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        # transformers would read the vocabulary three times, for minutes.
        weights = Path(scratch) / gguf.name
        header.write_without(weights, lambda key: key.startswith(_VOCABULARY))
        model = _read_model(weights, header)
    tokenizer = tokenizer or _tokenizer_of_transformers(gguf, model.config)
    _warn_if_implausible(model, tokenizer, gguf)
    model = model.to(torch.float16)
    forget_quantization(model)
    _save(model, tokenizer, folder)


def _check_architecture(header: GGUFHeader) -> None:
    known = gguf_architectures()
    if known and header.architecture not in known:
        raise _unreadable(header)


def _unreadable(header: GGUFHeader) -> ValueError:
    import transformers

    accepted = {*gguf_architectures()} - {header.architecture}
    text = Errors.E156.format(
        file=header.file,
        architecture=header.architecture,
        version=transformers.__version__,
        accepted=", ".join(f"'{name}'" for name in sorted(accepted)),
    )
    return ValueError(text)


def _read_model(weights: Path, header: GGUFHeader) -> Any:
    """The model of a GGUF file, in float32.

    weights (Path): The file, with or without its vocabulary.
    header (GGUFHeader): The header of the whole file.
    """
    from transformers import AutoConfig

    folder = str(weights.parent)
    options: dict[str, Any] = {"gguf_file": weights.name, "local_files_only": True}
    with transformers_loader("GGUF file", header.file):
        config = AutoConfig.from_pretrained(folder, **options)
    if not has_sizes(config, header):
        raise _unreadable(header)
    complete_config(config, header)
    auto_class = _class_for(config, header)
    options |= {"config": config, "output_loading_info": True, **gguf_options()}
    with transformers_loader("GGUF file", header.file):
        model, info = auto_class.from_pretrained(folder, **options)
    check_scaling(model, header)
    _check_weights(model, header, info["missing_keys"])
    return model


def _class_for(config: PretrainedConfig, header: GGUFHeader) -> Any:
    """The class of transformers for a configuration, with its LM head."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    for auto_class in (AutoModelForCausalLM, AutoModelForSeq2SeqLM):
        if type(config) in auto_class._model_mapping:
            return auto_class
    raise _unreadable(header)


def _check_weights(model: Any, header: GGUFHeader, missing: Collection[str]) -> None:
    """Check that the model has all weights of the file, and no others.

    transformers leaves out tensors that its class has no place for, and gives random values to
    weights that the file lacks.
    """
    import transformers

    found = header.parameters
    if model.config.tie_word_embeddings and "output.weight" in header.tensors:
        found -= header.tensors["output.weight"].size  # a copy of the embeddings
    used = sum(weights.numel() for weights in model.parameters())
    if found != used or missing:
        names = ", ".join(f"'{name}'" for name in sorted(missing)[:3])
        text = Errors.E157.format(
            file=header.file,
            architecture=header.architecture,
            version=transformers.__version__,
            found=found,
            used=used,
            missing=f"; the file lacks {names}" if missing else "",
        )
        raise ValueError(text)


def _warn_if_implausible(model: Any, tokenizer: Any, gguf: Path) -> None:
    """Warn of an LLM that does not understand English: here the LM head is at hand."""
    if model.config.is_encoder_decoder:
        return
    most = getattr(model.config, "max_position_embeddings", None)
    found = likelihood(model.eval(), tokenizer, most=most)
    doubt = found and found.warning(str(gguf))
    if doubt:
        warnings.warn(doubt, stacklevel=2)


def _tokenizer_of_transformers(gguf: Path, config: PretrainedConfig) -> PreTrainedTokenizerFast:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    with transformers_loader("GGUF file", gguf):
        loaded = AutoTokenizer.from_pretrained(
            str(gguf.parent), gguf_file=gguf.name, local_files_only=True
        )

    def piece(index: int | None) -> str | None:
        return None if index is None else loaded.convert_ids_to_tokens(index)

    # Names of the special pieces come from the model's config: the tokenizer classes that
    # transformers picks for GGUF files fill in their own defaults.
    return PreTrainedTokenizerFast(
        tokenizer_object=loaded.backend_tokenizer,
        bos_token=piece(config.bos_token_id),
        eos_token=piece(config.eos_token_id),
        unk_token=loaded.unk_token,
        chat_template=loaded.chat_template,
    )


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a model folder, which appears when it is complete."""
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        model.save_pretrained(scratch)
        save_tokenizer(tokenizer, scratch)
        # mkdtemp and safetensors give access to the owner alone; a model is for all who share it.
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
