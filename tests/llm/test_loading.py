"""Loading: shared, cut, without a network; and what cannot be loaded gets a clear error."""

from __future__ import annotations

import gc
import json
import logging
import shutil
import socket
import warnings
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from spacy_llm2ner.llm import loading
from spacy_llm2ner.llm.checkpoint import load_config, load_tokenizer
from spacy_llm2ner.llm.cutting import cut_config, find_blocks, is_cuttable
from spacy_llm2ner.llm.extraction import FrozenLLMSettings
from spacy_llm2ner.llm.frozen import FrozenLLM
from spacy_llm2ner.llm.loading import LoadedLLM, load
from tests.llm.families import BLOCKS, FAMILIES
from tests.llm.family_tokenizers import bert_tokenizer, gemma_tokenizer, gpt2_tokenizer
from tests.llm.oracle import make_doc

DOC = make_doc("Ada Lovelace met Charles Babbage in London in 1833.")


def make_llm(folder: Path, **settings) -> FrozenLLM:
    chosen = {"layers": (1,), "device": "cpu", **settings}
    return FrozenLLM(FrozenLLMSettings(name=str(folder), **chosen))


@pytest.fixture
def folder(tiny_llm: Path, tmp_path: Path) -> Path:
    """A tiny Llama of this test's own."""
    return Path(shutil.copytree(tiny_llm, tmp_path / "llm"))


# Sharing --------------------------------------------------------------------------------------


def test_one_model_for_all_who_name_it(folder: Path, tmp_path: Path):
    deep, shallow = make_llm(folder, layers=(3,)), make_llm(folder, layers=(1, 2), pooling="mean")
    (tmp_path / "link").symlink_to(folder)
    linked = make_llm(tmp_path / "link", layers=(2,))
    assert deep.model is shallow.model is linked.model
    assert shallow.model.depth == 3
    assert make_llm(folder, dtype="bfloat16").model is not deep.model
    expected = FrozenLLM(shallow.settings)
    expected._loaded = LoadedLLM(shallow.spec, 2)  # a model with 2 blocks of its own
    assert expected.model.depth == 2
    assert (expected.read([DOC])[0] == shallow.read([DOC])[0]).all()


def test_a_deeper_request_reads_more_blocks_for_all(folder: Path):
    shallow = make_llm(folder, layers=(1,))
    before = shallow.read([DOC])[0]
    assert shallow.model.depth == 1
    deep = make_llm(folder, layers=(BLOCKS,))
    assert deep.model.depth == BLOCKS
    assert shallow.model is deep.model  # not two models in memory
    assert (shallow.read([DOC])[0] == before).all()


def test_a_model_that_nobody_uses_is_freed(folder: Path):
    llm = make_llm(folder)
    first = id(llm.model.model)
    spec = llm.spec
    del llm
    gc.collect()
    again = load(spec, 2)
    assert again.depth == 2, "the old model, with 1 block, was freed and not deepened"
    assert first is not None


