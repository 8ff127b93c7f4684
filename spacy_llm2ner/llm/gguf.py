"""A GGUF file -> an ordinary model folder, converted once."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compat import forget_quantization, gguf_options, save_tokenizer, transformers_loader
from ..errors import Errors
from .digests import file_digest
from .gguf_metadata import read_metadata
from .plausibility import likelihood

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

# Part of the name of converted folders, so that those of earlier conversions are not used. The
# first conversion had no number, and the tokenizer of transformers.
CONVERSION = 2
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
    RAISES (ValueError): If `transformers` cannot read the weights (E101), or the metadata are
        damaged or describe no tokenizer that is known (E150-E154).
    """
    try:
        import accelerate  # noqa: F401
        import gguf as _  # noqa: F401
    except ImportError as error:
        raise ImportError(Errors.E103.format(file=gguf, package=error.name)) from error
    import torch
    from transformers import AutoModelForCausalLM

    from .gguf_tokenizer import make_tokenizer

    metadata = read_metadata(gguf)
    by_transformers = file_digest(gguf) in _TOKENIZER_OF_TRANSFORMERS
    tokenizer = None if by_transformers else make_tokenizer(gguf, metadata)
    with transformers_loader("GGUF file", gguf):
        model = AutoModelForCausalLM.from_pretrained(
            str(gguf.parent), gguf_file=gguf.name, local_files_only=True, **gguf_options()
        )
    tokenizer = tokenizer or _tokenizer_of_transformers(gguf, model.config)
    _warn_if_implausible(model, tokenizer, gguf)
    model = model.to(torch.float16)
    forget_quantization(model)
    _save(model, tokenizer, folder)


def _warn_if_implausible(model: Any, tokenizer: Any, gguf: Path) -> None:
    """Warn of an LLM that does not understand English: here the LM head is at hand."""
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
    folder.parent.mkdir(parents=True, exist_ok=True)
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
