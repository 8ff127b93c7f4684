"""What all tests share."""

from __future__ import annotations

import gc
import os

# Before numpy is imported: BLAS rounds differently with several threads; the gate compares bits.
for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

from collections.abc import Iterator
from pathlib import Path

import pytest
import spacy
import torch
from spacy.language import Language

from tests.pipeline.sample import examples, train
from tests.prompted.sample import trained_prompted
from tests.tiny import make_nlp, save_tiny_llama
from tests.tiny_generators import save_tiny_chat, save_tiny_t5

DEFAULT_LLM = Path(__file__).parents[1] / "assets" / "llm" / "SmolLM2-135M-Instruct"

# Forked workers of nlp.pipe(n_process=2) hang if torch ran with several threads before.
torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _float32() -> Iterator[None]:
    """`dtype = "auto"` means float32 in tests, on every machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spacy_llm2ner.llm.loading.native_bfloat16_cpu", lambda: False)
        yield


def pytest_collection_finish() -> None:
    """Spare the garbage collector the modules and tests, which live as long as the session."""
    gc.collect()
    gc.freeze()


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


@pytest.fixture(scope="session")
def _kept(tiny_llm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple]:
    nlp = make_nlp(tiny_llm)
    data = examples(nlp)
    nlp.initialize(lambda: data)
    losses = train(nlp, data)
    folder = tmp_path_factory.mktemp("trained") / "model"
    nlp.to_disk(folder)
    # As long as this pipeline lives, its LLM stays in memory and loading another is quick.
    yield nlp, folder, losses


@pytest.fixture(scope="session")
def trained_folder(_kept: tuple) -> Path:
    """A pipeline on disk that has learnt sample.DATA by heart."""
    return _kept[1]


@pytest.fixture(scope="session")
def trained_losses(_kept: tuple) -> list[float]:
    """The losses of its training."""
    return _kept[2]


@pytest.fixture
def trained(trained_folder: Path) -> Language:
    """A fresh copy of that pipeline."""
    return spacy.load(trained_folder)


@pytest.fixture
def fresh(tiny_llm: Path) -> Language:
    """A pipeline whose component is not initialised."""
    return make_nlp(tiny_llm)


@pytest.fixture
def untrained(fresh: Language) -> Language:
    """A pipeline that is initialised on sample.DATA and has learnt nothing yet."""
    data = examples(fresh)
    fresh.initialize(lambda: data)
    return fresh


@pytest.fixture(scope="session")
def prompted_folder(tiny_chat: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline on disk whose tiny LLM was trained to answer for sample.DATA."""
    folder = tmp_path_factory.mktemp("prompted") / "model"
    trained_prompted(tiny_chat).to_disk(folder)
    return folder


@pytest.fixture
def prompted(prompted_folder: Path) -> Language:
    """A fresh copy of that pipeline."""
    return spacy.load(prompted_folder)
