"""Self-distillation: gold or a sure teacher, a fresh student, and the LLM reads nothing again."""

from __future__ import annotations

import numpy as np
import pytest
import spacy
from spacy.training import Example
from spacy.util import registry

from spacy_llm2ner.distillation.self_distillation import Teacher
from tests.pipeline.sample import examples, train
from tests.tiny import make_nlp


def callback(**settings):
    return registry.callbacks.get("spacy_llm2ner.SelfDistillation.v1")(**settings)


@pytest.fixture
def taught(trained):
    """A trained pipeline one epoch before and after its teacher came."""
    before = trained.get_pipe("llm2ner").model.get_ref("head").shims[0].to_bytes()
    step = callback(epoch=3, threshold=0.8)
    step(trained, {"step": 20, "epoch": 2})
    pipe = trained.get_pipe("llm2ner")
    assert pipe.target_hooks == []
    step(trained, {"step": 30, "epoch": 3})
    return trained, before, step


def test_the_teacher_is_what_the_head_was_and_the_head_starts_anew(taught):
    nlp, before, step = taught
    pipe = nlp.get_pipe("llm2ner")
    shim = pipe.model.get_ref("head").shims[0]
    assert pipe.target_hooks[0].model.layers[1].shims[0].to_bytes() == before
    assert shim.to_bytes() != before
    assert all(not list(doc.ents) for doc in nlp.pipe(eg.text for eg in examples(nlp)))
    statistics = dict(shim.module.named_buffers())
    for name, value in pipe.target_hooks[0].model.layers[1].shims[0].module.named_buffers():
        assert np.array_equal(value, statistics[name])
    (teacher,) = pipe.target_hooks
    step(nlp, {"step": 40, "epoch": 4})
    assert pipe.target_hooks == [teacher]  # once


def test_targets_are_gold_or_what_the_teacher_is_sure_of(taught):
    nlp, _, _ = taught
    pipe = nlp.get_pipe("llm2ner")
    docs = [eg.predicted for eg in examples(nlp)]
    bands = pipe.target_hooks[0].model.predict(docs)
    rng = np.random.default_rng(0)
    gold = [(rng.random(band.shape) < 0.05).astype(np.float32) for band in bands]
    targets = pipe.target_hooks[0](docs, gold)
    expected = [np.maximum(g, b > np.log(0.8 / 0.2)) for g, b in zip(gold, bands, strict=True)]
    for target, wanted in zip(targets, expected, strict=True):
        assert np.array_equal(target, wanted)
    added = sum(int(t.sum() - g.sum()) for t, g in zip(targets, gold, strict=True))
    assert added > 5


def test_the_student_learns_what_only_the_teacher_knows(taught):
    nlp, _, _ = taught
    shim = nlp.get_pipe("llm2ner").model.get_ref("llm").shims[0]
    read = shim.llm.texts_read
    unlabelled = []
    for example in examples(nlp):
        doc = example.reference.copy()
        doc.set_ents([], default="outside")
        unlabelled.append(Example(example.predicted, doc))
    train(nlp, unlabelled)
    assert nlp.evaluate(examples(nlp))["ents_f"] > 0.9
    assert shim.llm.texts_read == read


def test_spacy_train_runs_it(tiny_llm, tmp_path):
    """As a setting of [training], through spaCy's own loop."""
    from spacy.tokens import DocBin
    from spacy.training.initialize import init_nlp
    from spacy.training.loop import train as train_loop

    nlp = make_nlp(tiny_llm)
    path = tmp_path / "data.spacy"
    DocBin(docs=[eg.reference for eg in examples(nlp)]).to_disk(path)
    config = spacy.util.load_config(_filled(nlp))
    for key, value in {
        "paths.train": str(path),
        "paths.dev": str(path),
        "training.max_epochs": 3,
        "training.before_update": {
            "@callbacks": "spacy_llm2ner.SelfDistillation.v1",
            "epoch": 1,
        },
    }.items():
        section, name = key.split(".")
        config[section][name] = value
    nlp = init_nlp(config.interpolate())
    train_loop(nlp)
    assert isinstance(nlp.get_pipe("llm2ner").target_hooks[0], Teacher)


def _filled(nlp):
    import tempfile
    from pathlib import Path

    config = nlp.config.copy()
    config["corpora"] = {
        split: {"@readers": "spacy.Corpus.v1", "path": f"${{paths.{split}}}", "max_length": 0}
        for split in ("train", "dev")
    }
    path = Path(tempfile.mkdtemp()) / "config.cfg"
    config.to_disk(path)
    return path


@pytest.mark.parametrize("settings", [{"epoch": 0}, {"threshold": 0.0}, {"threshold": 1.0}])
def test_settings_out_of_range_are_named(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        callback(**settings)


def test_a_component_that_is_not_there_is_a_clear_error(trained):
    with pytest.raises(ValueError, match="names the component 'ner'"):
        callback(component="ner", epoch=1)(trained, {"step": 0, "epoch": 1})
