"""B. initialize: labels, data, errors, warnings."""

from __future__ import annotations

import logging
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from spacy.training.initialize import init_nlp

from tests.pipeline.sample import (
    DATA,
    ents_example,
    examples,
    found,
    llm_of,
    nested_examples,
    spans_example,
    train,
    weights_of,
)
from tests.tiny import make_nlp, pipe_config


def width_of(nlp: Language) -> int:
    return nlp.get_pipe("llm2ner").model.get_ref("head").shims[0].sizes["max_span_tokens"]


def test_labels_from_data(untrained: Language):
    pipe = untrained.get_pipe("llm2ner")
    assert pipe.labels == ("LOC", "ORG", "PER")
    assert pipe.model.get_dim("nO") == 3


def test_labels_from_span_groups(fresh: Language):
    with pytest.warns(UserWarning, match=r"\[L2N-W19\] llm2ner: 3 of 6 gold spans .*'nested'"):
        fresh.initialize(lambda: nested_examples(fresh))
    assert fresh.get_pipe("llm2ner").labels == ("LOC", "ORG")


def test_group_wins_over_ents(fresh: Language):
    example = ents_example(fresh, *DATA[0])
    example.reference.spans["sc"] = [Span(example.reference, 0, 1, label="GROUP")]
    fresh.initialize(lambda: [example])
    assert fresh.get_pipe("llm2ner").labels == ("GROUP",)


def test_another_groups_labels_are_not_ours(tiny_llm: Path):
    nlp = make_nlp(tiny_llm, spans_key="mine")
    data = [*nested_examples(nlp, "other"), spans_example(nlp, "Ada", [("Ada", "PER")], "mine")]
    nlp.initialize(lambda: data)
    assert nlp.get_pipe("llm2ner").labels == ("PER",)


def test_explicit_labels(fresh: Language):
    pipe = fresh.get_pipe("llm2ner")
    for label in ("PER", "LOC", "ORG", "EXTRA"):
        pipe.add_label(label)
    data = examples(fresh)
    fresh.initialize(lambda: data)
    assert pipe.labels == ("PER", "LOC", "ORG", "EXTRA")
    train(fresh, data)
    assert found(fresh(DATA[0][0])) == DATA[0][1]


def test_given_labels_are_taken_as_they_are(fresh: Language):
    pipe = fresh.get_pipe("llm2ner")
    given = ["PER", "EXTRA", "ORG", "LOC"]
    pipe.initialize(lambda: examples(fresh), nlp=fresh, labels=given)
    assert pipe.labels == tuple(given)


def test_given_labels_must_cover_the_data(fresh: Language):
    pipe = fresh.get_pipe("llm2ner")
    with pytest.raises(ValueError, match=r"spans labelled LOC, ORG, but .* are PER, EXTRA"):
        pipe.initialize(lambda: examples(fresh), nlp=fresh, labels=["PER", "EXTRA"])
    assert not llm_of(pipe).is_loaded


def test_thresholds_of_unknown_labels_are_reported(tiny_llm: Path, tmp_path: Path):
    nlp = make_nlp(tiny_llm, threshold={"PER": 0.4, "PERSON": 0.9})
    with pytest.warns(UserWarning, match=r"\[L2N-W06\] llm2ner: .* names PERSON, but") as caught:
        nlp.initialize(lambda: examples(nlp))
        nlp("Ada met Babbage.")
    assert len(caught) == 1
    nlp.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    with pytest.warns(UserWarning, match=r"\[L2N-W06\]"):
        loaded("Ada met Babbage.")