def test_weights_of_later_blocks_are_not_read(tmp_path: Path):
    """A shard that holds later blocks only may even be damaged."""
    family = FAMILIES["llama"]
    whole = family.save(tmp_path / "whole")
    folder = Path(shutil.copytree(whole, tmp_path / "sharded"))
    weights = load_file(whole / "model.safetensors")
    later = {k: v for k, v in weights.items() if ".layers.2." in k or ".layers.3." in k}
    first = {k: v for k, v in weights.items() if k not in later}
    names = {"model-1.safetensors": first, "model-2.safetensors": later}
    (folder / "model.safetensors").unlink()
    for name, part in names.items():
        save_file(part, folder / name, metadata={"format": "pt"})
    index = {"metadata": {"total_size": 1}}
    index["weight_map"] = {key: name for name, part in names.items() for key in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    later_file = folder / "model-2.safetensors"
    header = int.from_bytes(later_file.read_bytes()[:8], "little")
    data = bytearray(later_file.read_bytes())
    data[8 + header :] = b"\xff" * (len(data) - 8 - header)  # every number NaN
    later_file.write_bytes(data)
    llm, expected = make_llm(folder, layers=(2,)), make_llm(whole, layers=(2,))
    assert (llm.read([DOC])[0] == expected.read([DOC])[0]).all()
    assert sum(p.numel() for p in llm.model.model.parameters()) < sum(
        v.numel() for v in weights.values()
    )
    with pytest.raises(ValueError, match="not finite"):
        make_llm(folder, layers=(3,)).read([DOC])


# No side effects ------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "t5", "bert"])
def test_a_folder_is_loaded_without_a_network(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = FAMILIES[family].save(tmp_path / family)
    asked = []

    def no_network(*arguments, **_):
        asked.append(arguments)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    make_llm(folder).read([DOC])
    assert asked == []


def test_loading_leaves_the_process_as_it_was(folder: Path, capfd: pytest.CaptureFixture):
    logger = logging.getLogger("transformers")
    before = (logger.level, torch.get_default_dtype(), torch.is_grad_enabled())
    make_llm(folder, dtype="bfloat16").read([DOC])
    assert (logger.level, torch.get_default_dtype(), torch.is_grad_enabled()) == before
    assert "not used" not in capfd.readouterr().err


# What cannot be loaded ------------------------------------------------------------------------


def test_a_layer_that_the_model_does_not_have(folder: Path):
    with pytest.raises(ValueError, match=r"'layers' asks for layer 5.*has 4 blocks"):
        _ = make_llm(folder, layers=(1, 5)).model
    shared = make_llm(folder, layers=(2,))
    assert shared.model.depth == 2
    with pytest.raises(ValueError, match="'layers' asks for layer 9"):
        _ = make_llm(folder, layers=(9,)).model
    assert shared.read([DOC])[0].any()  # the shared model is still whole


@pytest.mark.parametrize(
    ("family", "key"),
    [
        ("llama", "model.layers.1.mlp.up_proj.weight"),
        ("llama", "model.embed_tokens.weight"),
        ("gpt2", "transformer.wpe.weight"),
        ("bert", "bert.embeddings.LayerNorm.weight"),
    ],
)
def test_missing_weights(family: str, key: str, tmp_path: Path):
    folder = FAMILIES[family].save(tmp_path / family)
    weights = load_file(folder / "model.safetensors")
    del weights[key]
    weights.pop("lm_head.weight", None)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks weights.*" + key.split(".", 1)[1]):
        _ = make_llm(folder, layers=(2,)).model


def test_missing_weights_of_later_blocks_do_not_matter(folder: Path):
    weights = load_file(folder / "model.safetensors")
    kept = {key: value for key, value in weights.items() if ".layers.3." not in key}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    assert make_llm(folder, layers=(3,)).model.depth == 3
    with pytest.raises(ValueError, match="lacks weights"):
        _ = make_llm(folder, layers=(4,)).model


def test_blocks_that_share_their_weights(tmp_path: Path):
    config = transformers.AlbertConfig(
        vocab_size=len(bert_tokenizer()),
        hidden_size=32,
        embedding_size=16,
        intermediate_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
    )
    transformers.AlbertModel(config).save_pretrained(tmp_path)
    bert_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"AlbertModel has no list of 3 blocks"):
        _ = make_llm(tmp_path, layers=(3,)).model


def test_blocks_whose_parts_are_spread_over_lists():
    config = transformers.XLMConfig(vocab_size=50, emb_dim=16, n_layers=3, n_heads=2)
    with pytest.raises(ValueError, match="XLMModel has no list of 3 blocks"):
        find_blocks(transformers.XLMModel(config), 3)


def test_states_that_are_none(tmp_path: Path):
    """XLNet's blocks give (pieces, batch, width)."""
    config = transformers.XLNetConfig(
        vocab_size=len(gpt2_tokenizer()), d_model=32, n_layer=2, n_head=4, d_inner=32
    )
    transformers.XLNetModel(config).save_pretrained(tmp_path)
    gpt2_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"XLNetModel.* cannot be read"):
        make_llm(tmp_path, layers=(1,)).read([DOC])


def test_a_slow_tokenizer(tmp_path: Path):
    (tmp_path / "vocab.json").write_text(json.dumps({"a</w>": 0, "<unk>": 1, "a": 2}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    transformers.CTRLConfig(vocab_size=3).save_pretrained(tmp_path)
    tokenizer = transformers.CTRLTokenizer(tmp_path / "vocab.json", tmp_path / "merges.txt")
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="slow tokenizer without character offsets"):
        load_tokenizer(tmp_path)


def test_a_broken_tokenizer(folder: Path):
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer of the LLM in .* cannot be loaded"):
        load_tokenizer(folder)


def test_a_model_type_that_nobody_knows(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "nonesuch"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"configuration .* cannot be loaded .*nonesuch"):
        load_config(folder)


def test_a_model_that_is_no_language_model(tmp_path: Path):
    transformers.ResNetConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"'resnet'.* has no '"):
        load_config(tmp_path)


@pytest.mark.parametrize("device", ["nonesuch", "cuda:0"])
def test_a_device_that_is_not_there(device: str, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=f"'device' of the LLM is '{device}'"):
        _ = make_llm(folder, device=device).model


