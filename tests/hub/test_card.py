"""Model cards: complete, valid meta data, figures from the metrics, nothing left to fill in."""

from __future__ import annotations

import hashlib
import json
import re
from xml.etree import ElementTree

import pytest
import spacy
import srsly
import yaml

import spacy_llm2ner
from spacy_llm2ner.hub.card import make_card
from spacy_llm2ner.hub.llm_facts import llm_name
from spacy_llm2ner.hub.picture import scores_picture
from spacy_llm2ner.pipeline.pretrained_head import FOLDER, META
from tests.pipeline.sample import examples
from tests.tiny import make_nlp
from tests.tommer.test_architecture import make
from tests.tommer.test_architecture import published as published  # a fixture

# What templates of cards leave behind.
PLACEHOLDER = re.compile(
    r"\{\{|\}\}|\[more information|\bTODO\b|\bTBD\b|\bFIXME\b|<[a-z_ ]+>|\bNone\b|\bnull\b",
    re.IGNORECASE,
)
SCORES = {
    "ents_p": 0.9123, "ents_r": 0.8, "ents_f": 0.8525,
    "ents_per_type": {
        "PER": {"p": 1.0, "r": 0.5, "f": 0.6667}, "LOC": {"p": 0.5, "r": 1, "f": 0.6667},
    },
}  # fmt: skip


def parse(card: str) -> tuple[dict, str]:
    _, meta, body = card.split("---\n", 2)
    return yaml.safe_load(meta), body


def prose(body: str) -> str:
    """Without code and settings, where `null` is a value."""
    return re.sub(r"```.*?```|`[^`]*`", "", body, flags=re.DOTALL)


def test_the_meta_data_is_what_the_hub_reads(trained):
    meta, _ = parse(make_card(trained, metrics=SCORES, dataset="my data", license="Apache-2.0"))
    assert meta["library_name"] == "spacy"
    assert meta["pipeline_tag"] == "token-classification"
    assert meta["license"] == "apache-2.0"
    assert meta["language"] == ["en"]
    assert "base_model" not in meta  # a folder is no model of the hub
    assert {"spacy", "named-entity-recognition"} <= set(meta["tags"])
    (index,) = meta["model-index"]
    (result,) = index["results"]
    assert result["dataset"]["name"] == "my data"
    assert {m["type"]: m["value"] for m in result["metrics"]} == {
        "precision": 0.9123, "recall": 0.8, "f1": 0.8525,
    }  # fmt: skip


def test_the_body_says_everything_and_leaves_nothing_open(trained):
    card = make_card(trained, metrics=SCORES, dataset="my data", title='Quotes "and" colons: yes')
    meta, body = parse(card)
    assert meta["model-index"][0]["name"] == 'Quotes "and" colons: yes'
    assert "@software{spacy_llm2ner," in body and f"version={{{spacy_llm2ner.__version__}}}" in body
    for heading in ("Model details", "Usage", "Training procedure", "Evaluation", "Limitations",
                    "Citation", "License"):  # fmt: skip
        assert f"\n## {heading}\n" in body
    assert not PLACEHOLDER.search(prose(body)), PLACEHOLDER.search(prose(body))
    assert "| all | 91.23 | 80.00 | 85.25 |" in body
    assert "| PER | 100.00 | 50.00 | 66.67 |" in body
    shim = trained.get_pipe("llm2ner").model.get_ref("head").shims[0]
    count = sum(p.numel() for p in shim.module.parameters())
    assert f"{count:,} parameters" in body
    identity = trained.get_pipe("llm2ner").model.get_ref("llm").shims[0].llm.identity
    assert identity["model"] in body


def test_scores_of_the_training_are_used_if_no_others_are_given(trained):
    trained.meta["performance"] = SCORES
    _, body = parse(make_card(trained))
    assert "on the development data of its training" in body
    assert "| all | 91.23 |" in body


