"""Text -> states is true for other people's models: compared with plain, un-cut transformers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from packaging.version import Version

from spacy_llm2ner.llm.extraction import FrozenLLMSettings
from spacy_llm2ner.llm.frozen import FrozenLLM
from tests.llm.families import BLOCKS, FAMILIES, WIDTH
from tests.llm.oracle import expected_states, make_doc, whole_model_states

# Of tiny LLMs with narrow attention: what they read is compared with what transformers reads.
pytestmark = pytest.mark.filterwarnings("ignore:.*L2N-W67")

TEXTS = [
    "Ada Lovelace met Charles Babbage in London in 1833.",
    "  The Rhine flows\n\nfrom Düsseldorf to Москва, past 北京市.  ",
    "naïve café 👩‍👩‍👧 e\u0301tude O'Neill's “quoted”\tend",
    "word",
]

GetFolder = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> GetFolder:
    """The folder of a family's model, made once."""

    @cache
    def make(name: str) -> Path:
        return FAMILIES[name].save(tmp_path_factory.mktemp("families") / name)

    return make


def make_llm(folder: Path, **settings) -> FrozenLLM:
    return FrozenLLM(FrozenLLMSettings(name=str(folder), device="cpu", **settings))


@cache
def load_whole(family_name: str, folder: Path) -> tuple:
    """The un-cut model and its tokenizer, by plain transformers."""
    family = FAMILIES[family_name]
    return family.load_whole(folder), transformers.AutoTokenizer.from_pretrained(folder)


def oracle(
    family_name: str, folder: Path, text: str, layers: tuple[int, ...], llm: FrozenLLM
) -> np.ndarray:
    """What `llm` should give for a text, with nothing of the code under test."""
    family = FAMILIES[family_name]
    model, tokenizer = load_whole(family_name, folder)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids = encoded["input_ids"]
    prefix = tokenizer.convert_tokens_to_ids(list(family.prefix))
    suffix = tokenizer.convert_tokens_to_ids(list(family.suffix))
    start = len(prefix)
    row = [*prefix, *ids, *suffix]
    if llm.settings.reading == "twice":
        separator = tokenizer("\n", add_special_tokens=False)["input_ids"]
        start += len(ids) + len(separator)
        row = [*prefix, *ids, *separator, *ids, *suffix]
    states = whole_model_states(model, family.blocks, row, layers)
    return expected_states(
        make_doc(text),
        states[start : start + len(ids)],
        encoded["offset_mapping"],
        llm.settings.pooling,
        llm.settings.normalize,
    )


@pytest.mark.parametrize("reading", ["once", "twice"])
@pytest.mark.parametrize("name", FAMILIES)
def test_states_are_those_of_the_whole_model(name: str, reading: str, folder_of: GetFolder):
    folder = folder_of(name)
    layers = (0, 2, BLOCKS)
    llm = make_llm(folder, layers=layers, reading=reading)
    got = llm.read([make_doc(text) for text in TEXTS])
    for text, states in zip(TEXTS, got, strict=True):
        expected = oracle(name, folder, text, layers, llm)
        assert states.shape == (len(make_doc(text)), 3, WIDTH)
        np.testing.assert_allclose(states, expected, rtol=2e-3, atol=2e-3)
        # The comparison would see a wrong piece: tokens differ by much more than the tolerance.
        rows = expected[np.abs(expected).sum(axis=(1, 2)) > 0, -1]
        differences = np.abs(rows[1:] - rows[:-1]).max(axis=-1)
        assert len(rows) == 1 or np.median(differences) > 0.05


@pytest.mark.parametrize("pooling", ["first+last", "mean"])
@pytest.mark.parametrize("name", ["llama", "mistral", "bert", "t5"])
def test_poolings_of_raw_states(name: str, pooling: str, folder_of: GetFolder):
    folder = folder_of(name)
    llm = make_llm(folder, layers=(1, 3), pooling=pooling, normalize=False)
    (states,) = llm.read([make_doc(TEXTS[2])])
    expected = oracle(name, folder, TEXTS[2], (1, 3), llm)
    assert states.shape[-1] == llm.width
    np.testing.assert_allclose(states, expected, rtol=3e-3, atol=3e-3)


@pytest.mark.parametrize("name", FAMILIES)
def test_only_the_needed_blocks_are_in_memory(name: str, folder_of: GetFolder):
    llm = make_llm(folder_of(name), layers=(0, 2), reading="once")
    model = llm.model
    assert (model.depth, len(model.blocks)) == (2, 2)
    family = FAMILIES[name]
    whole, _ = load_whole(name, folder_of(name))
    count = {key: value.numel() for key, value in whole.state_dict().items()}
    count.pop("lm_head.weight", None)
    unneeded = (f"{family.blocks}.2.", f"{family.blocks}.3.", "decoder.layers.")
    needed = (f"{family.blocks}.0.", f"{family.blocks}.1.")
    dropped = sum(
        size
        for key, size in count.items()
        if key.startswith(unneeded) and not key.startswith(needed)
    )
    assert dropped > 0
    kept = sum(value.numel() for value in model.model.state_dict().values())
    assert kept == sum(count.values()) - dropped
    assert not any(parameter.requires_grad for parameter in model.model.parameters())
    assert not any(module.training for module in model.model.modules())