def test_gold_at_tokens_without_a_state_is_reported(tiny_llm: Path, tmp_path: Path):
    """As a BERT tokenizer does, this one drops some characters."""
    llm = shutil.copytree(tiny_llm, tmp_path / "llm")
    tokenizer = srsly.read_json(llm / "tokenizer.json")
    dropped = {"type": "Replace", "pattern": {"String": "※"}, "content": ""}
    srsly.write_json(llm / "tokenizer.json", {**tokenizer, "normalizer": dropped})
    nlp = make_nlp(llm)
    words = ["Ada", "※", "met", "Babbage"]
    gold = Doc(nlp.vocab, words=words, ents=["B-PER", "I-PER", "O", "B-PER"])
    data = [Example(Doc(nlp.vocab, words=words), gold)]
    with pytest.warns(UserWarning, match=r"\[L2N-W05\] llm2ner: 1 of 2 gold spans"):
        nlp.initialize(lambda: data)


def test_equal_texts_count_once_in_the_log(fresh: Language, caplog: pytest.LogCaptureFixture):
    data = [ents_example(fresh, "Ada saw the log.", [("Ada", "PER")]) for _ in range(3)]
    logger = logging.getLogger("spacy")
    logger.addHandler(caplog.handler)
    try:
        fresh.initialize(lambda: data)
        fresh("Babbage saw nothing of it.")
        llm_of(fresh.get_pipe("llm2ner")).seconds -= 100  # no line for a moment of reading
        fresh("Nor did London.")
    finally:
        logger.removeHandler(caplog.handler)
    first, last = dict.fromkeys(caplog.messages)
    assert re.search(r"of 1 texts the LLM read 1 in \d+ s; 0 were remembered$", first)
    assert "state store in RAM" in last


def test_labels_from_a_file(tiny_llm: Path, tmp_path: Path):
    srsly.write_json(tmp_path / "llm2ner.json", ["X", "PER", "LOC", "ORG"])
    nlp = make_nlp(tiny_llm)
    nlp.config["initialize"]["components"]["llm2ner"] = {
        "labels": {
            "@readers": "spacy.read_labels.v1",
            "path": str(tmp_path / "llm2ner.json"),
            "require": True,
        }
    }
    nlp.initialize(lambda: examples(nlp))
    assert nlp.get_pipe("llm2ner").labels == ("X", "PER", "LOC", "ORG")


def test_unknown_setting_of_initialize_is_refused(fresh: Language):
    fresh.config["initialize"]["components"]["llm2ner"] = {"lables": ["PER"]}
    with pytest.raises(ValueError, match="lables"):
        fresh.initialize(lambda: examples(fresh))


def test_without_data(fresh: Language):
    fresh.get_pipe("llm2ner").add_label("PER")
    fresh.initialize()
    doc = fresh("Ada met Babbage.")
    assert not doc.ents
    assert list(doc.spans) == ["sc"]


def test_without_data_it_can_be_trained(fresh: Language):
    for label in ("PER", "LOC", "ORG"):
        fresh.get_pipe("llm2ner").add_label(label)
    fresh.initialize()
    train(fresh, examples(fresh))
    assert found(fresh(DATA[0][0])) == DATA[0][1]


@pytest.mark.parametrize("with_data", [False, True])
def test_without_labels(fresh: Language, with_data: bool):
    data = [ents_example(fresh, "Nobody said why.", [])]
    with pytest.raises(ValueError, match="E143"):
        fresh.initialize((lambda: data) if with_data else None)
    # Nobody waits for an LLM to be told this.
    assert not llm_of(fresh.get_pipe("llm2ner")).is_loaded


def test_get_examples_errors(fresh: Language):
    data = examples(fresh)
    pipe = fresh.get_pipe("llm2ner")
    pipe.add_label("PER")
    for wrong in (lambda: None, lambda: data[0], lambda: [], data):
        with pytest.raises(TypeError):
            fresh.initialize(wrong)
        with pytest.raises(TypeError):
            pipe.initialize(wrong, nlp=fresh)
    with pytest.raises(TypeError):
        pipe.initialize(None)
    fresh.initialize(lambda: data)


def test_twice(fresh: Language):
    pipe = fresh.get_pipe("llm2ner")
    fresh.initialize(lambda: examples(fresh))
    data = [*examples(fresh), ents_example(fresh, "All of it, all of it!", [("All of it", "ALL")])]
    fresh.initialize(lambda: data)
    assert pipe.labels == ("LOC", "ORG", "PER", "ALL")
    train(fresh, data, steps=60)
    assert found(fresh(DATA[0][0])) == DATA[0][1]


