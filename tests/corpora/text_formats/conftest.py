import json

import pytest
import spacy

from spacy_llm2ner.corpora import TextCorpus


@pytest.fixture(scope="session")
def nlp():
    return spacy.blank("en")


@pytest.fixture
def read(tmp_path, nlp):
    """Read a file: the text and the spans of each doc, and the findings."""

    def read(content, name="data.jsonl", **settings):
        path = tmp_path / name
        if isinstance(content, str):
            path.write_bytes(content.encode("utf8", "surrogatepass"))
        elif name.endswith(".jsonl"):
            path.write_text("\n".join(map(json.dumps, content)), encoding="utf8")
        else:
            path.write_text(json.dumps(content), encoding="utf8")
        corpus = TextCorpus(path, **settings)
        docs = [example.reference for example in corpus(nlp)]
        found = [(doc.text, [(s.text, s.label_) for s in doc.spans["sc"]]) for doc in docs]
        return found, corpus.file.report.findings

    return read
