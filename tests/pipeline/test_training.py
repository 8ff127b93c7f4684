"""B. update, and the train loop: it learns, and every setting of [training] acts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import DocBin
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as train_loop
from thinc.api import Adam, Config

from tests.pipeline.sample import DATA, examples, found, llm_of, train, weights_of
from tests.tiny import make_nlp, pipe_config


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("decoding", ["all", "greedy", "flat", "nested"])
def test_learns_ten_sentences_by_heart(trained: Language, decoding: str):
    """And writes them, whatever the decoding (it does not take part in training)."""
    pipe = trained.get_pipe("llm2ner")
    pipe.settings["decoding"] = decoding
    scores = trained.evaluate(examples(trained))
    assert scores["ents_f"] == scores["spans_sc_f"] == 1.0


def test_loss_falls(trained_losses: list[float]):
    assert trained_losses[-1] < trained_losses[0] / 50


def test_learns_without_an_encoder(tiny_llm: Path):
    nlp = make_nlp(tiny_llm, head={"encoder": "none"})
    data = examples(nlp)
    nlp.initialize(lambda: data)
    train(nlp, data)
    assert nlp.evaluate(data)["ents_f"] > 0.9


def test_losses_accumulate_under_the_instances_name(tiny_llm: Path):
    nlp = spacy.blank("en")
    nlp.add_pipe("llm2ner", name="mine", config=pipe_config(tiny_llm))
    data = examples(nlp)
    nlp.initialize(lambda: data)
    losses: dict[str, float] = {}
    nlp.update(data, sgd=False, losses=losses)
    once = losses["mine"]
    nlp.update(data, sgd=False, losses=losses)
    assert list(losses) == ["mine"]
    assert losses["mine"] == pytest.approx(2 * once)


def test_without_sgd_only_gradients(untrained: Language):
    pipe = untrained.get_pipe("llm2ner")
    before = weights_of(pipe)
    for sgd in (None, False):
        pipe.update(examples(untrained), sgd=sgd)
    assert same(before, weights_of(pipe))
    pipe.finish_update(Adam(0.01))
    assert not same(before, weights_of(pipe))


def test_gradients_accumulate(tiny_llm: Path):
    """Two halves, one step = the whole, one step (the loss is a mean over texts)."""
    weights = []
    for batches in ([slice(0, 10)], [slice(0, 5), slice(5, 10)]):
        spacy.util.fix_random_seed(0)
        nlp = make_nlp(tiny_llm)
        data = examples(nlp)
        nlp.initialize(lambda data=data: data)
        pipe = nlp.get_pipe("llm2ner")
        for batch in batches:
            pipe.update(data[batch])
        # Adam's first step does not depend on the gradient's scale.
        pipe.finish_update(Adam(0.01, L2=0.0, grad_clip=0.0))
        weights.append(weights_of(pipe))
    for name, value in weights[0].items():
        np.testing.assert_allclose(value, weights[1][name], atol=2e-3)


def test_excluded_pipes_are_not_updated(untrained: Language):
    before = weights_of(untrained.get_pipe("llm2ner"))
    losses: dict[str, float] = {}
    untrained.update(examples(untrained), exclude=["llm2ner"], losses=losses, sgd=Adam(0.01))
    assert losses == {}
    assert same(before, weights_of(untrained.get_pipe("llm2ner")))


def test_the_llm_is_never_changed(untrained: Language):
    llm = llm_of(untrained.get_pipe("llm2ner"))
    before = {name: p.clone() for name, p in llm.model.model.named_parameters()}
    train(untrained, examples(untrained), steps=3, drop=0.2)
    for name, parameter in llm.model.model.named_parameters():
        assert not parameter.requires_grad
        assert parameter.grad is None
        assert bool((parameter == before[name]).all())


def test_dropout_of_update_acts(untrained: Language):
    data = examples(untrained)

    def losses(drop: float) -> list[float]:
        return [untrained.update(data, sgd=False, drop=drop)["llm2ner"] for _ in range(2)]

    # Before the first step the head's last layers are zero, and dropout has nothing to change.
    train(untrained, data, steps=3)
    once, again = losses(0.0)
    assert once == again
    once, again = losses(0.5)
    assert once != again


def test_a_fixed_dropout_is_used_instead(tiny_llm: Path):
    nlp = make_nlp(tiny_llm, head={"dropout": 0.0})
    data = examples(nlp)
    nlp.initialize(lambda: data)
    train(nlp, data, steps=3)
    first = nlp.update(data, sgd=False, drop=0.9)["llm2ner"]
    assert first == nlp.update(data, sgd=False, drop=0.9)["llm2ner"]


def test_dropout_does_not_act_when_predicting(untrained: Language):
    data = examples(untrained)
    train(untrained, data, steps=3, drop=0.9)
    docs = [example.predicted for example in data]
    pipe = untrained.get_pipe("llm2ner")
    for a, b in zip(pipe.model.predict(docs), pipe.model.predict(docs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_use_averages_acts(untrained: Language):
    """Thinc's own shim ignores averages of torch weights."""
    data = examples(untrained)
    optimizer = Adam(0.05, use_averages=True)
    for _ in range(10):
        untrained.update(data, sgd=optimizer)
    pipe = untrained.get_pipe("llm2ner")
    last = weights_of(pipe)
    with untrained.use_params(optimizer.averages):
        averaged = weights_of(pipe)
    assert not same(last, averaged)
    assert same(last, weights_of(pipe))


