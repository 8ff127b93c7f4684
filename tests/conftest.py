"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from .tiny import save_tiny_llama
from .tiny_generators import save_tiny_chat, save_tiny_t5

DEFAULT_LLM = Path(__file__).parents[1] / "assets" / "llm" / "SmolLM2-135M-Instruct"

# Forked workers of nlp.pipe(n_process=2) hang if torch ran with several threads before.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random Llama with 4 blocks of width 32."""
    return save_tiny_llama(tmp_path_factory.mktemp("llm") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random Llama with LM head and chat template."""
    return save_tiny_chat(tmp_path_factory.mktemp("llm") / "tiny-chat")


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random T5."""
    return save_tiny_t5(tmp_path_factory.mktemp("llm") / "tiny-t5")


@pytest.fixture(scope="session")
def default_llm() -> Path:
    """Folder of the real default LLM."""
    if not (DEFAULT_LLM / "config.json").is_file():
        pytest.skip(f"needs the default LLM in {DEFAULT_LLM}: run `make llm`")
    return DEFAULT_LLM
