"""G. On the level of the pipeline: adding, sourcing, disabling, streams, processes, errors."""

from __future__ import annotations

import copy
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import ignore_error, logger, raise_error
from spacy.vocab import Vocab

from spacy_llm2ner.llm import frozen
from spacy_llm2ner.llm.recent import RecentStates
from tests.pipeline.sample import DATA, examples, found, llm_of, train
from tests.tiny import make_nlp, pipe_config, save_tiny_llama

TEXTS = [text for text, _ in DATA]


def test_pipe_equals_call(trained: Language):
    one_by_one = [trained(text) for text in TEXTS]
    for batch_size in (1, 3, 100):
        together = list(trained.pipe(TEXTS, batch_size=batch_size))
        assert [doc.text for doc in together] == TEXTS
        for a, b in zip(one_by_one, together, strict=True):
            assert found(a) == found(b)
            scores = [doc.spans["sc"].attrs["scores"] for doc in (a, b)]
            np.testing.assert_allclose(*scores, atol=1e-4)


def test_pipe_within_a_budget_of_tokens(trained: Language, monkeypatch):
    from spacy_llm2ner.pipeline import span_recognizer

    expected = [found(doc) for doc in trained.pipe(TEXTS)]
    monkeypatch.setattr(span_recognizer, "PREDICT_TOKENS", 9)
    assert [found(doc) for doc in trained.pipe(TEXTS)] == expected


@pytest.mark.parametrize(("batch_size", "most"), [(1, 1), (2, 16), (1000, 23)])
def test_an_endless_stream_yields_docs_steadily(
    trained: Language, monkeypatch, batch_size: int, most: int
):
    llm = llm_of(trained.get_pipe("llm2ner"))
    monkeypatch.setattr(llm, "tokens_ahead", lambda: 200)  # each text has 9 tokens
    read = 0

    def stream():
        nonlocal read
        while True:
            read += 1
            yield f"Text {read} is one of many texts here."

    docs = trained.pipe(stream(), batch_size=batch_size)
    ahead = [read - number for number, _ in zip(range(50), docs, strict=False)]
    assert max(ahead) <= most


def test_as_tuples(trained: Language):
    pairs = list(trained.pipe(zip(TEXTS, range(10), strict=True), as_tuples=True))
    assert [context for _, context in pairs] == list(range(10))
    assert found(pairs[0][0]) == DATA[0][1]


def test_two_processes(trained: Language):
    """Forked workers must not wait for the parent's torch threads."""
    trained(TEXTS[0])  # the LLM is in memory and has run
    docs = list(trained.pipe(TEXTS, n_process=2, batch_size=3))
    assert [found(doc) for doc in docs] == [found(trained(text)) for text in TEXTS]
    assert all("scores" in doc.spans["sc"].attrs for doc in docs)


def test_two_processes_after_torch_ran_with_several_threads(trained_folder: Path):
    """Such a fork hangs unless the package tells torch otherwise. Run where it can be ended."""
    code = f"""
import spacy, torch
torch.set_num_threads(4)
nlp = spacy.load({str(trained_folder)!r})
nlp("Ada Lovelace met Charles Babbage. " * 20)
docs = nlp.pipe(["Ada Lovelace met Charles Babbage."] * 6, n_process=2, batch_size=2)
print([len(doc.ents) for doc in docs])
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == str([2] * 6)
    assert "huggingface/tokenizers" not in done.stderr  # its warning about forks


def test_two_processes_without_an_llm_in_the_parent(trained_folder: Path, tmp_path: Path):
    """With a warm store only the head runs in the parent, and its torch threads count as well."""
    text = "Ada Lovelace met Charles Babbage. " * 30
    config = {
        "components.llm2ner.model.llm.dtype": "float32",  # in both processes
        "components.llm2ner.model.llm.store": {
            "@misc": "spacy_llm2ner.StateStore.v1",
            "path": str(tmp_path / "states"),
            "serve": True,
        },
    }
    nlp = spacy.load(trained_folder, config=config)
    nlp(text)  # warms the store
    nlp.get_pipe("llm2ner").model.get_ref("llm").shims[0].llm.store.close()
    code = f"""
import spacy, torch
torch.set_num_threads(2)
nlp = spacy.load({str(trained_folder)!r}, config={config!r})
shim = nlp.get_pipe("llm2ner").model.get_ref("llm").shims[0]
list(nlp.pipe([{text!r}] * 4))
loaded = shim.llm.is_loaded
docs = list(nlp.pipe([{text!r}] * 6, n_process=2, batch_size=2))
print(loaded, [doc.has_annotation("ENT_IOB") for doc in docs])
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == f"False {[True] * 6}"