def test_again_after_training_starts_afresh(trained: Language):
    assert found(trained(DATA[0][0]))
    trained.initialize(lambda: examples(trained))
    assert not trained(DATA[0][0]).ents


def test_same_seed_same_weights(tiny_llm: Path):
    weights = []
    for _ in range(2):
        spacy.util.fix_random_seed(7)
        nlp = make_nlp(tiny_llm)
        nlp.initialize(lambda nlp=nlp: examples(nlp))
        weights.append(weights_of(nlp.get_pipe("llm2ner")))
    for name, value in weights[0].items():
        np.testing.assert_array_equal(value, weights[1][name])


def test_a_stream_of_which_100_examples_are_seen(tiny_llm: Path, tmp_path: Path):
    """With max_epochs = -1, spaCy shows 100 examples: later labels come from [initialize]."""
    nlp = make_nlp(tiny_llm)
    docs = [ents_example(nlp, *DATA[1]).reference for _ in range(100)]
    docs.append(ents_example(nlp, *DATA[4]).reference)
    DocBin(docs=docs).to_disk(tmp_path / "train.spacy")
    config = nlp.config.copy()
    config["paths"].update(train=str(tmp_path / "train.spacy"), dev=str(tmp_path / "train.spacy"))
    config["training"]["max_epochs"] = -1
    assert init_nlp(config).get_pipe("llm2ner").labels == ("LOC",)
    srsly.write_json(tmp_path / "labels.json", ["LOC", "PER", "ORG"])
    config["initialize"]["components"]["llm2ner"] = {
        "labels": {"@readers": "spacy.read_labels.v1", "path": str(tmp_path / "labels.json")}
    }
    nlp = init_nlp(config)
    assert nlp.get_pipe("llm2ner").labels == ("LOC", "PER", "ORG")
    losses = nlp.update([ents_example(nlp, *DATA[4])], sgd=False)
    assert losses["llm2ner"] > 0


def test_width_covers_the_training_data(untrained: Language):
    assert width_of(untrained) == 4  # Bank of New Zealand


def test_width_is_capped_and_long_spans_are_reported(fresh: Language):
    text = " ".join(f"w{i}" for i in range(40))
    data = [ents_example(fresh, text, [(text[: text.index(" w35")], "LONG")])]
    with pytest.warns(UserWarning, match=r"\[L2N-W01\] llm2ner: 1 of 1 gold spans .* 30 tokens"):
        fresh.initialize(lambda: data)
    assert width_of(fresh) == 30


def test_fixed_width_reports_what_is_longer(tiny_llm: Path):
    nlp = make_nlp(tiny_llm, head={"max_span_tokens": 1})
    with pytest.warns(UserWarning, match=r"\[L2N-W01\].*\(the longest has 4\)") as caught:
        nlp.initialize(lambda: examples(nlp))
    assert len(caught) == 1
    assert width_of(nlp) == 1
    losses = train(nlp, examples(nlp), steps=3)
    assert np.isfinite(losses).all()


def mismatched(nlp: Language) -> list[Example]:
    """Gold on other tokens: one span that the pipeline's tokens can show, and one they cannot."""
    predicted = Doc(nlp.vocab, words=["Ada", "Lovelace-met", "Babbage"])
    reference = Doc(
        nlp.vocab,
        words=["Ada", "Lovelace", "-", "met", "Bab", "bage"],
        spaces=[True, False, False, True, False, False],
        ents=["B-PER", "I-PER", "O", "O", "B-PER", "I-PER"],
    )
    return [Example(predicted, reference)]


def test_gold_on_other_tokens_is_counted_and_reported(fresh: Language):
    with pytest.warns(UserWarning, match=r"\[L2N-W02\] llm2ner: 1 of 2 gold spans"):
        fresh.initialize(lambda: mismatched(fresh))
    train(fresh, mismatched(fresh))
    doc = fresh.get_pipe("llm2ner")(mismatched(fresh)[0].predicted)
    assert found(doc) == [("Babbage", "PER")]


