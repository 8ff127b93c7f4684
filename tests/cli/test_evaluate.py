import json

import pytest
import spacy
from spacy.tokens import DocBin, Span
from typer.testing import CliRunner

from spacy_llm2ner.cli import llm2ner_app
from spacy_llm2ner.cli.data import DataOptions
from spacy_llm2ner.cli.evaluate import BELOW, evaluate_file
from spacy_llm2ner.evaluation.evaluate import EvaluationSettings
from spacy_llm2ner.evaluation.intervals import Resampling
from tests.cli.test_visualize import PATTERNS, make_data
from tests.reports.test_prediction_page import Page

FEW = ("--resamples", "50")
# As T-NER writes them (tner/ner_model.py).
TNER_KEYS = {f"{m}/{k}" for m in ("micro", "macro") for k in ("f1", "f1_ci", "recall", "precision")}
CONLL = """-DOCSTART- O

Ada B-PER
Lovelace I-PER
came O

London B-LOC
slept O

-DOCSTART- O

Nobody O
vote O
"""


def make_model(path, patterns=PATTERNS, *, spans=False):
    nlp = spacy.blank("xx")
    if spans:
        config = {"spans_key": "sc", "annotate_ents": False}
        ruler = nlp.add_pipe("span_ruler", config=config)
    else:
        ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns(patterns)
    nlp.to_disk(path)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    make_data(folder / "data.spacy")
    make_model(folder / "model")
    make_model(folder / "other", PATTERNS[:1])
    (folder / "data.conll").write_text(CONLL)
    return folder


@pytest.fixture
def place(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


def run(*args):
    result = CliRunner().invoke(llm2ner_app, ["evaluate", *map(str, args), *FEW])
    return result.exit_code, " ".join(result.output.split())


def test_all_figures_go_to_console_and_json(place):
    code, output = run(
        "model", "data.spacy", "--baseline", "other", "--casing", "--train", "data.spacy",
        "-o", "new/scores.json",
    )  # fmt: skip
    assert code == 0, output
    found = json.loads((place / "new" / "scores.json").read_text())
    assert {*found} >= TNER_KEYS
    for scores in (found, found["casing"]["lower"], found["casing"]["UPPER"], found["baseline"]):
        theirs = scores["per_entity_metric"]
        assert all({"f1", "f1_ci", "recall", "precision"} <= {*label} for label in theirs.values())
        assert {*scores["micro/f1_ci"]} == {"90", "95"}
    assert found["per_entity_metric"].keys() == {"PER", "LOC", "ORG"}
    assert (found["texts"], found["annotated_texts"], found["gold"]) == (4, 3, 4)
    assert found["errors"] == {
        "correct": 1, "missed": 1, "spurious": 1, "boundary": 1, "type": 1, "both": 0,
    }  # fmt: skip
    assert found["confusion"]["LOC"] == {"LOC": 1, "ORG": 1, "(none)": 1}
    assert found["metrics"]["spaCy"]["f1"] == found["micro/f1"] == 0.25
    assert found["casing"]["lower"]["micro/f1"] == 0  # the rules have capital letters
    assert found["calibration"] is None
    difference = found["micro/f1"] - found["baseline"]["micro/f1"]
    assert found["difference"]["micro"]["f1"] == pytest.approx(difference)
    assert {*found["slices"]} >= {"span length", "text length", "position"}
    for said in ("By label", "By span length", "By casing", "No difference is shown", "Wrote new"):
        assert said in output, said


def test_scores_equal_those_of_spacy(place):
    report = evaluate_file("model", place / "data.spacy", EvaluationSettings())
    nlp = spacy.load("model")
    docs = list(DocBin().from_disk(place / "data.spacy").get_docs(nlp.vocab))
    expected = nlp.evaluate([spacy.training.Example(nlp.make_doc(d.text), d) for d in docs])
    assert report.evaluation.micro.value == pytest.approx([expected[f"ents_{p}"] for p in "prf"])


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("data.spacy", "--fail-under", "50"), "F1 is 25.00, below --fail-under 50"),
        (("data.spacy", "--fail-under", "25"), None),
        (("data.spacy", "--annotation", "spans"), "writes no doc.spans['sc']"),
        (("data.spacy", "--annotation", "both"), "accepted are"),
        (("data.spacy", "--resample", "line"), "accepted are"),
        (("data.spacy", "--slice", "genre"), "no text has 'genre'"),
        (("data.spacy", "--resample", "sentence"), "text 1 of the data has no sentence boundaries"),
        (("none.spacy",), "there is no such file"),
    ],
)
def test_exit_codes(place, args, says):
    code, output = run("model", *args)
    assert code == (0 if says is None else BELOW if "--fail-under" in args else 1), output
    assert says is None or says in output