def test_memory_zone(trained: Language):
    with trained.memory_zone():
        assert found(trained(TEXTS[0])) == DATA[0][1]
        for text in ("Nevermetbefore came to Wheresoever.", TEXTS[1]):
            trained(text)
    with trained.memory_zone():
        assert found(trained(TEXTS[1])) == DATA[1][1]
    assert found(trained(TEXTS[0])) == DATA[0][1]
    assert trained.get_pipe("llm2ner").labels == ("LOC", "ORG", "PER")


# Changing the pipeline ----------------------------------------------------------------------------


def test_disable_and_enable(trained: Language):
    with trained.select_pipes(disable=["llm2ner"]):
        assert not trained(TEXTS[0]).has_annotation("ENT_IOB")
    trained.disable_pipe("llm2ner")
    assert "sc" not in trained(TEXTS[0]).spans
    trained.enable_pipe("llm2ner")
    assert found(trained(TEXTS[0])) == DATA[0][1]


def test_load_with_disable_and_exclude(trained_folder: Path):
    nlp = spacy.load(trained_folder, disable=["llm2ner"])
    assert nlp.disabled == ["llm2ner"]
    nlp.enable_pipe("llm2ner")
    assert found(nlp(TEXTS[0])) == DATA[0][1]
    assert spacy.load(trained_folder, exclude=["llm2ner"]).pipe_names == []


def test_rename(trained: Language, tmp_path: Path):
    trained.rename_pipe("llm2ner", "ner")
    assert found(trained(TEXTS[0])) == DATA[0][1]
    trained.to_disk(tmp_path / "model")
    assert found(spacy.load(tmp_path / "model")(TEXTS[0])) == DATA[0][1]


def test_replace(trained: Language, tiny_llm: Path):
    new = trained.replace_pipe("llm2ner", "llm2ner", config=pipe_config(tiny_llm, threshold=0.9))
    assert trained.get_pipe("llm2ner") is new
    assert new.labels == ()
    trained.initialize(lambda: examples(trained))
    assert not trained(TEXTS[0]).ents


def test_remove(trained: Language):
    trained.remove_pipe("llm2ner")
    assert not trained(TEXTS[0]).ents


def test_source(trained: Language, tmp_path: Path):
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("llm2ner", source=trained, name="mine")
    assert found(nlp(TEXTS[0])) == DATA[0][1]
    assert nlp(TEXTS[0]).ents[0].label_ in nlp.vocab.strings
    nlp.to_disk(tmp_path / "model")
    assert found(spacy.load(tmp_path / "model")(TEXTS[0])) == DATA[0][1]


def test_source_into_a_training_as_frozen(trained: Language, tiny_llm: Path):
    nlp = spacy.blank("en")
    nlp.add_pipe("llm2ner", source=trained, name="old")
    nlp.add_pipe("llm2ner", name="new", config=pipe_config(tiny_llm, spans_key="new"))
    data = examples(nlp)
    with nlp.select_pipes(enable=["new"]):
        nlp.initialize(lambda: data)
        train(nlp, data, steps=2)
    assert found(nlp(TEXTS[0])) == DATA[0][1]


def test_annotating_component(trained: Language):
    seen = []

    @Language.component("llm2ner_test_watcher")
    def watcher(doc: Doc) -> Doc:
        seen.append(found(doc))
        return doc

    trained.add_pipe("llm2ner_test_watcher", last=True)
    data = examples(trained)[:1]
    trained.update(
        data, sgd=False, exclude=["llm2ner"], annotates=["llm2ner", "llm2ner_test_watcher"]
    )
    assert seen == [DATA[0][1]]
    assert not data[0].predicted.ents  # the train loop works on copies


def test_vocab_is_shared(trained: Language):
    assert trained.get_pipe("llm2ner").vocab is trained.vocab
    assert isinstance(trained.vocab, Vocab)


# One LLM for all ----------------------------------------------------------------------------------


def test_two_heads_share_one_llm_and_one_pass(tmp_path: Path):
    folder = save_tiny_llama(tmp_path / "llm", seed=21)
    nlp = spacy.blank("en")
    nlp.add_pipe("llm2ner", name="one", config=pipe_config(folder))
    head = {"encoder": "none", "hidden_width": 16}
    nlp.add_pipe("llm2ner", name="two", config=pipe_config(folder, head=head, spans_key="two"))
    data = examples(nlp)
    nlp.initialize(lambda: data)
    one, two = (llm_of(nlp.get_pipe(name)) for name in ("one", "two"))
    # In training the texts are remembered, whichever head asks first.
    assert one.texts_read + two.texts_read == len(TEXTS)
    assert one.model is two.model

    nlp = copy.deepcopy(nlp)
    one, two = (llm_of(nlp.get_pipe(name)) for name in ("one", "two"))
    for llm in (one, two):
        llm.remember(False)
        assert not llm.remembering
    before = one.texts_read + two.texts_read
    fresh = [f"Text {i} for one pass of two heads." for i in range(5)]
    list(nlp.pipe(fresh))
    assert one.texts_read + two.texts_read - before == len(fresh)


