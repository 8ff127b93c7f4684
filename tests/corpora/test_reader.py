import logging
import subprocess
import sys

import pytest
import spacy
from spacy import util
from spacy.scorer import Scorer
from spacy.tokens import DocBin

from spacy_llm2ner.corpora import ConllCorpus, ConllError, create_conll_corpus
from spacy_llm2ner.corpora.reader import open_corpus

READER = "spacy_llm2ner.ConllCorpus.v1"
TEXT = """-DOCSTART- O

U.N. B-ORG
envoy O
left O
Stoke-on-Trent B-LOC
. O

It O
's O
over O
. O

-DOCSTART- O

Oslo B-LOC
"""


@pytest.fixture(scope="module")
def nlp():
    return spacy.blank("en")


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, logger=util.logger.name)
    return caplog


def test_a_config_can_name_the_reader(conll_file, nlp):
    config = {
        "train": {"@readers": READER, "path": str(conll_file(TEXT)), "limit": 2},
        "dev": {"@readers": READER, "path": str(conll_file(TEXT)), "sentences_per_doc": 0},
    }
    corpora = util.registry.resolve(config)
    assert [eg.text for eg in corpora["train"](nlp)] == [
        "U.N. envoy left Stoke-on-Trent.", "It's over."
    ]  # fmt: skip
    assert [eg.text for eg in corpora["dev"](nlp)] == [
        "U.N. envoy left Stoke-on-Trent. It's over.", "Oslo"
    ]  # fmt: skip


def test_predicted_docs_have_the_words_and_spaces_of_the_file_and_no_entities(conll_file, nlp):
    for example in create_conll_corpus(conll_file(TEXT))(nlp):
        assert [t.text_with_ws for t in example.x] == [t.text_with_ws for t in example.y]
        assert not example.x.ents
        assert example.x.vocab is example.y.vocab is nlp.vocab


def test_retokenize_predicts_on_the_tokenizers_tokens(conll_file, nlp):
    example = next(iter(ConllCorpus(conll_file(TEXT), retokenize=True)(nlp)))
    assert [t.text for t in example.x][-6:] == ["Stoke", "-", "on", "-", "Trent", "."]
    assert example.x.text == example.y.text
    # Example aligns gold entities with the other tokens.
    assert [(e.text, e.label_) for e in example.get_aligned_spans_y2x(example.y.ents)] == [
        ("U.N.", "ORG"), ("Stoke-on-Trent", "LOC")
    ]  # fmt: skip


def test_the_gold_entities_of_a_blank_prediction_all_count_as_missed(conll_file, nlp):
    examples = list(ConllCorpus(conll_file(TEXT))(nlp))
    assert Scorer.score_spans(examples, "ents")["ents_r"] == 0.0
    for example in examples:
        example.predicted.ents = example.get_aligned_spans_y2x(example.y.ents)
    assert Scorer.score_spans(examples, "ents")["ents_f"] == 1.0


def test_limit_counts_docs(conll_file, nlp):
    path = conll_file(TEXT)
    assert [len(list(ConllCorpus(path, limit=n)(nlp))) for n in (0, 1, 2, 9)] == [3, 1, 2, 3]


def test_the_file_is_parsed_and_reported_once(conll_file, nlp, log):
    path = conll_file(TEXT)
    corpus = ConllCorpus(path)
    first = [eg.text for eg in corpus(nlp)]
    path.unlink()
    assert [eg.text for eg in corpus(nlp)] == first
    (record,) = log.records
    assert record.levelname == "INFO"
    assert "BIO2 tags, documents: 2, sentences: 3, tokens: 10, entities: 3" in record.getMessage()


def test_repairs_are_warned_of(conll_file, nlp, log):
    list(ConllCorpus(conll_file("a B-X\nb I-X\n\na B-X\nb I-X\n\nc I-Y\n"))(nlp))
    (warning,) = [r.getMessage() for r in log.records if r.levelname == "WARNING"]
    assert "train.conll: tags that are not valid BIO2: 1 (inside_opens" in warning


