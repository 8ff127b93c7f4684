"""Heads on an LLM that is trained along: what learns, what is stored, what never changes."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.util import registry
from thinc.api import Adam

from spacy_llm2ner.architectures.shims import TunedShim
from spacy_llm2ner.llm.tuned import TunedLLM
from tests.pipeline.sample import DATA, examples, found, train
from tests.pipeline.tagging import NAME, make_tagger
from tests.tiny import pipe_config, save_tiny_llama

TEXTS = [text for text, _ in DATA]


def tuned(tiny_llm: Path, head: dict | None = None, **llm) -> Language:
    llm = {"@architectures": "spacy_llm2ner.TunedLLM.v1", "lora_rank": 4, **llm}
    return make_tagger(tiny_llm, llm=llm, head=head)


def shim_of(nlp: Language, name: str = NAME) -> TunedShim:
    (shim,) = nlp.get_pipe(name)._shims(TunedShim)
    return shim


def weights(nlp: Language) -> dict[str, torch.Tensor]:
    return {k: v.detach().clone() for k, v in shim_of(nlp).reader.trained().items()}


def base_weights(nlp: Language) -> dict[str, torch.Tensor]:
    named = shim_of(nlp).reader.module.named_parameters()
    return {k: v.detach().clone() for k, v in named if not v.requires_grad}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def outputs(nlp: Language) -> list[np.ndarray]:
    return nlp.get_pipe(NAME).model.predict([nlp.make_doc(text) for text in TEXTS]).logits


@pytest.fixture(scope="module")
def _lora(tiny_llm: Path, tmp_path_factory: pytest.TempPathFactory):
    nlp = tuned(tiny_llm)
    data = examples(nlp)
    nlp.initialize(lambda: data)
    base, before = base_weights(nlp), weights(nlp)
    train(nlp, data, steps=30)
    folder = tmp_path_factory.mktemp("lora") / "model"
    nlp.to_disk(folder)
    return nlp, folder, base, before


@pytest.fixture
def lora(_lora) -> Language:
    return spacy.load(_lora[1])


def test_lora_learns_and_the_base_does_not_change(_lora):
    nlp, _, base, before = _lora
    assert nlp.evaluate(examples(nlp))["ents_f"] == 1.0
    assert not same(weights(nlp), before)
    assert base and same(base_weights(nlp), base)


def test_the_head_stands_on_moving_ground(_lora, tiny_llm: Path):
    """What the pipeline has learnt is not in the head alone: without the adapters it is lost."""
    nlp = _lora[0]
    reader = shim_of(nlp).reader
    kept, with_adapters = weights(nlp), outputs(nlp)
    reader.give({key: torch.zeros_like(value) for key, value in kept.items()})
    without = outputs(nlp)
    reader.give(kept)
    assert np.abs(without[0] - with_adapters[0]).max() > 0.1
    np.testing.assert_array_equal(outputs(nlp)[0], with_adapters[0])


def test_only_adapters_and_head_are_stored(_lora, tiny_llm: Path):
    nlp, folder, _, _ = _lora
    size = sum(f.stat().st_size for f in (folder / NAME).rglob("*") if f.is_file())
    adapters = sum(4 * value.numel() for value in weights(nlp).values())
    head = sum(
        4 * p.numel() for p in nlp.get_pipe(NAME).model.get_ref("head").shims[0].module.parameters()
    )
    assert adapters + head < size < adapters + head + 40_000


def test_disk_bytes_pickle_copies(lora: Language, _lora, tiny_llm: Path):
    expected = outputs(_lora[0])
    others = [
        lora,
        tuned(tiny_llm).from_bytes(lora.to_bytes()),
        pickle.loads(pickle.dumps(lora)),
        copy.deepcopy(lora),
    ]
    for other in others:
        assert [found(doc) for doc in other.pipe(TEXTS)] == [phrases for _, phrases in DATA]
        np.testing.assert_allclose(outputs(other)[0], expected[0], atol=1e-5)
    model = lora.get_pipe(NAME).model
    twin = model.copy()
    train(lora, examples(lora), steps=1)
    (kept,) = twin.predict([lora.make_doc(TEXTS[0])]).logits
    np.testing.assert_allclose(kept, expected[0], atol=1e-5)
    assert np.abs(outputs(lora)[0] - kept).max() > 1e-3


def test_loading_does_not_load_the_llm(lora: Language, tmp_path: Path):
    assert not shim_of(lora).reader.is_loaded
    lora.to_disk(tmp_path / "again")
    assert not shim_of(lora).reader.is_loaded
    assert found(spacy.load(tmp_path / "again")(TEXTS[0])) == DATA[0][1]


def test_another_llm_or_rank_is_an_error_at_first_use(_lora, tmp_path: Path):
    other = save_tiny_llama(tmp_path / "other", seed=1)
    changed, same = "trained on another LLM", "trained on this LLM with other settings"
    for setting, value, message in (
        ("name", str(other), changed),
        ("lora_rank", 2, same),
        ("reading", "unmasked", same),
    ):
        nlp = spacy.load(_lora[1], config={f"components.{NAME}.model.llm.{setting}": value})
        with pytest.raises(ValueError, match=message):
            nlp(TEXTS[0])


def test_the_llms_learning_rate_is_scaled(tiny_llm: Path):
    """Adam's first step is as long as the learning rate, whatever the gradient."""
    steps = {}
    for scale in (1.0, 0.01):
        nlp = tuned(tiny_llm, learn_rate_scale=scale, tuning="full")
        data = examples(nlp)
        nlp.initialize(lambda data=data: data)
        _ = shim_of(nlp).reader.module
        head = nlp.get_pipe(NAME).model.get_ref("head").shims[0].module
        # The head's last layer is zero at first, and lets no gradient through.
        torch.nn.init.normal_(head.tags.weight)
        before, bias = weights(nlp), head.tags.bias.detach().clone()
        nlp.update(data, sgd=Adam(0.01, L2=0.0, grad_clip=0.0))
        name = "layers.1.mlp.up_proj.weight"
        steps[scale] = float((weights(nlp)[name] - before[name]).abs().max())
        assert float((head.tags.bias.detach() - bias).abs().max()) == pytest.approx(0.01, rel=0.01)
    assert steps[1.0] == pytest.approx(0.01, rel=0.01)
    assert steps[0.01] == pytest.approx(0.0001, rel=0.01)