@pytest.mark.parametrize(("native", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_auto_means_bfloat16_where_the_cpu_computes_it(
    native: bool, dtype: str, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loading, "native_bfloat16_cpu", lambda: native)
    chosen, named = make_llm(folder, dtype="auto"), make_llm(folder, dtype=dtype)
    assert next(chosen.model.model.parameters()).dtype == getattr(torch, dtype)
    # What one machine stored serves another that chose the same.
    assert chosen.model is named.model and chosen.fingerprint == named.fingerprint


@pytest.mark.parametrize("native", [True, False])
def test_emulated_bfloat16_is_a_warning(
    native: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loading, "native_bfloat16_cpu", lambda: native)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        for dtype in ("auto", "float32", "bfloat16"):
            llm = make_llm(folder, dtype=dtype)
            llm.read([DOC])
            llm.read([DOC])
    found = [str(warning.message) for warning in shown if "L2N-W69" in str(warning.message)]
    assert len(found) == (0 if native else 1)
    assert native or "dtype = 'auto'" in found[0]


def test_auto_on_a_device_that_is_not_there(folder: Path):
    with pytest.raises(ValueError, match="'device' of the LLM is 'nonesuch'"):
        _ = make_llm(folder, dtype="auto", device="nonesuch").model


def test_an_unknown_dtype_or_attention(folder: Path):
    with pytest.raises(ValueError, match=r"'dtype'.*'auto', 'float32', 'float16', 'bfloat16'"):
        make_llm(folder, dtype="int8")
    with pytest.raises(ValueError, match="cannot be loaded by transformers"):
        _ = make_llm(folder, attention="nonesuch").model


# Configurations -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_settings_per_block_are_cut_along(family: str):
    config = FAMILIES[family].make_config()
    config.per_block = list(range(BLOCKS))
    cut = cut_config(config, 2)
    assert (cut.num_hidden_layers, cut.per_block) == (2, [0, 1])
    assert len(getattr(cut, "layer_types", None) or [0, 1]) == 2
    assert (config.num_hidden_layers, len(config.per_block)) == (BLOCKS, BLOCKS)
    assert cut.hidden_size == config.hidden_size == 32


def test_models_that_depend_on_their_depth_are_not_cut(folder: Path):
    config = load_config(folder)
    assert is_cuttable(config)
    config.scale_depth = 1.4
    assert not is_cuttable(config)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "scale_depth": 1.4}))
    llm = make_llm(folder, layers=(2,))
    assert llm.model.depth == BLOCKS
    assert llm.read([DOC])[0].any()


def test_tokenizer_settings_for_batches_are_taken_out(tmp_path: Path):
    made = gemma_tokenizer().backend_tokenizer
    text = "a text that is longer than that"
    expected = made.encode(text, add_special_tokens=False).ids
    folder = FAMILIES["gemma2"].save(tmp_path)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["truncation"] = {
        "direction": "Right",
        "max_length": 3,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    content["padding"] = {
        "strategy": {"Fixed": 64},
        "direction": "Left",
        "pad_to_multiple_of": None,
        "pad_id": 3,
        "pad_type_id": 0,
        "pad_token": "<pad>",
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    backend = load_tokenizer(folder).backend_tokenizer
    assert backend.encode(text, add_special_tokens=False).ids == expected


SCALING = {"rope_type": "linear", "factor": 2.0}


@pytest.mark.parametrize("scaling", [{"rope_type": "default"}, SCALING], ids=["plain", "scaled"])
def test_rotary_positions_as_transformers_4_and_5_write_them(
    scaling: dict, tiny_llm: Path, tmp_path: Path
):
    states = []
    for version in (4, 5):
        folder = Path(shutil.copytree(tiny_llm, tmp_path / str(version)))
        config = json.loads((folder / "config.json").read_text())
        for key in ("rope_theta", "rope_scaling", "rope_parameters"):
            config.pop(key, None)
        if version == 4:
            config["rope_theta"] = 77.0
            config["rope_scaling"] = scaling if scaling is SCALING else None
        else:
            config["rope_parameters"] = {"rope_theta": 77.0, **scaling}
        (folder / "config.json").write_text(json.dumps(config))
        states.append(make_llm(folder, layers=(3,)).read([DOC])[0])
    assert (states[0] == states[1]).all()
    assert (states[0] != make_llm(tiny_llm, layers=(3,)).read([DOC])[0]).any()


@pytest.mark.skipif(
    int(transformers.__version__.split(".")[0]) >= 5, reason="transformers 5 reads its own files"
)
def test_rotary_positions_that_transformers_4_cannot_know(folder: Path):
    path = folder / "config.json"
    rope = {"full_attention": {"rope_type": "default", "rope_theta": 77.0}}
    path.write_text(json.dumps({**json.loads(path.read_text()), "rope_parameters": rope}))
    with pytest.raises(ValueError, match=r"rope_parameters.*Install transformers>=5"):
        load_config(folder)
