"""Training data of the mention head: the words of an annotated span that are a name."""

from __future__ import annotations

from pathlib import Path

import pytest
import spacy

from scripts.mentions_corpora import LABEL, name_within, read_corpora

ROOT = Path(__file__).parents[2]
CORPORA = ROOT.parent / "shared" / "corpora"


@pytest.mark.parametrize(
    ("span", "name"),
    [
        ("the old man", None),
        ("The doctor", None),
        ("London", "London"),
        ("the Thames", "Thames"),
        ("The Thames", "Thames"),
        ("my cousin Mary", "Mary"),
        ("Mr. Bingley", "Bingley"),
        ("Captain", None),
        ("Sir John Middleton", "John Middleton"),
        ("the Duke of York", "Duke of York"),
        ("the Bank of Leichardt 's Land", "Bank of Leichardt 's Land"),
        ("Mr. Heathcliff 's dwelling", None),
        ("an English regiment of foot in Flanders", None),
        ("Miss Potts '", "Potts"),
        ("Henry 8", None),
        ("Apollo 11 Station", "Apollo 11 Station"),
    ],
)
def test_names_within_spans(span, name):
    words = ["x", *span.split(), "y"]
    found = name_within(words, 1, len(words) - 1)
    assert (None if found is None else " ".join(words[slice(*found)])) == name


@pytest.mark.parametrize("split", ["train", "dev"])
def test_the_corpora_are_read_as_described(split):
    if not CORPORA.is_dir():
        pytest.skip(f"needs the corpora in {CORPORA}")
    nlp = spacy.blank("en")
    parts = read_corpora(CORPORA, split, nlp)
    texts = {"train": 3394, "dev": 1009}[split]
    assert len(parts["wnut17"]) == texts
    assert (
        sum(len(eg.reference.ents) for eg in parts["wnut17"]) == {"train": 1975, "dev": 836}[split]
    )
    for examples in parts.values():
        for example in examples:
            doc = example.reference
            assert {ent.label_ for ent in doc.ents} <= {LABEL}
            assert [t.text for t in example.predicted] == [t.text for t in doc]
            # Unsaid are only words that could be names.
            assert all(t.text[0].isupper() for t in doc if t.ent_iob == 0)
    litbank = parts["litbank sentences"]
    assert sum(any(t.ent_iob == 0 for t in eg.reference) for eg in litbank) > 10
    nameless = sum(not eg.reference.ents for eg in litbank)
    assert 0 < nameless < 0.5 * len(litbank)
