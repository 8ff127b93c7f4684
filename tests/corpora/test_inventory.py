"""Tags judged as a whole: every reader reads them alike, or refuses them with the settings."""

from __future__ import annotations

import json

import pytest
import spacy
from datasets import Dataset

from spacy_llm2ner.corpora import ConllCorpus, CorpusError, HFDatasetCorpus, JsonlCorpus
from spacy_llm2ner.tags import TagSet

NLP = spacy.blank("xx")
READERS = ["conll", "jsonl", "dataset"]


def corpus(reader, folder, rows, **settings):
    """Write rows of tags in a reader's format; the words are numbered."""
    words = [[f"w{i}" for i in range(len(row))] for row in rows]
    if reader == "conll":
        path = folder / "data.conll"
        pairs = (zip(*row, strict=True) for row in zip(words, rows, strict=True))
        path.write_text("\n".join("".join(f"{w} {t}\n" for w, t in row) for row in pairs))
        return ConllCorpus(path, **settings)
    if reader == "jsonl":
        path = folder / "data.jsonl"
        lines = zip(words, rows, strict=True)
        path.write_text("\n".join(json.dumps({"tokens": w, "tags": t}) for w, t in lines))
        return JsonlCorpus(path, **settings)
    Dataset.from_dict({"tokens": words, "tags": rows}).save_to_disk(folder / "data")
    return HFDatasetCorpus(folder / "data", **settings)