@pytest.mark.parametrize(("sentences_per_doc", "n"), [(0, 1), (2, 1), (1, 0)])
def test_joining_sentences_without_document_borders_is_warned_of(
    conll_file, nlp, log, sentences_per_doc, n
):
    corpus = ConllCorpus(conll_file("a O\n\nb O\n"), sentences_per_doc=sentences_per_doc)
    list(corpus(nlp))
    warnings = [r.getMessage() for r in log.records if r.levelname == "WARNING"]
    assert len(warnings) == n
    assert all("no -DOCSTART- line" in warning for warning in warnings)


def test_a_single_border_at_the_top_is_warned_of(conll_file, nlp, log):
    """Label Studio's export: all texts are one document."""
    text = "-DOCSTART- -X- O\n" + "a O\n\n" * 3000
    assert len(list(ConllCorpus(conll_file(text), sentences_per_doc=0)(nlp))) == 1
    (warning,) = [r.getMessage() for r in log.records if r.levelname == "WARNING"]
    assert "there is a single -DOCSTART- line" in warning
    assert "one Doc (3,000 sentences)" in warning and "--sentences-per-doc 1" in warning


@pytest.mark.parametrize("name", ["data.spacy", "data.json", "data.jsonl", "data.parquet"])
def test_a_file_of_another_format_is_named(conll_file, nlp, name):
    with pytest.raises(ConllError, match=r"not a CoNLL-style file: .*Its reader is sp\w+\.\w+\.v1"):
        list(ConllCorpus(conll_file("x\x9c", name))(nlp))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"path": None}, ValueError, r"'path' \(corpora\.train\.path.*not set.*--paths\.train"),
        ({"path": "no/such.conll"}, FileNotFoundError, r"corpora\.train\.path.*does not exist"),
        ({"path": "."}, FileNotFoundError, "corpora.train.path.*is a folder"),
        ({"sentences_per_doc": -1}, ValueError, "'sentences_per_doc' is -1"),
        ({"limit": -1}, ValueError, "'limit' is -1: expected a number of Docs"),
    ],
)
def test_wrong_settings_are_named_when_the_corpus_is_made(conll_file, settings, error, message):
    config = {"@readers": READER, "path": str(conll_file(TEXT)), **settings}
    with pytest.raises(error, match=message):
        util.registry.resolve({"train": config})


def test_a_wrong_file_is_an_error_with_its_line(conll_file, nlp):
    with pytest.raises(ConllError, match=r"train\.conll, line 1: 1 column found"):
        list(ConllCorpus(conll_file("word\n"))(nlp))


def test_data_is_opened_by_its_form(conll_file, nlp, tmp_path):
    path = conll_file(TEXT)
    conll = list(open_corpus(path)(nlp))
    assert [eg.text for eg in conll] == [eg.text for eg in ConllCorpus(path)(nlp)]
    DocBin(docs=[example.reference for example in conll]).to_disk(tmp_path / "dev.spacy")
    for same in (tmp_path / "dev.spacy", str(tmp_path)):
        assert [eg.text for eg in open_corpus(same)(nlp)] == [eg.text for eg in conll]
    (tmp_path / "dev.jsonl").write_text('{"tokens": ["in", "Rome"], "spans": [[1, 2, "LOC"]]}')
    (example,) = open_corpus(tmp_path / "dev.jsonl")(nlp)
    assert example.text == "in Rome"
    (tmp_path / "empty").mkdir()
    for path, message in (
        (tmp_path / "empty", "no .spacy file"),
        ("nowhere.conll", "no such file"),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            open_corpus(path)


def test_natural_spacing_suits_a_tokenizer(shared_corpora, nlp):
    """The point of the spacing: the text tokenizes so that nearly all entities can be found."""
    corpus = ConllCorpus(shared_corpora / "conll2003/dev.txt", retokenize=True)
    examples = list(corpus(nlp))
    n_gold = sum(len(eg.y.ents) for eg in examples)
    n_aligned = sum(len(eg.get_aligned_spans_y2x(eg.y.ents)) for eg in examples)
    assert n_gold == 5_942
    assert n_aligned >= 0.998 * n_gold


def test_importing_corpora_adds_nothing_heavy_to_spacy():
    code = (
        "import sys, spacy; before = set(sys.modules); import spacy_llm2ner.corpora;"
        "print(sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['spacy_llm2ner']"