def test_data_without_gold_spans_has_no_score(place):
    (place / "empty.jsonl").write_text('{"tokens": ["Ada", "Lovelace"], "spans": []}\n')
    code, output = run("model", "empty.jsonl", "-o", "empty.json")
    assert code == 0 and "without any gold span" in output and "n/a n/a n/a n/a" in output
    found = json.loads((place / "empty.json").read_text())
    assert all(found[key] is None for key in TNER_KEYS)
    code, output = run("model", "empty.jsonl", "--fail-under", "0")
    assert code == 1 and "has no F1 to judge" in output


@pytest.mark.parametrize(
    ("unit", "size", "number"),
    [("text", 1, 3), ("sentence", 0, 3), ("document", 1, 2), ("document", 0, 2), ("text", 0, 2)],
)
def test_what_the_bootstrap_draws(place, unit, size, number):
    settings = EvaluationSettings(unit=unit, resampling=Resampling(20))
    options = DataOptions(sentences_per_doc=size)
    found = evaluate_file("model", place / "data.conll", settings, options=options).evaluation
    assert found.matches.n_units == number
    assert found.labels.total.sum(axis=0).tolist() == [1, 3, 1, 2]


def test_slices_by_user_data_and_by_column(place):
    nlp = spacy.blank("xx")
    docs = DocBin(store_user_data=True)
    for genre, text in (("news", "Ada Lovelace came"), ("fiction", "London slept")):
        doc = nlp.make_doc(text)
        doc.set_ents([Span(doc, 0, len(doc) - 1, label="PER")])
        doc.user_data["genre"] = genre
        docs.add(doc)
    docs.to_disk("own.spacy")
    rows = [
        {"tokens": ["Ada", "Lovelace", "came"], "spans": [[0, 2, "PER"]], "genre": "news"},
        {"tokens": ["London", "slept"], "spans": [[0, 1, "PER"]], "genre": "fiction"},
    ]
    (place / "own.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    from datasets import Dataset

    tags = [["B-PER", "I-PER", "O"], ["B-PER", "O"]]
    columns = {"tokens": [row["tokens"] for row in rows], "tags": tags}
    Dataset.from_dict({**columns, "genre": ["news", "fiction"]}).save_to_disk("own")
    settings = EvaluationSettings(slices=["genre"], resampling=Resampling(20))
    for data in ("own.spacy", "own.jsonl", "own"):
        counts = evaluate_file("model", place / data, settings).evaluation.slices["genre"]
        found = dict(zip(counts.categories, counts.total.tolist(), strict=True))
        assert found == {"news": [1, 1, 1, 1], "fiction": [0, 1, 0, 1]}, data
    code, output = run("model", "own.jsonl", "--slice", "topic")
    assert code == 1 and "nor a column of the data is called 'topic'" in output


@pytest.mark.parametrize("sentences", [0, 1, 2])
def test_slices_by_a_column_of_words(place, sentences):
    """A span has the value of its first word, also in docs of several sentences."""
    rows = [
        ("Ada", "NNP", "news", "B-PER"), ("Lovelace", "NNP", "news", "I-PER"), ("came", "VBD",
         "news", "O"), None, ("-DOCSTART-", "-X-", "-", "O"), None,
        ("London", "NN", "web", "B-PER"), ("slept", "VBD", "web", "O"),
    ]  # fmt: skip
    columns = "\n".join(" ".join(row) if row else "" for row in rows) + "\n"
    (place / "columns.conll").write_text(columns)
    plus = "\n".join(
        "\t".join(row) if row else "" for row in rows if row is None or row[1] != "-X-"
    )
    (place / "columns.conllup").write_text(f"# global.columns = FORM POS GENRE NER\n{plus}\n\n")
    options = DataOptions(sentences_per_doc=sentences)
    for data, keys in (("columns.conll", ("2", "-3")), ("columns.conllup", ("GENRE", "POS"))):
        settings = EvaluationSettings(slices=keys, resampling=Resampling(20))
        found = evaluate_file("model", place / data, settings, options=options).evaluation.slices
        totals = [
            dict(zip(found[key].categories, found[key].total.tolist(), strict=True)) for key in keys
        ]
        assert totals[0] == {"news": [1, 1, 1, 1], "web": [0, 1, 0, 1]}, data
        assert totals[1] == {"NNP": [1, 1, 1, 1], "NN": [0, 1, 0, 1]}, data
    for data in ("columns.conll", "columns.conllup"):
        code, output = run("model", data, "--slice", "7")
        assert code == 1 and "nor a column of the data is called '7'" in output


def test_span_groups_of_any_component(place):
    make_model(place / "spans", [*PATTERNS, {"label": "PER", "pattern": "Lovelace"}], spans=True)
    rows = [{"tokens": ["Ada", "Lovelace", "came"], "spans": [[0, 2, "PER"], [1, 2, "PER"]]}]
    (place / "nested.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, output = run("spans", "nested.jsonl", "-o", "scores.json", "--baseline", "spans")
    assert code == 0, output
    found = json.loads((place / "scores.json").read_text())
    assert (found["annotation"], found["spans_key"], found["micro/f1"]) == ("spans", "sc", 1)
    assert {*found["slices"]["nesting"]} == {"inside another", "around another"}
    assert found["difference"]["micro"]["p_randomisation"]["f1"] == 1
    code, output = run("spans", "nested.jsonl", "--baseline", "model")
    assert code == 1 and "writes no doc.spans['sc']" in output


def test_the_report_is_a_page_of_the_same_figures(place):
    code, output = run(
        "model", "data.spacy", "--report", "new/page.html", "-o", "same.json", "-b", "other",
        "--casing",
    )  # fmt: skip
    assert code == 0 and "Wrote new/page.html" in output, output
    page = Page((place / "new" / "page.html").read_text(encoding="utf8"))
    f1 = 100 * json.loads((place / "same.json").read_text())["micro/f1"]
    assert page.all("dd")[len(page.all("dt")) - 3]["text"].startswith(f"{f1:.2f}")
    assert page.all("h1")[0]["text"] == "xx_pipeline 0.0.0 on data.spacy"
    assert "Comparison with other" in [e["text"] for e in page.all("h2")]
    assert [e["attrs"]["id"] for e in page.all("article")] == ["t1", "t2", "t3", "t4"]
    assert "By casing of the texts" in [e["text"] for e in page.all("h3")]
    code, output = run("model", "data.spacy", "--report", "new/page.html")
    assert code == 1 and "--force overwrites it" in output


@pytest.mark.parametrize("annotate", ["ents", "spans", "both"])
def test_the_scores_below_the_threshold_leave_the_figures_as_they_are(
    trained_folder, tmp_path, annotate
):
    """The copy of the component that finds them is gone before other texts are read."""
    nlp = spacy.load(trained_folder, config={"components.llm2ner.annotate": annotate})
    nlp.to_disk(tmp_path / "model")
    data = make_data(tmp_path / "data.spacy")
    settings = EvaluationSettings(resampling=Resampling(20))
    plain, with_page = (
        evaluate_file(tmp_path / "model", data, settings, casing=True, with_page=flag)
        for flag in (False, True)
    )
    assert with_page.as_json() == plain.as_json()
    assert plain.page is None
    names = {part.name for part in with_page.page.parts}
    assert names >= {"curves", "distributions", "reliability"}
    labels = next(part.data for part in with_page.page.parts if part.name == "labels")
    assert labels.has_thresholds
