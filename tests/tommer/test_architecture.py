"""ToMMeR heads in a pipeline: published ones against transformers and the formula; trained ones."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc
from transformers import AutoModelForCausalLM, AutoTokenizer

from spacy_llm2ner.heads import MASKED, TokenMatching
from spacy_llm2ner.tommer.shims import shims_of
from tests.pipeline.sample import examples, train
from tests.tiny import TEXTS
from tests.tommer.test_token_matching import PUBLISHED, dense

LAYER = 1
# None of their pieces touches two tokens, which makes the oracle simple.
PLAIN_TEXTS = TEXTS[:3]


def tommer_config(llm: Path | str, *, llm_settings: dict | None = None, **settings) -> dict:
    return {
        "@architectures": "spacy_llm2ner.ToMMeR.v1",
        "llm": {
            "@architectures": "spacy_llm2ner.FrozenLLM.v1",
            "name": str(llm),
            **(llm_settings or {}),
        },
        **settings,
    }


def make(llm: Path | str, *, pipe: dict | None = None, **settings) -> Language:
    nlp = spacy.blank("en")
    nlp.add_pipe("llm2ner", config={"model": tommer_config(llm, **settings), **(pipe or {})})
    return nlp


@pytest.fixture(scope="module")
def published(tiny_llm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published head for the tiny LLM, which finds something."""
    torch.manual_seed(0)
    head = TokenMatching(width=32, rank=6, sliding_window=7)
    with torch.no_grad():
        head.W_Q.normal_()
        head.W_K.normal_()
        head.theta.copy_(torch.tensor([[6.0, 5.0, -3.0, 0.5, 0.7]]))
        head.probe.normal_().mul_(0.02)
        head.bias.fill_(-0.5)
    folder = tmp_path_factory.mktemp("published")
    head.save_tommer(folder, llm_name=str(tiny_llm), layer=LAYER)
    return folder


def reference(folder: Path, llm: Path, text: str) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    """Logits [end, start] of the published head by transformers alone, and the pieces' offsets."""
    tokenizer = AutoTokenizer.from_pretrained(llm)
    model = AutoModelForCausalLM.from_pretrained(llm)
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    ids = torch.tensor([[tokenizer.bos_token_id, *encoded["input_ids"]]])
    with torch.no_grad():
        states = model(ids, output_hidden_states=True).hidden_states[LAYER + 1][0]
    # The first row and column are the special piece's.
    square = dense(TokenMatching.from_tommer(folder), states)[1:, 1:]
    offsets = []
    for a, b in encoded["offset_mapping"]:
        while a < b and text[a].isspace():
            a += 1
        offsets.append((a, b))
    return square, offsets


@pytest.mark.parametrize("cut_spans", ["drop", "widen"])
def test_a_published_head_scores_tokens_as_the_formula_scores_their_pieces(
    published, tiny_llm, cut_spans
):
    nlp = make(tiny_llm, source=str(published), cut_spans=cut_spans)
    model = nlp.get_pipe("llm2ner").model
    compared = widened = 0
    for text in PLAIN_TEXTS:
        doc = nlp.make_doc(text)
        (band,) = model.predict([doc])
        square, offsets = reference(published, tiny_llm, text)
        touching = [
            [p for p, (a, b) in enumerate(offsets) if a < t.idx + len(t) and b > t.idx] for t in doc
        ]
        best: dict[tuple[int, int], float] = {}  # of each token span, over all its piece spans
        for end in range(len(offsets)):
            for start in range(end + 1):
                covered = [
                    t for t, pieces in enumerate(touching) if {*pieces} & {*range(start, end + 1)}
                ]
                if not square[end, start].isnan() and covered:
                    span = (covered[0], covered[-1])
                    best[span] = max(best.get(span, -np.inf), float(square[end, start]))
        for a in range(len(doc)):
            for b in range(a, len(doc)):
                exact = float(square[touching[b][-1], touching[a][0]])
                found = float(band[a, b - a, 0]) if b - a < band.shape[1] else MASKED
                if np.isnan(exact):
                    assert found == MASKED
                    continue
                compared += 1
                widened += best[a, b] > exact + 1e-3
                expected = exact if cut_spans == "drop" else best[a, b]
                assert found == pytest.approx(expected, abs=0.05)  # states are float16
    assert compared > 100
    assert widened > 5