@pytest.mark.parametrize("blank", ["\n", "\u200c", "\u00ad\ufe0f"])
def test_gold_with_a_blank_token_at_its_edge_is_counted_and_reported(blank: str, fresh: Language):
    doc = fresh.make_doc(f"Ada {blank} met Babbage.")
    assert doc[1].text.strip(" ") == blank
    doc.spans["sc"] = [Span(doc, 0, 2, label="PER"), Span(doc, 3, 4, label="PER")]
    data = [Example(fresh.make_doc(doc.text), doc)]
    with pytest.warns(UserWarning, match=r"\[L2N-W02\] .* 1 of 2 gold spans .* white space"):
        fresh.initialize(lambda: data)


def test_warnings_can_be_filtered_by_code(fresh: Language):
    from spacy.errors import filter_warning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        filter_warning("ignore", error_msg="[L2N-W02]")
        fresh.initialize(lambda: mismatched(fresh))
    assert not caught


def corpora(tmp_path: Path, nlp: Language) -> dict[str, str]:
    path = tmp_path / "data.spacy"
    DocBin(docs=[example.reference for example in examples(nlp)]).to_disk(path)
    return {"train": str(path), "dev": str(path)}


@pytest.mark.parametrize(
    ("settings", "weights", "warns"),
    [
        ({"annotate": "spans"}, None, True),
        ({"annotate": "spans", "spans_key": "x"}, {"spans_sc_f": 1.0, "ents_f": 0.0}, True),
        ({"annotate": "ents"}, {"spans_sc_f": 1.0, "ents_f": None}, True),
        ({"annotate": "both"}, None, False),
        ({"annotate": "ents"}, None, False),
        ({"annotate": "spans"}, {"spans_sc_f": 1.0}, False),
        ({"annotate": "spans", "spans_key": "x"}, {"spans_x_r": 1.0, "ents_f": 0.0}, False),
    ],
)
def test_score_weights_that_nobody_scores(tiny_llm, tmp_path, settings, weights, warns):
    """spaCy#13090: `spacy train` drops such keys silently and all checkpoints tie."""
    nlp = make_nlp(tiny_llm, **settings)
    nlp.config["paths"].update(corpora(tmp_path, nlp))
    if weights is not None:
        nlp.config["training"]["score_weights"].update(weights)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        nlp.initialize(lambda: examples(nlp))
    messages = [str(w.message) for w in caught if "L2N-W04" in str(w.message)]
    assert len(messages) == warns
    if warns:
        spans = f"spans_{settings.get('spans_key', 'sc')}_f"
        own = "ents_f" if settings["annotate"] == "ents" else spans
        assert f"add {own} = 1.0" in messages[0]


def test_score_weights_of_another_component_count(tiny_llm: Path, tmp_path: Path):
    nlp = make_nlp(tiny_llm, annotate="spans")
    nlp.add_pipe("entity_ruler")
    nlp.config["paths"].update(corpora(tmp_path, nlp))
    nlp.initialize(lambda: examples(nlp))  # ents_f is the ruler's: no warning


def test_without_a_dev_corpus_weights_do_not_matter(tiny_llm: Path):
    nlp = make_nlp(tiny_llm, annotate="spans")
    nlp.initialize(lambda: examples(nlp))  # pyproject makes a warning an error


def test_initialize_reads_each_text_once(tiny_llm: Path):
    nlp = spacy.blank("en")
    nlp.add_pipe("llm2ner", config=pipe_config(tiny_llm, llm={"layers": [2]}))
    data = examples(nlp)
    nlp.initialize(lambda: data)
    llm = llm_of(nlp.get_pipe("llm2ner"))
    assert llm.texts_read == len(DATA)
    train(nlp, data, steps=3)
    nlp.evaluate(data)
    assert llm.texts_read == len(DATA)
