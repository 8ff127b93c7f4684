"""A GGUF file -> an ordinary model folder, converted once."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from ..compat import forget_quantization, gguf_options, save_tokenizer, transformers_loader
from ..errors import Errors


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Turn a GGUF file into an ordinary model folder, with weights dequantised to float16.

    The folder appears only when it is complete. The tokenizer is saved as a plain fast tokenizer,
    so that no tokenizer class of one transformers version is needed to read it.

    gguf (Path): A GGUF file of an architecture that `transformers` can dequantise.
    folder (Path): The folder to make; must not exist.
    RAISES (ImportError): If the packages `gguf` and `accelerate` are missing (E103).
    RAISES (ValueError): If `transformers` cannot read the file (E101).
    """
    try:
        import accelerate  # noqa: F401
        import gguf as _  # noqa: F401
    except ImportError as error:
        raise ImportError(Errors.E103.format(file=gguf, package=error.name)) from error
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

    where: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    source = str(gguf.parent)
    with transformers_loader("GGUF file", gguf):
        model = AutoModelForCausalLM.from_pretrained(source, **where, **gguf_options())
        model = model.to(torch.float16)
        loaded = AutoTokenizer.from_pretrained(source, **where)
    forget_quantization(model)

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