def test_no_piece_of_the_plain_texts_touches_two_tokens(tiny_llm):
    tokenizer = AutoTokenizer.from_pretrained(tiny_llm)
    nlp = spacy.blank("en")
    for text in PLAIN_TEXTS:
        ends = {t.idx + len(t) for t in nlp(text)}
        for a, b in tokenizer(text, return_offsets_mapping=True)["offset_mapping"]:
            start = b - len(text[a:b].lstrip())
            assert not ends & {*range(start + 1, b)}


def test_mentions_are_written_with_the_label_of_ones_choosing(published, tiny_llm):
    nlp = make(tiny_llm, source=str(published), label="THING", pipe={"decoding": "all"})
    pipe = nlp.get_pipe("llm2ner")
    assert pipe.labels == ("THING",)
    docs = list(nlp.pipe(TEXTS))
    spans = [span for doc in docs for span in doc.spans["sc"]]
    assert spans
    assert {span.label_ for span in spans} == {"THING"}
    assert all(span._.score >= 0.5 for span in spans)
    ents = [ent for doc in docs for ent in doc.ents]
    assert ents
    assert all(doc.spans["sc"].attrs["scores"].dtype == np.float32 for doc in docs)


@pytest.mark.parametrize("decoding", ["greedy", "flat", "nested"])
def test_every_decoding_keeps_a_part_of_all(published, tiny_llm, decoding):
    def found(decoding):
        nlp = make(tiny_llm, source=str(published), pipe={"decoding": decoding})
        return [{(s.start, s.end) for s in doc.spans["sc"]} for doc in nlp.pipe(TEXTS)]

    everything, some = found("all"), found(decoding)
    assert all(few <= many for few, many in zip(some, everything, strict=True))
    assert sum(map(len, some)) < sum(map(len, everything))


def test_cut_spans_are_counted_and_said(published, tiny_llm, caplog):
    nlp = make(tiny_llm, source=str(published))
    shim = shims_of(nlp.get_pipe("llm2ner").model)[1]
    expected = 0
    for text in PLAIN_TEXTS:
        square, offsets = reference(published, tiny_llm, text)
        starts = {t.idx for t in nlp.make_doc(text)}
        ends = {t.idx + len(t) for t in nlp.make_doc(text)}
        for end, start in (square >= 0).nonzero().tolist():
            expected += not (offsets[start][0] in starts and offsets[end][1] in ends)
    with caplog.at_level("INFO", logger="spacy.llm2ner"):
        list(nlp.pipe(PLAIN_TEXTS))
    assert expected
    assert shim.cut_spans == expected
    said = caplog.text.count("inside a token: widened")
    assert 1 <= said <= len(str(expected))


