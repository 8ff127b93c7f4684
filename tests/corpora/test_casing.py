"""Cased copies of texts, and the reader that adds them."""

from __future__ import annotations

from pathlib import Path

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import registry

from spacy_llm2ner.corpora.casing import cased, create_casing_augmenter


def make_example(nlp: Language, text: str = "Straße in Ulm , says Ann") -> Example:
    words = text.split()
    reference = Doc(nlp.vocab, words=words, sent_starts=[i == 0 for i in range(len(words))])
    reference.set_ents(
        [Span(reference, 2, 3, label="LOC")], missing=[reference[4:5]], default="outside"
    )
    reference.spans["sc"] = [Span(reference, 0, 3, label="PLACE")]
    reference.user_data["id"] = 7
    return Example(Doc(nlp.vocab, words=words), reference)


def test_a_copy_has_other_words_and_the_same_annotation() -> None:
    nlp = spacy.blank("de")
    example = make_example(nlp)
    copy = cased(example, str.upper)
    assert copy.reference.text == copy.predicted.text == "STRASSE IN ULM , SAYS ANN "
    assert [(ent.text, ent.label_) for ent in copy.reference.ents] == [("ULM", "LOC")]
    assert [token.ent_iob for token in copy.reference] == [2, 2, 3, 2, 0, 2]
    assert [(span.text, span.label_) for span in copy.reference.spans["sc"]] == [
        ("STRASSE IN ULM", "PLACE")
    ]
    assert copy.reference.user_data["id"] == 7 and copy.reference[0].is_sent_start
    assert example.reference.text == "Straße in Ulm , says Ann "


def test_shares_of_texts_have_a_copy_and_the_same_ones_each_time() -> None:
    nlp = spacy.blank("en")
    augment = create_casing_augmenter(lower=0.3, upper=0.2)
    examples = [make_example(nlp, f"Text {i} is by Ann") for i in range(400)]
    found = [[eg.reference.text for eg in augment(nlp, example)] for example in examples]
    assert all(texts[0] == eg.reference.text for texts, eg in zip(found, examples, strict=True))
    copies = [texts[1] for texts in found if len(texts) > 1]
    assert 90 < sum(copy.islower() for copy in copies) < 150
    assert 50 < sum(copy.isupper() for copy in copies) < 110
    again = [[eg.reference.text for eg in augment(nlp, example)] for example in examples]
    assert again == found


@pytest.mark.parametrize("shares", [{"lower": -0.1}, {"lower": 0.6, "upper": 0.5}])
def test_shares_out_of_range(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"'(lower|upper)' of the augmenter"):
        create_casing_augmenter(**shares)


def test_any_reader_can_be_augmented(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("In O\nUlm B-LOC\n\nAnn B-PER\n", encoding="utf8")
    block = {
        "@readers": "spacy_llm2ner.AugmentedCorpus.v1",
        "corpus": {"@readers": "spacy_llm2ner.ConllCorpus.v1", "path": str(tmp_path / "a.conll")},
        "augmenter": {"@augmenters": "spacy_llm2ner.casing.v1", "lower": 1.0, "upper": 0.0},
    }
    corpus = registry.resolve({"corpus": block})["corpus"]
    texts = [example.reference.text.strip() for example in corpus(spacy.blank("en"))]
    assert texts == ["In Ulm", "in ulm", "Ann", "ann"]
