"""Several frozen LLMs under one head: their states side by side, and all that a single LLM has."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from spacy.cli.train import train as train_pipeline
from spacy.language import DEFAULT_CONFIG_PATH, Language
from spacy.tokens import DocBin
from spacy.util import registry
from thinc.api import Config

from spacy_llm2ner import from_pretrained
from spacy_llm2ner.architectures import slices
from spacy_llm2ner.architectures.stacked_llm import side_by_side, slices_side_by_side
from spacy_llm2ner.heads.layers import LayerMix, Standardize
from spacy_llm2ner.heads.stack import StackedMix, StackedStandardize
from spacy_llm2ner.hub.card import make_card
from spacy_llm2ner.llm import frozen
from spacy_llm2ner.llm.extraction import FrozenLLMSettings
from spacy_llm2ner.llm.frozen import FrozenLLM
from spacy_llm2ner.llm.recent import RecentStates
from spacy_llm2ner.pipeline.bundle import write_bundled
from spacy_llm2ner.pipeline.ensemble import join_heads
from spacy_llm2ner.reports.score_parts import split_scores
from spacy_llm2ner.sweep.training import small_config
from tests.pipeline.sample import DATA, examples, found, train
from tests.tiny import llm_config, pipe_config, save_tiny_llama

TEXTS = [text for text, _ in DATA]
STACK = "spacy_llm2ner.StackedLLM.v1"
MEMBER = "components.{}.model.llm.llms.{}"


@pytest.fixture(scope="module")
def other_llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLM of another width and depth, with smaller windows."""
    folder = tmp_path_factory.mktemp("llm") / "other-llama"
    return save_tiny_llama(folder, seed=1, n_blocks=3, width=48)


def stack(tiny_llm: Path, other_llm: Path) -> dict:
    """Two LLMs, the second of them read in two ways; the order is that of the names."""
    return {
        "@architectures": STACK,
        "llms": {
            "b-twice": llm_config(other_llm, layers=[2], window=8),
            "a": llm_config(tiny_llm, window=16),
            "c_once": llm_config(other_llm, layers=[1, 3], reading="once"),
        },
    }


def make_stacked(kind: str, tiny_llm: Path, other_llm: Path, **head) -> Language:
    nlp = spacy.blank("en")
    config = deepcopy(pipe_config(tiny_llm, head=head))
    config["model"]["llm"] = stack(tiny_llm, other_llm)
    if kind == "llm2ner_tagger":
        config["model"]["@architectures"] = "spacy_llm2ner.TokenTagger.v1"
        config["model"]["head"] = {"@architectures": "spacy_llm2ner.CRFTagger.v1"}
    nlp.add_pipe(kind, config=config)
    return nlp


@pytest.fixture(scope="module")
def folders(tiny_llm: Path, other_llm: Path, tmp_path_factory) -> dict[str, Path]:
    """A trained span head and a trained tagger, on disk."""
    root = tmp_path_factory.mktemp("stacked")
    for kind in ("llm2ner", "llm2ner_tagger"):
        nlp = make_stacked(kind, tiny_llm, other_llm)
        data = examples(nlp)
        nlp.initialize(lambda data=data: data)
        train(nlp, data)
        nlp.to_disk(root / kind)
    return {kind: root / kind for kind in ("llm2ner", "llm2ner_tagger")}


def llms_of(nlp: Language) -> list[FrozenLLM]:
    return [shim.llm for shim in nlp.get_pipe(nlp.pipe_names[0])._llm_shims()]


# States -----------------------------------------------------------------------------------------


