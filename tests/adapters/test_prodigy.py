"""The recipe for Prodigy, which no package registry has: with a stand-in for its decorator."""

from __future__ import annotations

import json
import runpy
import sys
import types

import pytest
import spacy

from spacy_llm2ner.adapters import prodigy_recipe
from tests.pipeline.sample import DATA


def test_tasks_have_tokens_and_scored_spans(trained):
    """As Prodigy describes its tasks: offsets of characters, and inclusive ones of tokens."""
    stream = [{"text": text, "meta": {"source": n}} for n, (text, _) in enumerate(DATA)]
    tasks = list(prodigy_recipe.make_tasks(trained, stream))
    assert sorted(task["meta"]["source"] for task in tasks) == list(range(len(DATA)))
    lowest = [
        min((abs(span["score"] - 0.5) for span in task["spans"]), default=1.0) for task in tasks
    ]
    assert lowest == sorted(lowest)
    for task in tasks:
        text, phrases = DATA[task["meta"]["source"]]
        doc = trained(text)
        assert [token["text"] for token in task["tokens"]] == [token.text for token in doc]
        assert [token["id"] for token in task["tokens"]] == list(range(len(doc)))
        for token in task["tokens"]:
            assert text[token["start"] : token["end"]] == token["text"]
            assert token["ws"] == (text[token["end"] : token["end"] + 1] == " ")
        found = [(text[s["start"] : s["end"]], s["label"]) for s in task["spans"]]
        assert found == phrases
        for span, ent in zip(task["spans"], doc.ents, strict=True):
            assert (span["token_start"], span["token_end"]) == (ent.start, ent.end - 1)
            assert span["score"] == pytest.approx(ent._.score)


def test_the_recipe(trained_folder, tmp_path):
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text, _ in DATA))
    made = prodigy_recipe.correct("set", str(trained_folder), str(source))
    assert made["dataset"] == "set" and made["view_id"] == "ner_manual"
    assert {*made["config"]["labels"]} == {"PER", "LOC", "ORG"}
    assert len(list(made["stream"])) == len(DATA)
    given = ("set", str(trained_folder), str(source), "PER, DATE", "sc")
    made = prodigy_recipe.correct(*given)
    assert made["view_id"] == "spans_manual" and made["config"]["labels"] == ["PER", "DATE"]


def test_entities_without_scores():
    rules = spacy.blank("en")
    rules.add_pipe("entity_ruler").add_patterns([{"label": "LOC", "pattern": "Cologne"}])
    (task,) = prodigy_recipe.make_tasks(rules, [{"text": "In Cologne"}])
    assert "score" not in task["spans"][0] and task["meta"] == {}


def test_prodigy_finds_the_recipe(monkeypatch):
    """The file is run by its path (`-F`)."""
    registered = {}

    def recipe(name, **arguments):
        return lambda function: registered.update({name: (function, arguments)}) or function

    monkeypatch.setitem(sys.modules, "prodigy", types.SimpleNamespace(recipe=recipe))
    runpy.run_path(prodigy_recipe.__file__)
    function, arguments = registered["llm2ner.correct"]
    code = function.__code__
    assert list(arguments) == list(code.co_varnames[: code.co_argcount])