@pytest.mark.parametrize("heads", [2, 3])
def test_heads_share_one_pass_over_a_batch_larger_than_the_memory(
    trained_folder: Path, monkeypatch: pytest.MonkeyPatch, heads: int
):
    nlp = spacy.blank("en")
    for i in range(heads):
        nlp.add_pipe("llm2ner", source=spacy.load(trained_folder), name=f"head{i}")
    llms = [llm_of(nlp.get_pipe(name)) for name in nlp.pipe_names]
    texts = [f"Text {i} is for one pass of all heads." for i in range(60)]
    # The memory holds about 10 of them.
    tokens = sum(len(nlp.make_doc(text)) for text in texts[:10])
    small = RecentStates(ram_mb=2 * len(llms[0].layers) * llms[0].width * tokens / 2**20)
    monkeypatch.setattr(frozen, "_recent", small)
    before = [llm.texts_read for llm in llms]
    docs = list(nlp.pipe(texts, batch_size=50))
    assert [doc.text for doc in docs] == texts
    read = [llm.texts_read - n for llm, n in zip(llms, before, strict=True)]
    assert read == [60] + [0] * (heads - 1)


def test_loaded_pipelines_share_one_llm(trained_folder: Path):
    first, second = spacy.load(trained_folder), spacy.load(trained_folder)
    first(TEXTS[0]), second(TEXTS[0])
    first, second = (llm_of(nlp.get_pipe("llm2ner")) for nlp in (first, second))
    assert first is not second
    assert first.model is second.model


def test_a_served_pipeline_does_not_remember_for_training(trained: Language):
    before = len(frozen._training)
    trained("Something that is only served.")
    assert not llm_of(trained.get_pipe("llm2ner")).remembering
    assert len(frozen._training) == before


# Errors -------------------------------------------------------------------------------------------


@pytest.fixture
def fragile(trained: Language, monkeypatch) -> Language:
    """A pipeline whose LLM cannot read texts with "poison" in them."""
    llm = llm_of(trained.get_pipe("llm2ner"))
    read = llm.states

    def states(docs):
        if any("poison" in doc.text for doc in docs):
            raise ValueError("no poison, please")
        return read(docs)

    monkeypatch.setattr(llm, "states", states)
    return trained


MIXED = [TEXTS[0], "Here is poison.", TEXTS[1]]


def test_errors_are_raised(fragile: Language):
    fragile.set_error_handler(raise_error)
    with pytest.raises(ValueError, match="no poison"):
        list(fragile.pipe(MIXED))
    with pytest.raises(ValueError, match="no poison"):
        fragile("Here is poison.")


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_errors_can_be_ignored(fragile: Language, batch_size: int):
    """The docs that are read together with a failing one are not lost."""
    fragile.set_error_handler(ignore_error)
    docs = list(fragile.pipe(MIXED, batch_size=batch_size))
    assert [doc.text for doc in docs] == [TEXTS[0], TEXTS[1]]
    assert [found(doc) for doc in docs] == [found(fragile(text)) for text in TEXTS[:2]]


def test_docs_whose_annotation_fails_are_left_out(trained: Language, monkeypatch):
    pipe = trained.get_pipe("llm2ner")
    write, failed = pipe.set_annotations, []

    def set_annotations(docs, predictions):
        if docs[0].text == TEXTS[1]:
            raise ValueError("cannot be written")
        write(docs, predictions)

    monkeypatch.setattr(pipe, "set_annotations", set_annotations)
    pipe.set_error_handler(lambda name, proc, docs, error: failed.extend(docs))
    assert [doc.text for doc in trained.pipe(TEXTS[:3])] == [TEXTS[0], TEXTS[2]]
    assert [doc.text for doc in failed] == [TEXTS[1]]


def test_error_handler_is_told_what_failed(fragile: Language, caplog):
    def handle(name, proc, docs, error):
        logger.warning("%s could not do %d docs: %s", name, len(docs), error)

    fragile.get_pipe("llm2ner").set_error_handler(handle)
    with caplog.at_level(logging.WARNING, logger="spacy"):
        docs = list(fragile.pipe(MIXED))
    assert len(docs) == 2
    assert "llm2ner could not do 1 docs: no poison, please" in caplog.text


def test_errors_in_two_processes(fragile: Language):
    fragile.set_error_handler(ignore_error)
    docs = list(fragile.pipe(MIXED, batch_size=1, n_process=2))
    assert [doc.text for doc in docs] == [TEXTS[0], TEXTS[1]]


def test_pipeline_with_vectors(tiny_llm: Path):
    """`init vectors` is not for us, but must not be in the way."""
    nlp = make_nlp(tiny_llm)
    nlp.vocab.set_vector("Ada", np.ones(8, dtype="f"))
    data = examples(nlp)
    nlp.initialize(lambda: data)
    train(nlp, data, steps=2)
    assert nlp.vocab.get_vector("Ada").shape == (8,)