def spans(corpus):
    return [(e.start, e.end, e.label_) for eg in corpus(NLP) for e in eg.reference.ents]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        # Prefixes, in each scheme; a label may look like anything.
        ("B-X I-X O", [(0, 2, "X")]),
        ("I-X I-X B-X O", [(0, 2, "X"), (2, 3, "X")]),
        ("B-E-mail E-E-mail S-S-Bahn O", [(0, 2, "E-mail"), (2, 3, "S-Bahn")]),
        ("B-1 I-1 B-2", [(0, 2, "1"), (2, 3, "2")]),
        ("O O O", []),
        # Plain labels, whatever they begin with.
        ("O PER PER LOC", [(1, 3, "PER"), (3, 4, "LOC")]),
        ("O E-mail E-mail person", [(1, 3, "E-mail"), (3, 4, "person")]),
        ("S-Bahn O U-Bahn Bus", [(0, 1, "S-Bahn"), (2, 3, "U-Bahn"), (3, 4, "Bus")]),
        ("O P L E b-cell", [(1, 2, "P"), (2, 3, "L"), (3, 4, "E"), (4, 5, "b-cell")]),
    ],
)
def test_what_is_certain_is_read(tmp_path, reader, tags, expected):
    assert spans(corpus(reader, tmp_path, [tags.split()])) == expected


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("tags", "message", "settings", "expected"),
    [
        ("O B I O", "'B' is a prefix without a label", {"labels": {"B": "B-X", "I": "I-X"}},
         [(1, 3, "X")]),
        ("O B I O", "'B' is a prefix without a label", {"scheme": "plain"},
         [(1, 2, "B"), (2, 3, "I")]),
        ("O E-mail E-mail", "the label 'E-mail', or 'mail' with the prefix E-",
         {"scheme": "plain"}, [(1, 3, "E-mail")]),
        ("O S-Bahn", "'Bahn' with the prefix S-", {"scheme": "BIOES"}, [(1, 2, "Bahn")]),
        ("O B-X I-X S-Bahn", "'Bahn' with the prefix S-", {"scheme": "BIO2"},
         [(1, 3, "X"), (3, 4, "Bahn")]),
        ("O person E-mail S-mail", "'mail' with the prefix E-", {"scheme": "plain"},
         [(1, 2, "person"), (2, 3, "E-mail"), (3, 4, "S-mail")]),
        ("0 1 2 0", "'0' has no letter", {"labels": ["O", "B-X", "I-X"]}, [(1, 3, "X")]),
        ("0 1 2 0", "'0' has no letter", {"labels": {"O": 0, "B-X": 1, "I-X": 2}}, [(1, 3, "X")]),
        ("0 B-X I-X", "'0' has no letter", {"labels": {"0": "O"}}, [(1, 3, "X")]),
        ("_ PER PER", "'_' has no letter", {"labels": {"_": "O"}}, [(1, 3, "PER")]),
        ("NN VB", "no tag is O", {"scheme": "plain"}, [(0, 1, "NN"), (1, 2, "VB")]),
        ("none PER PER", "no tag is O", {"labels": {"none": "O"}}, [(1, 3, "PER")]),
        ("o B-X I-X", "'o' is not a tag: expected O, or B-", {"labels": {"o": "O"}},
         [(1, 3, "X")]),
        ("O B-cell T-cell", "'T-cell' is not a tag", {"scheme": "plain"},
         [(1, 2, "B-cell"), (2, 3, "T-cell")]),
        ("O b-x i-x", "'b-x' and 'i-x' look like B- and I-",
         {"labels": {"b-x": "B-X", "i-x": "I-X"}}, [(1, 3, "X")]),
        ("O PER-B PER-I", "'PER-B' and 'PER-I' look like B- and I-", {"scheme": "plain"},
         [(1, 2, "PER-B"), (2, 3, "PER-I")]),
    ],
)  # fmt: skip
def test_what_is_doubtful_is_refused_and_a_setting_decides(
    tmp_path, reader, tags, message, settings, expected
):
    rows = [["O"], tags.split()] if "O" in tags.split() else [tags.split()]
    with pytest.raises(CorpusError) as error:
        spans(corpus(reader, tmp_path, rows))
    assert message in str(error.value)
    unit = {"conll": "line", "jsonl": "line", "dataset": "row"}[reader]
    assert f"{unit} " in str(error.value)
    assert "'labels'" in str(error.value) or "scheme = 'plain'" in str(error.value)
    assert spans(corpus(reader, tmp_path, rows, **settings)) == expected


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("settings", "tags", "message"),
    [
        ({"scheme": "BIO2"}, "O PER", "'scheme' is 'BIO2', but the tag 'PER' is neither O"),
        ({"scheme": "IOB"}, "O", "'scheme' is 'IOB'; accepted are 'BIO2'"),
        ({"labels": ["O", "B-X"]}, "0 1 2", "the tag 2 is not one of the 2 labels"),
        ({"labels": {"O": "0"}}, "0", "expected the tags in order"),
        ({"labels": "none.json"}, "0", "'labels' is 'none.json', expected a JSON file"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, reader, settings, tags, message):
    with pytest.raises(ValueError, match=message):
        spans(corpus(reader, tmp_path, [tags.split()], **settings))


def test_the_place_is_that_of_the_doubtful_tag(tmp_path):
    read = corpus("conll", tmp_path, [["O"], ["B-X", "PER"]])
    with pytest.raises(CorpusError, match=r"data\.conll, line 4: 'PER' is not a tag"):
        spans(read)


def test_a_tagged_number_sign_may_be_a_comment(tmp_path):
    path = tmp_path / "tweets.conll"
    path.write_text("# x=y\nAda PER\nleft O\n")
    with pytest.raises(CorpusError, match=r"line 1: nothing shows whether this is a comment"):
        spans(ConllCorpus(path))
    assert spans(ConllCorpus(path, comments=True)) == [(0, 1, "PER")]
    assert spans(ConllCorpus(path, scheme="plain")) == [(0, 1, "x=y"), (1, 2, "PER")]


def test_the_scheme_of_the_setting_is_reported(tmp_path):
    rows = [["B-X", "O", "S-X"]]
    report = corpus("conll", tmp_path, rows, scheme="BIO2").file.report
    assert (report.scheme, report.repairs) == ("BIO2", {"foreign_prefix": 1})


def test_a_checkpoints_tags_are_judged_likewise():
    plain = TagSet(("O", "E-mail", "person"))
    assert plain.labels == ("E-mail", "person")
    assert plain.read([1, 1, 2, 0]) == [(0, 2, "E-mail"), (2, 3, "person")]
    assert TagSet(("O", "B-mail", "E-mail")).labels == ("mail",)