def test_states_stand_side_by_side(tiny_llm: Path, other_llm: Path) -> None:
    docs = [*map(spacy.blank("en"), [*TEXTS, "", "  \n "])]
    model = registry.resolve({"llm": stack(tiny_llm, other_llm)})["llm"]
    read = (
        FrozenLLMSettings(str(tiny_llm), layers=(1, 3), window=16),
        FrozenLLMSettings(str(other_llm), layers=(2,), window=8),
        FrozenLLMSettings(str(other_llm), layers=(1, 3), reading="once"),
    )
    alone = [FrozenLLM(settings).read(docs) for settings in read]
    for states, *each in zip(model.predict(docs), *alone, strict=True):
        by_hand = np.hstack([np.concatenate([*rows.transpose(1, 0, 2)], axis=1) for rows in each])
        assert states.shape == (len(by_hand), 1, 208) and states.dtype == np.float16
        np.testing.assert_array_equal(states[:, 0], by_hand)
    second, third = (node.shims[0].llm for node in model.layers[1:])
    assert second.model is third.model  # one copy of the weights
    # The layers as they are: an LLM alone.
    one = {"@architectures": STACK, "llms": {"only": llm_config(tiny_llm, window=16)}}
    single = registry.resolve({"llm": one})["llm"]
    for states, expected in zip(single.predict(docs), alone[0], strict=True):
        np.testing.assert_array_equal(states, expected)


def test_layers_are_standardised_and_mixed_within_each_llm() -> None:
    torch.manual_seed(0)
    sizes = [(2, 5), (1, 7), (3, 4)]
    each = [torch.randn(40, n, w) * torch.rand(n, w).exp() + 1 for n, w in sizes]
    stacked = torch.cat([states.flatten(1) for states in each], dim=1)[:, None]
    standardize, mix = StackedStandardize(sizes), StackedMix(sizes)
    standardize.fit([stacked[:25], stacked[25:]])
    for one in mix.mixes:
        torch.nn.init.normal_(one.weights)
    expected = []
    for states, (n, w), one in zip(each, sizes, mix.mixes, strict=True):
        alone, alone_mix = Standardize(n, w), LayerMix(n)
        alone.fit([states])
        alone_mix.load_state_dict(one.state_dict())
        expected.append(alone_mix(alone(states[None])))
    torch.testing.assert_close(mix(standardize(stacked[None])), torch.cat(expected, dim=2))


def test_parts_of_a_long_text_are_joined_as_they_come() -> None:
    given = {"a": 0, "b": 0}  # tokens that each LLM has read
    rows = {"a": np.arange(40).reshape(20, 2, 1), "b": np.arange(60).reshape(20, 1, 3)}

    def parts(llm: str, *sizes: int) -> Iterator[np.ndarray]:
        for size in sizes:
            given[llm] += size
            yield rows[llm][given[llm] - size : given[llm]]

    found, done = [], 0
    for part in slices_side_by_side([parts("a", 7, 7, 6), parts("b", 3, 4, 6, 1, 6)]):
        found.append(part)
        done += len(part)
        assert max(given.values()) - done <= 7  # no LLM is more than a part ahead
    np.testing.assert_array_equal(np.concatenate(found), side_by_side([rows["a"], rows["b"]]))


# The component ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llm2ner", "llm2ner_tagger"])
def test_trained_heads_are_stored_and_loaded(folders: dict[str, Path], kind: str, monkeypatch):
    nlp = spacy.load(folders[kind])
    expected = [spans for _, spans in DATA]
    assert [found(nlp(text)) for text in TEXTS] == expected
    # Layers are mixed within each LLM: of 208 features the head sees 128.
    head = nlp.get_pipe(kind).model.layers[1].shims[0].module
    assert head.project.weight.shape[1] == 32 + 48 + 48
    again = spacy.load(folders[kind])
    again.from_bytes(nlp.to_bytes())
    assert [found(doc) for doc in again.pipe(TEXTS, n_process=2, batch_size=3)] == expected
    # A long doc is scored in slices; the LLMs cut it in different places.
    long = nlp.make_doc(" ".join(TEXTS * 2))
    whole = found(nlp(long.copy()))
    monkeypatch.setattr(slices, "SLICE_TOKENS", 10)
    monkeypatch.setattr("spacy_llm2ner.llm.frozen.FrozenLLM.tokens_at_once", lambda self: 5)
    assert slices.is_long(nlp.get_pipe(kind).model, long)
    assert found(nlp(long)) == whole != []