def test_without_scores_the_card_says_so(trained):
    trained.meta["performance"] = {}
    meta, body = parse(make_card(trained))
    assert "model-index" not in meta
    assert "No scores are stored" in body
    assert meta["license"] == "unknown"


def test_the_usage_of_the_card_runs(trained, tmp_path, capsys, monkeypatch):
    trained.to_disk(tmp_path)
    _, body = parse(make_card(trained, metrics=SCORES))
    (code,) = re.findall(r"```python\n(.*?)```", body, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    doc = trained("Ada Lovelace met Charles Babbage in London.")
    assert capsys.readouterr().out.split() == [
        *(word for ent in doc.ents for word in f"{ent.text} {ent.label_} {ent._.score}".split()),
        *str(doc.spans["sc"]).split(),
    ]


def test_the_card_says_which_llms_the_head_takes(trained, tmp_path):
    """As the check at the first text decides: the very weights; for a shipped head, copies too."""
    _, body = parse(make_card(trained))
    assert body.count("an LLM with other weights is refused") == 2
    assert "L2N-W03" not in body
    nlp = spacy.blank("en")
    elsewhere = tmp_path / "SmolLM2-135M-Instruct"
    config = {"pretrained": "mentions", "model": {"llm": {"name": str(elsewhere)}}}
    nlp.add_pipe("llm2ner", config=config)
    _, body = parse(make_card(nlp))
    assert body.count("runs with a warning [L2N-W03]") == 2
    assert "an LLM with other weights is refused" not in body


def test_the_languages_of_a_shipped_head(tmp_path):
    nlp = spacy.blank("en")
    model = {"llm": {"name": str(tmp_path / "gemma-3-270m")}}
    nlp.add_pipe("llm2ner", config={"pretrained": "entities", "model": model})
    front, _ = parse(make_card(nlp))
    assert front["language"] == ["en", "da", "pt", "sv", "zh"]


def test_the_usage_reads_only_what_the_component_writes(tiny_llm, trained):
    _, body = parse(make_card(trained))
    assert 'print(doc.spans["sc"])' in body
    _, body = parse(make_card(make_nlp(tiny_llm, annotate="ents")))
    assert "doc.spans" not in body


def test_names_with_markup_stay_text(trained):
    evil = '<img src=x onerror="y">|&{{ title }}'
    scores = {**SCORES, "ents_per_type": {evil: {"p": 1.0, "r": 0.5, "f": 0.6667}}}
    meta, body = parse(make_card(trained, metrics=scores, dataset=evil, title=evil, license="mit"))
    assert meta["model-index"][0]["name"] == evil
    assert meta["model-index"][0]["results"][0]["dataset"]["name"] == evil
    assert "<img" not in body
    shown = '&lt;img src=x onerror="y">\\|&amp;{{ title }}'
    assert f"\n# {shown}\n" in body
    assert f"| {shown} | 100.00 | 50.00 | 66.67 |" in body


def test_a_tommer_head_is_called_one(published, tiny_llm):
    meta, body = parse(make_card(make(tiny_llm, source=str(published))))
    assert "tommer" in meta["tags"]
    assert "starts from the published ToMMeR head" in body
    assert "`MENTION`" in body
    assert "The text is read once" in body


def test_a_pipeline_without_a_head_is_a_clear_error():
    with pytest.raises(ValueError, match="the pipeline has none"):
        make_card(spacy.blank("en"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("org/model", "org/model"),
        ("assets/llm/SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct"),
        ("/models/tiny.gguf", "tiny"),
        ("./org/model", "model"),
    ],
)
def test_names_of_llms(name, expected):
    assert llm_name(name) == expected


def test_the_card_names_the_files_and_how_to_get_them(trained, tiny_llm, tmp_path):
    _, body = parse(make_card(trained))
    for file in ("model.safetensors", "tokenizer.json"):
        data = (tiny_llm / file).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        assert f"| `{file}` | {len(data):,} | `{digest}` |" in body
    assert "`tiny-llama` of the machine that this pipeline was trained on" in body
    # Files of another LLM in that place are not those of the pipeline.
    shim = trained.get_pipe("llm2ner").model.layers[0].shims[0]
    shim.expect({**shim.expected, "model": "0" * 64})
    _, body = parse(make_card(trained))
    assert "model.safetensors" not in body
    # What the pipeline carries needs no other files.
    trained.get_pipe_config("llm2ner")["bundle_llm"] = True
    _, body = parse(make_card(trained))
    assert "in the folder `llm2ner/llm`" in body and "not part of this repository" not in body


def test_a_model_of_the_hub_is_named_only_if_the_pipeline_takes_it(tiny_llm):
    """The LLM of `make llm` has other weights than the hub's model of that name."""
    hub = "HuggingFaceTB/SmolLM2-135M-Instruct"
    nlp = make_nlp(tiny_llm)
    shim = nlp.get_pipe("llm2ner").model.layers[0].shims[0]
    shipped = srsly.read_json(FOLDER / "mentions" / "SmolLM2-135M-Instruct" / META)["identity"]
    shim.expect({**shim.expected, "model": shipped["model"], "tokenizer": shipped["tokenizer"]})
    meta, body = parse(make_card(nlp))
    assert "base_model" not in meta and hub not in body
    assert "`make llm`" in body and "`python scripts/fetch_default_llm.py`" in body
    # Nor does an override of the name make it the hub's.
    nlp = make_nlp(hub)
    nlp.get_pipe("llm2ner").model.layers[0].shims[0].expect(shim.expected)
    assert "base_model" not in parse(make_card(nlp))[0]
    nlp = make_nlp("org/some-llm", llm={"revision": "abc"})
    meta, body = parse(make_card(nlp))
    assert meta["base_model"] == ["org/some-llm"]
    assert "is `org/some-llm` on the Hugging Face hub, revision `abc`" in body


def test_the_picture_shows_the_scores():
    rows = [("all", [0.5, 0.25, 0.75]), ("A<&", [None, None, None])] + [("x", [1, 1, 1])] * 60
    root = ElementTree.fromstring(scores_picture(rows, 'On "my" <data>'))
    svg = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in root.iter(f"{svg}text")]
    assert texts[0] == 'On "my" <data>'
    assert {"75.00", "A<&", "-", "100.00", "and 22 more"} <= set(texts)
    bars = [float(e.get("width")) for e in root.iter(f"{svg}rect") if e.get("height") == "18"]
    assert len(bars) == 39 and bars[0] == pytest.approx(0.75 * bars[1])
    (middle,) = {e.get("x") for e in root.iter(f"{svg}text") if e.text == "50"}
    assert float(next(root.iter(f"{svg}circle")).get("cx")) == float(middle)


def test_the_command_writes_the_card(trained, tmp_path):
    from spacy_llm2ner.cli.card import write_card

    trained.to_disk(tmp_path / "model")
    (tmp_path / "scores.json").write_text(json.dumps(SCORES))
    path = write_card(tmp_path / "model", metrics=tmp_path / "scores.json", dataset="my data")
    assert path == tmp_path / "model" / "README.md"
    assert "| all | 91.23 |" in path.read_text(encoding="utf8")
    assert "](scores.svg)" in path.read_text(encoding="utf8")
    assert "91.23" not in (path.parent / "scores.svg").read_text(encoding="utf8")  # a mark only
    assert "85.25" in (path.parent / "scores.svg").read_text(encoding="utf8")
    other = write_card(tmp_path / "model", tmp_path / "cards" / "one.md")
    assert other.is_file()
    # What the data is, is not guessed.
    assert "on data that was not named:" in make_card(trained, metrics=SCORES)
    (tmp_path / "scores.json").write_text("[1]")
    with pytest.raises(ValueError, match="contains no scores"):
        write_card(tmp_path / "model", metrics=tmp_path / "scores.json")
    assert spacy.load(tmp_path / "model").evaluate(examples(trained))["ents_f"] > 0.9