@pytest.mark.parametrize("depth", [1, BLOCKS])
@pytest.mark.parametrize("name", FAMILIES)
def test_whether_a_model_is_causal_is_found_out(name: str, depth: int, folder_of: GetFolder):
    assert make_llm(folder_of(name), layers=(depth,)).model.is_causal == FAMILIES[name].causal


@pytest.mark.parametrize("name", FAMILIES)
def test_only_what_a_piece_has_seen_matters(name: str, folder_of: GetFolder):
    docs = [make_doc("Ada met Charles today."), make_doc("Ada met Charles and a rhinoceros.")]
    once = make_llm(folder_of(name), layers=(BLOCKS,), reading="once").read(docs)
    difference = np.abs(once[0][:3].astype(float) - once[1][:3]).max()
    assert (difference < 2e-3) == FAMILIES[name].causal
    twice = make_llm(folder_of(name), layers=(BLOCKS,), reading="twice").read(docs)
    assert np.abs(twice[0][:3].astype(float) - twice[1][:3]).max() > 0.01


@pytest.mark.parametrize("name", FAMILIES)
def test_the_longest_windows_fit_the_positions(name: str, folder_of: GetFolder):
    family = FAMILIES[name]
    text = "Nobody at Harbour Bank would say why. " * 40
    for reading in ("once", "twice"):
        llm = make_llm(folder_of(name), layers=(1,), reading=reading)
        if "max_position_embeddings" in llm.config.to_dict():
            limit = 128 if name == "roberta" else 256
            framed = llm.reading.overhead + llm.reading.copies * llm.window
            assert limit - llm.reading.copies < framed <= limit
        (states,) = llm.read([make_doc(text)])
        assert np.isfinite(states).all()
        assert (np.abs(states).sum(axis=(1, 2)) > 0).sum() >= len(text.split())
    assert family.make_config().num_hidden_layers == BLOCKS


def test_roberta_with_an_odd_number_of_positions(tmp_path: Path):
    folder = FAMILIES["roberta"].save(tmp_path / "roberta", max_position_embeddings=64)
    llm = make_llm(folder, layers=(1,), reading="once")
    # Positions start at pad_token_id + 1 = 2: of 64, 62 are left, two of them for <s> and </s>.
    assert llm.window == 60
    (states,) = llm.read([make_doc("Nobody would say why. " * 20)])
    assert np.isfinite(states).all()


def test_a_bundled_model_gives_the_same_states(tmp_path: Path, folder_of: GetFolder):
    doc = make_doc(TEXTS[1])
    for name in FAMILIES:
        llm = make_llm(folder_of(name), layers=(0, 2))
        bundled = make_llm("gone", layers=(0, 2))
        llm.save_bundle(tmp_path / name)
        bundled.use_bundle(tmp_path / name)
        assert bundled.fingerprint == llm.fingerprint
        expected = llm.read([doc])[0]
        np.testing.assert_array_equal(bundled.read([doc])[0], expected)
        # In 4 bits, the random weights of these models give states that are alike.
        llm.save_bundle(tmp_path / f"{name}-4bit", "4bit")
        bundled.use_bundle(tmp_path / f"{name}-4bit")
        assert bundled.identity["storage"] == "4bit"
        difference = bundled.read([doc])[0].astype(float) - expected
        assert np.linalg.norm(difference) < 0.5 * np.linalg.norm(expected.astype(float))


@pytest.mark.skipif(
    Version(transformers.__version__) < Version("4.53"),
    reason="older transformers cannot take it out",
)
def test_the_language_model_within_a_model_for_text_and_images(tmp_path: Path):
    family = FAMILIES["gemma3"]
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = transformers.Gemma3Config(
        text_config=family.make_config().to_dict(), vision_config=vision, mm_tokens_per_image=4
    )
    torch.manual_seed(0)
    whole = transformers.Gemma3ForConditionalGeneration(config).eval()
    whole.save_pretrained(tmp_path / "both")
    tokenizer = family.tokenizer()
    tokenizer.save_pretrained(tmp_path / "both")
    llm = make_llm(tmp_path / "both", layers=(0, 2), reading="once")
    doc = make_doc(TEXTS[0])
    encoded = tokenizer(doc.text, return_offsets_mapping=True)
    states = whole_model_states(whole.model.language_model, "layers", encoded["input_ids"], (0, 2))
    expected = expected_states(doc, states, encoded["offset_mapping"], "last", True)
    np.testing.assert_allclose(llm.read([doc])[0], expected, rtol=2e-3, atol=2e-3)
    assert not any("vision" in key for key in llm.model.model.state_dict())