def test_spacy_train_takes_overrides_for_each_llm(
    tiny_llm: Path, other_llm: Path, tmp_path: Path
) -> None:
    nlp = make_stacked("llm2ner", tiny_llm, other_llm)
    docs = [example.reference for example in examples(nlp)]
    DocBin(docs=docs).to_disk(tmp_path / "data.spacy")
    config = spacy.util.load_config(DEFAULT_CONFIG_PATH).merge(nlp.config)
    for split in ("train", "dev"):
        config["corpora"][split]["path"] = str(tmp_path / "data.spacy")
    config["training"].update(max_steps=2, eval_frequency=2, max_epochs=0)
    config.to_disk(tmp_path / "config.cfg", interpolate=False)
    overrides = {f"{MEMBER.format('llm2ner', 'a')}.layers": [2]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about so short a training
        train_pipeline(tmp_path / "config.cfg", tmp_path / "out", overrides=overrides)
    loaded = spacy.load(tmp_path / "out" / "model-best")
    assert [llm.layers for llm in llms_of(loaded)] == [(2,), (2,), (1, 3)]
    loaded(TEXTS[0])


def test_each_llm_is_checked_and_can_be_elsewhere(
    folders: dict[str, Path], tiny_llm: Path, other_llm: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(tiny_llm, tmp_path / "moved")
    a, b = (MEMBER.format("llm2ner", name) for name in ("a", "b-twice"))
    nlp = spacy.load(folders["llm2ner"], config={f"{a}.name": str(moved)})
    assert found(nlp(TEXTS[0])) == DATA[0][1]
    nlp = spacy.load(folders["llm2ner"], config={f"{b}.name": str(tiny_llm)})
    with pytest.raises(ValueError, match=r"E303.*model\.llm\.llms\.b-twice\.name = '.*tiny-llama'"):
        nlp(TEXTS[0])
    nlp = spacy.load(folders["llm2ner"], config={f"{b}.reading": "once"})
    with pytest.raises(ValueError, match=r"E305.*Set these in model\.llm\.llms\.b-twice as"):
        nlp(TEXTS[0])
    gone = {f"{a}.name": str(tmp_path / "x"), f"{b}.name": str(tmp_path / "y")}
    with pytest.warns(UserWarning, match="L2N-W09") as caught:
        spacy.load(folders["llm2ner"], config=gone)
    for setting, warning in zip((a, b), caught, strict=True):
        assert f"{setting}.name': FOLDER" in str(warning.message)


def test_each_llm_has_its_store(tiny_llm: Path, other_llm: Path, tmp_path: Path) -> None:
    nlp = make_stacked("llm2ner", tiny_llm, other_llm)
    config = nlp.config.copy()
    for name in ("a", "c_once"):
        place = {"@misc": "spacy_llm2ner.StateStore.v1", "path": str(tmp_path / name)}
        config["components"]["llm2ner"]["model"]["llm"]["llms"][name]["store"] = place
    for reads in (len(TEXTS), 0):  # the second training reads nothing
        nlp = spacy.util.load_model_from_config(Config().from_str(config.to_str()))
        data = examples(nlp)
        nlp.initialize(lambda data=data: data)
        assert [llm.texts_read for llm in llms_of(nlp)] == [
            reads,
            llms_of(nlp)[1].texts_read,
            reads,
        ]
    assert [len(llm.store) for llm in llms_of(nlp) if llm.store] == [len(TEXTS)] * 2


@pytest.mark.parametrize("command", [True, False])
def test_the_llms_go_along_once_each(
    folders: dict[str, Path],
    tiny_llm: Path,
    other_llm: Path,
    tmp_path: Path,
    command: bool,
    monkeypatch,
) -> None:
    copies = {p: str(shutil.copytree(p, tmp_path / p.name)) for p in (tiny_llm, other_llm)}
    names = {"a": tiny_llm, "b-twice": other_llm, "c_once": other_llm}
    config = {f"{MEMBER.format('llm2ner', k)}.name": copies[p] for k, p in names.items()}
    if command:
        carried = write_bundled(spacy.load(folders["llm2ner"], config=config), tmp_path / "out")
        assert [(one.blocks, one.of_blocks) for one in carried] == [(3, 4), (3, 3)]
    else:
        config["components.llm2ner.bundle_llm"] = True
        spacy.load(folders["llm2ner"], config=config).to_disk(tmp_path / "out")
    for copy in copies.values():
        shutil.rmtree(copy)
    weights = sorted((tmp_path / "out").rglob("*.safetensors"))
    assert [path.parent.name for path in weights] == ["a", "b-twice"]
    loaded = spacy.load(tmp_path / "out")  # no warning, which would be an error here
    monkeypatch.setattr(frozen, "_recent", RecentStates(1))  # the texts are read again
    assert [found(loaded(text)) for text in TEXTS] == [spans for _, spans in DATA]
    second, third = llms_of(loaded)[1:]
    assert second.model is third.model
    loaded.to_disk(tmp_path / "out")
    loaded.to_disk(tmp_path / "again")
    assert found(spacy.load(tmp_path / "again")(TEXTS[0])) == DATA[0][1]


def test_heads_are_joined_and_explained(folders: dict[str, Path], tmp_path: Path) -> None:
    pair = [spacy.load(folders["llm2ner"]) for _ in range(2)]
    pipe = pair[1].get_pipe("llm2ner")
    with torch.no_grad():
        pipe.model.layers[1].shims[0].module.length.add_(1.0)
    doc = pair[0].make_doc(TEXTS[0])
    one, two = (nlp.get_pipe("llm2ner").model.predict([doc])[0] for nlp in pair)
    join_heads(pair, "llm2ner")
    pair[0].to_disk(tmp_path / "joined")
    joined = spacy.load(tmp_path / "joined")
    model = joined.get_pipe("llm2ner").model
    np.testing.assert_allclose(model.predict([doc])[0], (one + two) / 2, rtol=1e-4, atol=1e-4)
    parts = split_scores(model, doc)
    legal = parts.logits > -1e4
    np.testing.assert_allclose(parts.values.sum(-1)[legal], parts.logits[legal], atol=1e-3)
    # Heads on other stacks are refused.
    other = spacy.load(folders["llm2ner"])
    other.get_pipe("llm2ner")._llm_shims()[2].expected["reading"] = "twice"
    with pytest.raises(ValueError, match="the LLM of 'llm2ner' is"):
        join_heads([spacy.load(folders["llm2ner"]), other], "llm2ner")


def test_the_card_names_every_llm(folders: dict[str, Path]) -> None:
    nlp = spacy.load(folders["llm2ner"])
    card = make_card(nlp)
    assert "`tiny-llama` and `other-llama`" in card
    for llm, name in zip(llms_of(nlp), ("a", "b-twice", "c_once"), strict=True):
        assert f"| LLM `{name}` | `{Path(llm.settings.name).name}` |" in card
        assert f'"{MEMBER.format("llm2ner", name)}.name": "FOLDER"' in card
        assert llm.identity["model"] in card
    assert card.count("| `model.safetensors` |") == 2  # the files of each LLM, once


# What a stack is not taken for -----------------------------------------------------------------


def test_what_is_no_stack_is_an_error(tiny_llm: Path) -> None:
    one = llm_config(tiny_llm)
    for llms, code in (
        ({}, "E323"),
        ({"a b": one}, "E324.*'a b'"),
        ({"a": {"@architectures": STACK, "llms": {"b": one}}}, "E325.*'a'.*'stacked_llm'"),
        ({"a": 3}, "E325.*'int'"),
    ):
        with pytest.raises(ValueError, match=code):
            registry.resolve({"llm": {"@architectures": STACK, "llms": llms}})


def test_what_takes_one_llm_says_so(
    folders: dict[str, Path], tiny_llm: Path, other_llm: Path
) -> None:
    llm = stack(tiny_llm, other_llm)
    with pytest.raises(ValueError, match=r"E403.*'stacked_llm'"):
        registry.resolve({"m": {"@architectures": "spacy_llm2ner.ToMMeR.v1", "llm": llm}})
    with pytest.raises(ValueError, match=r"E326.*\(a, b-twice, c_once\)"):
        model = {"llm": llm}
        spacy.blank("en").add_pipe("llm2ner", config={"pretrained": "mentions", "model": model})
    with pytest.raises(ValueError, match=r"E807.*llms\.a\.name"):
        from_pretrained(folders["llm2ner"], llm=tiny_llm)
    with pytest.raises(ValueError, match=r"E660.*StackedLLM"):
        small_config(spacy.load(folders["llm2ner"]), "llm2ner")