def test_a_saved_pipeline_needs_its_source_no_longer(published, tiny_llm, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for file in published.iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    nlp = make(tiny_llm, source=str(source))
    nlp.to_disk(tmp_path / "unused")  # before the head or the LLM was ever needed
    before = [[(e.text, e._.score) for e in doc.ents] for doc in nlp.pipe(TEXTS)]
    nlp.to_disk(tmp_path / "saved")
    for file in source.iterdir():
        file.unlink()
    for folder in ("unused", "saved"):
        loaded = spacy.load(tmp_path / folder)
        assert [[(e.text, e._.score) for e in doc.ents] for doc in loaded.pipe(TEXTS)] == before
    other = copy.deepcopy(nlp.get_pipe("llm2ner").model)
    again = pickle.loads(pickle.dumps(nlp.get_pipe("llm2ner").model))
    docs = [nlp.make_doc(text) for text in TEXTS]
    for twin in (other, again, nlp.get_pipe("llm2ner").model.copy()):
        for a, b in zip(
            twin.predict(docs), nlp.get_pipe("llm2ner").model.predict(docs), strict=True
        ):
            # Not bit for bit: one of them may have read a text in another batch.
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_nothing_is_read_before_it_is_needed(tiny_llm, tmp_path):
    nlp = make(tmp_path / "no-llm", source=str(tmp_path / "no-head"))
    assert nlp.get_pipe("llm2ner").labels == ("MENTION",)
    with pytest.raises(FileNotFoundError, match="neither a folder nor a hub id"):
        nlp("Ada Lovelace")
    assert list(nlp("").ents) == []


def test_another_llm_is_a_clear_error(published, tiny_llm, tmp_path):
    from tests.tiny import save_tiny_llama

    other = save_tiny_llama(tmp_path / "another", width=48)
    with pytest.raises(
        ValueError, match=r"block 1 of .*width 32.*another.*width 48.*blocks 0 to 3"
    ):
        make(other, source=str(published))("Ada Lovelace")
    renamed = save_tiny_llama(tmp_path / "renamed")
    with pytest.raises(ValueError, match=r"set llm_name of ToMMeR.v1 to 'renamed'"):
        make(renamed, source=str(published))("Ada Lovelace")
    nlp = make(renamed, source=str(published), llm_name="renamed")
    assert nlp(TEXTS[0]).spans["sc"] is not None


def test_a_layer_that_disagrees_with_the_head_is_a_clear_error(published, tiny_llm):
    for settings in ({"layer": 2}, {"llm_settings": {"layers": [1, 2]}}):
        with pytest.raises(ValueError, match=r"reads block 1, which is layer 2 of FrozenLLM.v1"):
            make(tiny_llm, source=str(published), **settings)("Ada Lovelace")
    for settings in ({"layer": LAYER}, {"llm_settings": {"layers": [LAYER + 1]}}):
        make(tiny_llm, source=str(published), **settings)("Ada Lovelace")


@pytest.mark.parametrize(
    "settings",
    [{"rank": 0}, {"sliding_window": -2}, {"normalize_scores": "x"}, {"cut_spans": "x"},
     {"reading": "x"}],
)  # fmt: skip
def test_settings_out_of_range_are_named(tiny_llm, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        make(tiny_llm, **settings)


def test_the_published_head_says_what_it_needs(tiny_llm):
    if not PUBLISHED.is_dir():
        pytest.skip(f"needs the published head in {PUBLISHED}")
    nlp = make(tiny_llm, source=str(PUBLISHED))
    with pytest.raises(ValueError, match=r"meta-llama/Llama-3.2-1B \(width 2048\)"):
        nlp("Ada Lovelace")


# Training ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tiny_llm) -> Language:
    torch.manual_seed(0)
    nlp = make(tiny_llm, rank=8)
    data = examples(nlp)
    nlp.initialize(lambda: data)
    assert [span for doc in nlp.pipe(TEXTS) for span in doc.spans["sc"]] == []  # untrained
    losses = train(nlp, data)
    assert losses[-1] < 0.2 * losses[0]
    return nlp


def test_it_learns_several_labels(trained):
    assert trained.get_pipe("llm2ner").labels == ("LOC", "ORG", "PER")
    assert trained.evaluate(examples(trained))["ents_f"] > 0.95


def test_a_trained_pipeline_goes_to_disk_and_back(trained, tmp_path):
    trained.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    docs = [trained.make_doc(text) for text in TEXTS]
    models = [nlp.get_pipe("llm2ner").model for nlp in (trained, loaded)]
    for a, b in zip(*(model.predict(docs) for model in models), strict=True):
        assert np.allclose(a, b, atol=0.05)  # states are float16, read in other batches
    with pytest.raises(ValueError, match=r"'rank' of ToMMeR.v1 is 4, but the stored head .* 8"):
        spacy.load(tmp_path, config={"components.llm2ner.model.rank": 4})


def test_a_bundled_llm_goes_along(tmp_path):
    from tests.tiny import save_tiny_llama

    llm = save_tiny_llama(tmp_path / "llm")
    nlp = make(llm, rank=4, pipe={"bundle_llm": True})
    data = examples(nlp)
    nlp.initialize(lambda: data)
    train(nlp, data)
    nlp.to_disk(tmp_path / "model")
    doc = nlp.make_doc(TEXTS[0])
    (band,) = nlp.get_pipe("llm2ner").model.predict([doc])
    llm.rename(tmp_path / "gone")
    (again,) = spacy.load(tmp_path / "model").get_pipe("llm2ner").model.predict([doc])
    assert np.allclose(band, again, atol=0.05)


def test_another_llm_than_that_of_the_training_is_an_error(trained, tmp_path):
    from tests.tiny import save_tiny_llama

    trained.to_disk(tmp_path / "model")
    other = save_tiny_llama(tmp_path / "other", seed=5)
    name = {"components.llm2ner.model.llm.name": str(other)}
    with pytest.raises(ValueError, match="trained on the states of another LLM"):
        spacy.load(tmp_path / "model", config=name)("Ada")


@pytest.mark.parametrize("cut_spans", ["drop", "widen"])
def test_gradients_go_through_the_map_from_pieces_to_tokens(trained, tmp_path, cut_spans):
    trained.to_disk(tmp_path)
    setting = {"components.llm2ner.model.cut_spans": cut_spans}
    model = spacy.load(tmp_path, config=setting).get_pipe("llm2ner").model
    module = shims_of(model)[1].module
    docs = [trained.make_doc(text) for text in TEXTS]
    bands, backprop = model.begin_update(docs)
    generator = np.random.default_rng(0)
    weights = [generator.normal(size=b.shape).astype("f") * (b > MASKED / 2) for b in bands]
    if cut_spans == "widen":  # spans that are pulled up are exact ones, whatever is better
        weights = [np.abs(w) for w in weights]
    module.zero_grad()
    backprop([model.ops.asarray3f(w) for w in weights])
    gradient = module.theta.grad[1].tolist()

    def total() -> float:
        return sum(float((b * w).sum()) for b, w in zip(model(docs, True)[0], weights, strict=True))

    for part, step in ((0, 1e-2), (3, 1e-2)):
        with torch.no_grad():
            module.theta[1, part] += step
            above = total()
            module.theta[1, part] -= 2 * step
            below = total()
            module.theta[1, part] += step
        assert gradient[part] == pytest.approx((above - below) / (2 * step), rel=2e-2)


def test_training_leaves_no_cut_spans(trained):
    """A piece span within a token is a wrong one, as the reference trains it."""
    shim = shims_of(trained.get_pipe("llm2ner").model)[1]
    before, found = shim.cut_spans, 0
    for doc in trained.pipe(eg.text for eg in examples(trained)):
        found += len(doc.spans["sc"])
    # Those that remain lie within gold mentions, whose tokens are found anyway.
    assert found >= 15
    assert shim.cut_spans - before <= 2 * found


def test_labels_can_be_added_to_a_published_head(published, tiny_llm):
    nlp = make(tiny_llm, source=str(published))
    docs = [nlp.make_doc(text) for text in TEXTS]
    model = nlp.get_pipe("llm2ner").model
    before = model.predict(docs)
    nlp.get_pipe("llm2ner").add_label("PER")
    for old, new in zip(before, model.predict(docs), strict=True):
        assert new.shape[2] == 2
        assert np.array_equal(old[..., 0], new[..., 0])


def test_training_goes_on_from_the_published_weights(published, tiny_llm):
    nlp = make(tiny_llm, source=str(published))
    data = examples(nlp)
    for example in data:
        doc = example.reference
        doc.set_ents([spacy.tokens.Span(doc, e.start, e.end, label="MENTION") for e in doc.ents])
    weights = TokenMatching.from_tommer(published).W_Q
    nlp.initialize(lambda: data)
    before = nlp.evaluate(data)["ents_f"]
    module = shims_of(nlp.get_pipe("llm2ner").model)[1].module
    assert nlp.get_pipe("llm2ner").labels == ("MENTION",)
    assert torch.equal(module.W_Q, weights)
    train(nlp, data)
    assert not torch.equal(module.W_Q, weights)
    assert nlp.evaluate(data)["ents_f"] > before + 0.2


def test_gold_that_cannot_be_learnt_is_counted(tiny_llm):
    nlp = make(tiny_llm, sliding_window=3)
    data = examples(nlp)
    with pytest.warns(UserWarning, match=r"L2N-W11.* gold spans .*sliding_window"):
        nlp.initialize(lambda: data)


def test_without_a_limit_spans_may_be_as_long_as_the_text(tiny_llm):
    nlp = make(tiny_llm, sliding_window=0, rank=4)
    data = examples(nlp)
    nlp.initialize(lambda: data)
    doc = nlp.make_doc(TEXTS[1])
    (band,) = nlp.get_pipe("llm2ner").model.predict([doc, nlp.make_doc("Ada")][:1])
    assert band.shape == (len(doc), len(doc), 3)
    assert float(band[0, len(doc) - 1, 0]) > MASKED


def test_white_space_and_empty_docs(published, tiny_llm):
    nlp = make(tiny_llm, source=str(published))
    docs = list(nlp.pipe(["", "   ", " Ada  Lovelace\n\n met", TEXTS[0]]))
    alone = nlp(TEXTS[0])
    assert [e.text for e in docs[3].ents] == [e.text for e in alone.ents]
    for doc in docs:
        assert all(not (s[0].is_space or s[-1].is_space) for s in doc.spans["sc"])


def test_marks_that_share_a_piece_with_a_word_are_no_edge_of_a_span():
    from spacy.vocab import Vocab

    from spacy_llm2ner.llm.alignment import align
    from spacy_llm2ner.llm.pieces import piece_tokens

    doc = Doc(
        Vocab(),
        words=["pro", "-", "Obama", "can", "not"],
        spaces=[False, False, True] + [False] * 2,
    )
    offsets = [(0, 3), (3, 6), (6, 9), (9, 16)]  # pro, -Ob, ama, " cannot"
    bounds = [(t.idx, t.idx + len(t)) for t in doc]
    related = piece_tokens(doc, align(doc.text, offsets, bounds), 4)
    assert related.start.tolist() == [0, 2, 2, 3]
    assert related.end.tolist() == [0, 2, 2, 4]
    assert related.starts.tolist() == [True, False, True, True, False]
    assert related.ends.tolist() == [True, False, True, False, True]


def test_spacy_train_trains_it_as_the_paper_does(tiny_llm, tmp_path, capsys):
    """Balanced loss, dilation and self-distillation, through the command's own function."""
    from spacy.cli.train import train as train_command
    from spacy.tokens import DocBin

    nlp = make(
        tiny_llm,
        rank=8,
        pipe={
            "loss": {"@misc": "spacy_llm2ner.SpanBCE.v1", "reduction": "balanced", "dilation": 2}
        },
    )
    path = tmp_path / "data.spacy"
    DocBin(docs=[eg.reference for eg in examples(nlp)]).to_disk(path)
    config = nlp.config.copy()
    config["corpora"] = {
        split: {"@readers": "spacy.Corpus.v1", "path": str(path), "max_length": 0}
        for split in ("train", "dev")
    }
    config["training"] |= {
        "max_epochs": 60,
        "eval_frequency": 10,
        "before_update": {"@callbacks": "spacy_llm2ner.SelfDistillation.v1", "epoch": 30},
        "logger": {"@loggers": "spacy.ConsoleLogger.v3"},
        "batcher": {"@batchers": "spacy.batch_by_sequence.v1", "size": 4},
    }
    config["training"]["optimizer"]["learn_rate"] = 0.01
    config.to_disk(tmp_path / "config.cfg")
    train_command(tmp_path / "config.cfg", tmp_path / "out")
    capsys.readouterr()
    best = spacy.load(tmp_path / "out" / "model-best")
    assert best.evaluate(examples(best))["ents_f"] > 0.9