def test_gold_without_tokens_of_its_own(untrained: Language):
    data = [Example.from_dict(untrained.make_doc("  "), {"entities": []}), *examples(untrained)]
    losses = untrained.update(data, sgd=Adam(0.01))
    assert np.isfinite(losses["llm2ner"])


def test_resume_training_and_rehearse(trained: Language):
    """rehearse is a no-op, as for spancat; resume_training copies no LLM."""
    llm = llm_of(trained.get_pipe("llm2ner"))
    optimizer = trained.resume_training()
    assert llm_of(trained.get_pipe("llm2ner")) is llm
    assert not hasattr(trained.get_pipe("llm2ner"), "_rehearsal_model")
    before = weights_of(trained.get_pipe("llm2ner"))
    trained.rehearse(examples(trained), sgd=optimizer)
    assert same(before, weights_of(trained.get_pipe("llm2ner")))
    trained.update(examples(trained), sgd=optimizer)


# The train loop -----------------------------------------------------------------------------------


@pytest.fixture
def config(tiny_llm: Path, tmp_path: Path) -> Config:
    """A whole training config, on sample.DATA as train and dev corpus."""
    nlp = make_nlp(tiny_llm)
    path = tmp_path / "data.spacy"
    DocBin(docs=[example.reference for example in examples(nlp)]).to_disk(path)
    config = nlp.config.copy()
    config["paths"].update(train=str(path), dev=str(path))
    config["training"].update(max_steps=30, eval_frequency=10, dropout=0.0)
    config["training"]["logger"] = {"@loggers": "spacy.ConsoleLogger.v3", "console_output": False}
    config["training"]["batcher"] = {"@batchers": "spacy.batch_by_sequence.v1", "size": 10}
    config["training"]["optimizer"]["learn_rate"] = 0.01
    return config


def run(config: Config, output: Path | None = None) -> Language:
    nlp = init_nlp(config)
    if output is not None:
        output.mkdir()
    return train_loop(nlp, output)[0]


def test_train_loop(config: Config, tmp_path: Path):
    nlp = run(config, tmp_path / "out")
    best = spacy.load(tmp_path / "out" / "model-best")
    assert best.meta["performance"]["ents_f"] == 1.0
    assert best.meta["labels"]["llm2ner"] == ["LOC", "ORG", "PER"]
    assert found(best(DATA[0][0])) == found(nlp(DATA[0][0])) == DATA[0][1]
    size = sum(p.stat().st_size for p in (tmp_path / "out" / "model-best" / "llm2ner").iterdir())
    assert size < 150_000


def test_train_loop_with_accumulation_averages_and_dropout(config: Config, tmp_path: Path):
    config["training"].update(accumulate_gradient=2, dropout=0.2, max_steps=40)
    config["training"]["batcher"]["size"] = 5
    config["training"]["optimizer"]["use_averages"] = True
    run(config, tmp_path / "out")
    best = spacy.load(tmp_path / "out" / "model-best")
    assert best.meta["performance"]["ents_f"] > 0.5
    # What is stored is what was scored: the averaged weights.
    data = examples(best)
    assert best.evaluate(data)["ents_f"] == best.meta["performance"]["ents_f"]


def test_train_loop_with_two_heads(config: Config, tiny_llm: Path):
    """annotating_components and a second head on the first one's LLM."""
    second = pipe_config(tiny_llm, spans_key="second", head={"encoder": "none"}, annotate="spans")
    config["components"]["second"] = {"factory": "llm2ner", **second}
    config["nlp"]["pipeline"] = ["llm2ner", "second"]
    config["training"]["annotating_components"] = ["llm2ner"]
    config["training"]["max_steps"] = 10
    nlp = run(config)
    assert nlp.get_pipe("second").labels == ("LOC", "ORG", "PER")
    assert set(nlp(DATA[0][0]).spans) == {"sc", "second"}


@pytest.mark.filterwarnings("ignore:.*L2N-W12")  # both components write doc.spans["sc"]
def test_train_loop_with_a_frozen_sourced_component(config: Config, trained_folder: Path, tmp_path):
    config["components"]["old"] = {"source": str(trained_folder), "component": "llm2ner"}
    config["nlp"]["pipeline"] = ["old", "llm2ner"]
    config["training"].update(
        frozen_components=["old"], annotating_components=["old"], max_steps=10
    )
    before = spacy.load(trained_folder)
    nlp = run(config, tmp_path / "out")
    assert same(weights_of(before.get_pipe("llm2ner")), weights_of(nlp.get_pipe("old")))
    nlp = spacy.load(tmp_path / "out" / "model-last")
    assert nlp.pipe_names == ["old", "llm2ner"]
    assert found(nlp(DATA[0][0])) == DATA[0][1]