@pytest.mark.parametrize(
    "llm",
    [
        {"tuning": "full", "reading": "once"},
        {"tuning": "lora", "reading": "unmasked", "gradient_checkpointing": True},
        {"tuning": "lora", "reading": "twice", "mixed_precision": "bfloat16"},
        {"tuning": "lora", "reading": "once", "mixed_precision": "float16"},
    ],
)
def test_learns_in_every_mode(tiny_llm: Path, llm: dict):
    nlp = tuned(tiny_llm, head={"encoder": "none"}, learn_rate_scale=0.5, **llm)
    data = examples(nlp)
    nlp.initialize(lambda: data)
    losses = train(nlp, data, steps=40)
    assert losses[-1] < losses[0] / 5
    assert nlp.evaluate(data)["ents_f"] > 0.9


def test_use_averages_acts(lora: Language):
    optimizer = Adam(0.01, use_averages=True)
    for _ in range(3):
        lora.update(examples(lora), sgd=optimizer)
    now = weights(lora)
    with lora.get_pipe(NAME).model.use_params(optimizer.averages):
        assert not same(weights(lora), now)
    assert same(weights(lora), now)


def test_initialize_again_forgets(lora: Language):
    data = examples(lora)
    lora.initialize(lambda: data)
    assert all(not v.any() for k, v in weights(lora).items() if "lora_B" in k)
    assert not lora(TEXTS[0]).ents


def test_the_span_recogniser_can_tune_too(tiny_llm: Path):
    llm = {"@architectures": "spacy_llm2ner.TunedLLM.v1", "lora_rank": 4}
    nlp = spacy.blank("en")
    nlp.add_pipe("llm2ner", config=pipe_config(tiny_llm, llm=llm))
    data = examples(nlp)
    nlp.initialize(lambda: data)
    train(nlp, data, steps=1)
    before = {k: v.detach().clone() for k, v in shim_of(nlp, "llm2ner").reader.trained().items()}
    train(nlp, data, steps=40)
    assert nlp.evaluate(data)["ents_f"] == 1.0
    after = shim_of(nlp, "llm2ner").reader.trained()
    assert all(not torch.equal(after[key], before[key]) for key in before)


def test_two_components_tune_copies_of_their_own(tiny_llm: Path):
    nlp = tuned(tiny_llm)
    other = tuned(tiny_llm)
    for one in (nlp, other):
        data = examples(one)
        one.initialize(lambda data=data: data)
    train(nlp, examples(nlp), steps=2)
    assert not same(weights(nlp), weights(other))
    assert isinstance(shim_of(nlp).reader, TunedLLM)
    assert shim_of(nlp).reader.module is not shim_of(other).reader.module


@pytest.mark.parametrize("architecture", ["TunedLLM", "HFTokenClassifier"])
def test_a_learning_rate_of_nothing_is_refused(tiny_llm: Path, architecture: str):
    build = registry.architectures.get(f"spacy_llm2ner.{architecture}.v1")
    with pytest.raises(ValueError, match=r"learn_rate_scale.*FrozenLLM"):
        build(str(tiny_llm), learn_rate_scale=0.0)
