"""What the component "llm2ner_prompted" learns from, and how it is counted."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Adam

from spacy_llm2ner.pipeline.gold import Gold
from spacy_llm2ner.prompted.predict import Chunk
from spacy_llm2ner.prompted.training import LabelChoice, chunk_tags, flat_spans
from tests.pipeline.sample import DATA, examples, nested_examples
from tests.prompted.sample import LABELS, NAME, make_prompted


@pytest.fixture
def nlp(tiny_chat):
    return make_prompted(tiny_chat, llm={"tuning": "lora", "lora_rank": 4})


def answer(nlp, instance) -> str:
    return nlp.get_pipe(NAME).shim.generator.text(instance.target)


def prompt(nlp, instance) -> str:
    backend = nlp.get_pipe(NAME).shim.asking.backend
    return backend.decode(instance.prompt, skip_special_tokens=False)


def named(nlp, instance) -> str:
    """The labels in a prompt."""
    return prompt(nlp, instance).split("tags: ")[1].split(" and O")[0]


def test_labels_come_from_the_data(nlp):
    data = examples(nlp)
    nlp.initialize(lambda: data)
    assert nlp.get_pipe(NAME).labels == tuple(LABELS)
    nlp.initialize(lambda: data)  # and again


@pytest.mark.parametrize("wrong", [None, [], lambda: None, lambda: [], lambda: [3]])
def test_what_initialize_wants(nlp, wrong):
    with pytest.raises(TypeError):
        nlp.get_pipe(NAME).initialize(wrong)


def test_no_labels(nlp):
    with pytest.raises(ValueError, match="E143"):
        nlp.get_pipe(NAME).initialize(lambda: [Example(nlp.make_doc("a"), nlp.make_doc("a"))])


def test_unknown_gold_labels(nlp):
    data = examples(nlp)
    with pytest.raises(ValueError, match="labelled LOC, ORG"):
        nlp.get_pipe(NAME).initialize(lambda: data, labels=["PER"])


def test_overlapping_gold_is_reported(nlp):
    data = nested_examples(nlp)
    with pytest.warns(UserWarning, match=r"L2N-W31.*3 of 6"):
        nlp.get_pipe(NAME).initialize(lambda: data)


def test_gold_that_does_not_align_is_reported(nlp):
    reference = Doc(
        nlp.vocab, words=["New", "York", "-", "based"], spaces=[True, False, False, True]
    )
    reference.set_ents([reference.char_span(0, 8, label="LOC")], default="outside")
    predicted = Doc(nlp.vocab, words=["New", "York-based"])
    with pytest.warns(UserWarning, match=r"L2N-W30.*1 of 1"):
        nlp.get_pipe(NAME).initialize(lambda: [Example(predicted, reference)], labels=["LOC"])


def test_scores_that_nobody_gives_are_reported(tiny_chat):
    nlp = make_prompted(tiny_chat, annotate="spans")  # and not the entities that are weighted
    data = examples(nlp)
    nlp.config["paths"].update(dev="dev.spacy")
    with pytest.warns(UserWarning, match="L2N-W32"):
        nlp.get_pipe(NAME).initialize(lambda: data, nlp=nlp)


def test_every_word_is_an_answer_and_sentences_without_entities_too(nlp):
    data = examples(nlp)
    nlp.initialize(lambda: data)
    instances = nlp.get_pipe(NAME).instances(data)
    assert len(instances) == len(DATA)
    answers = [answer(nlp, instance) for instance in instances]
    assert answers[0] == ("Ada(B-PER) Lovelace(I-PER) met(O) Charles(B-PER) Babbage(I-PER) .(O)")
    assert answers[3] == "Nobody(O) said(O) why(O) .(O)"
    end = nlp.get_pipe(NAME).shim.generator.end
    assert all(instance.target[-1] == end for instance in instances)
    assert all(set(instance.weights) == {1.0} for instance in instances)


def test_labels_are_shuffled_for_each_instance(nlp):
    data = examples(nlp)
    nlp.initialize(lambda: data)
    pipe = nlp.get_pipe(NAME)
    random.seed(0)
    orders = Counter(named(nlp, instance) for instance in pipe.instances(data * 4))
    assert len(orders) == 6  # all orders of three labels
    fixed = {named(nlp, instance) for instance in pipe.instances(data, choose=False)}
    assert fixed == {"LOC, ORG, PER"}


def test_names_stand_in_answers(tiny_chat):
    nlp = make_prompted(tiny_chat, labels=LABELS, label_names={"PER": "person"})
    (instance, *_) = nlp.get_pipe(NAME).instances(examples(nlp)[:1])
    assert answer(nlp, instance).startswith("Ada(B-person) Lovelace(I-person)")


def test_what_is_not_annotated_does_not_count(nlp):
    doc = nlp.make_doc("Ada met Charles Babbage.")
    reference = doc.copy()
    reference.set_ents([reference[0:1]], missing=[reference[2:4]], default="outside")
    reference.set_ents(
        [spacy.tokens.Span(reference, 0, 1, label="PER")],
        missing=[reference[2:4]],
        default="outside",
    )
    pipe = nlp.get_pipe(NAME)
    pipe.add_label("PER")
    (instance,) = pipe.instances([Example(doc, reference)])
    asking = pipe.shim.asking
    units = asking.answer(["Ada", "met", "Charles", "Babbage", "."], ["B-PER", "O", "O", "O", "O"])
    expected = [1.0] * len(units[0] + units[1])
    expected += [0.0] * len(units[2] + units[3]) + [1.0] * (len(units[4]) + 1)
    assert instance.weights == expected
    # Nothing annotated at all: nothing to learn, and no loss.
    bare = Example(nlp.make_doc("Ada"), nlp.make_doc("Ada"))
    assert pipe.instances([bare]) == []
    assert pipe.update([bare], losses={}) == {NAME: 0.0}


def test_loss_and_gradient(nlp):
    data = examples(nlp)[:3]
    nlp.initialize(lambda: data)
    pipe = nlp.get_pipe(NAME)
    instances = pipe.instances(data, choose=False)
    scores = pipe.model.predict(instances)
    loss, gradients = pipe.get_loss(data, scores)
    flat = np.concatenate(scores)
    assert loss == pytest.approx(-flat.mean(), rel=1e-5)
    assert np.allclose(np.concatenate(gradients), -1 / len(flat))


def test_parts_of_a_batch_add_up(tiny_chat):
    """`batch_pieces` is a matter of memory only."""
    found = []
    for pieces in (100, 10_000):
        llm = {"tuning": "full", "batch_pieces": pieces}
        nlp = make_prompted(tiny_chat, llm=llm, shuffle_labels=False)
        data = examples(nlp)
        nlp.initialize(lambda data=data: data)
        loss = nlp.update(data, sgd=None, losses={})[NAME]
        model = nlp.get_pipe(NAME).shim.generator.model
        found.append((loss, model.lm_head.weight.grad.clone()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    assert np.allclose(found[0][1], found[1][1], atol=1e-5)


@pytest.mark.parametrize("fixture", ["tiny_chat", "tiny_t5"])
def test_lora_learns(fixture, request):
    nlp = make_prompted(request.getfixturevalue(fixture), llm={"tuning": "lora", "lora_rank": 8})
    data = examples(nlp)[:4]
    nlp.initialize(lambda: data)
    optimizer = Adam(0.01)
    losses = [nlp.update(data, sgd=optimizer, losses={})[NAME] for _ in range(12)]
    assert losses[-1] < 0.8 * losses[0]


def test_an_llm_that_is_not_tuned_says_so(tiny_chat):
    nlp = make_prompted(tiny_chat, labels=LABELS)
    data = examples(nlp)
    with pytest.warns(UserWarning, match="L2N-W33"):
        loss = nlp.update(data, sgd=Adam(0.01), losses={})[NAME]
    assert loss > 0
    assert nlp.update(data, losses={})[NAME] == pytest.approx(loss, rel=0.2)


# Which labels a prompt names ------------------------------------------------------------------

MANY = [f"l{i}" for i in range(8)]


def test_all_labels_by_default():
    random.seed(0)
    chosen = LabelChoice().choose(MANY, {"l1"}, {})
    assert sorted(chosen) == MANY and chosen != MANY
    assert LabelChoice(shuffle=False).choose(MANY, {"l1"}, {}) == MANY


def test_negative_labels_are_sampled_by_frequency():
    random.seed(0)
    counts = {label: 1000 if label == "l7" else 1 for label in MANY}
    choice = LabelChoice(shuffle=False, negatives=1)
    drawn = Counter(
        label for _ in range(200) for label in choice.choose(MANY, {"l1"}, counts) if label != "l1"
    )
    assert drawn["l7"] > 150 and sum(drawn.values()) == 200
    assert LabelChoice(negatives=0).choose(MANY, {"l2"}, counts) == ["l2"]
    assert len(LabelChoice(negatives=0).choose(MANY, set(), counts)) == 1


def test_labels_are_dropped_with_their_entities():
    random.seed(0)
    choice = LabelChoice(shuffle=False, drop=0.5)
    lengths = [len(choice.choose(MANY, {"l0"}, {})) for _ in range(400)]
    assert 3.5 < np.mean(lengths) < 4.5
    assert min(lengths) >= 1
    chunk = Chunk([0, 1, 2], ["a", "b", "c"])
    spans = [(0, 1, "l0"), (1, 3, "l1")]
    assert chunk_tags(chunk, spans, 3, {"l1"}) == ["O", "B-l1", "I-l1"]


@pytest.mark.parametrize(("drop", "negatives"), [(-0.1, None), (1.0, None), (0.0, -1)])
def test_choices_out_of_range(drop, negatives):
    with pytest.raises(ValueError, match=r"drop_labels' is|negative_labels' is"):
        LabelChoice(True, drop, negatives)


def test_longest_spans_first():
    gold = Gold([(0, 1, "a"), (0, 3, "b"), (2, 4, "c"), (5, 6, "d")], 0, np.ones(6, dtype=bool))
    assert flat_spans(gold) == ([(0, 3, "b"), (5, 6, "d")], 2)


def test_an_entity_that_is_cut_goes_on_as_its_own():
    spans = [(1, 4, "x")]
    assert chunk_tags(Chunk([0, 1], ["a", "b"]), spans, 5, {"x"}) == ["O", "B-x"]
    assert chunk_tags(Chunk([2, 3, 4], ["c", "d", "e"]), spans, 5, {"x"}) == ["B-x", "I-x", "O"]
