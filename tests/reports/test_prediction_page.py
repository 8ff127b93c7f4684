import re
from html.parser import HTMLParser

import pytest
import spacy
from spacy.displacy.render import DEFAULT_LABEL_COLORS, EntityRenderer
from spacy.training import Example

from spacy_llm2ner.reports.colours import own_colours
from spacy_llm2ner.reports.error_classes import (
    BOUNDARY,
    CORRECT,
    LABEL,
    MISSED,
    SPURIOUS,
    UNJUDGED,
    Finding,
    Mark,
    Tally,
    judge,
    make_mark,
)
from spacy_llm2ner.reports.prediction_page import (
    LONG_TEXT,
    JudgedText,
    PredictionPage,
    render_prediction_page,
)

VOID = {"meta", "input", "br", "link", "img", "hr"}


class Page(HTMLParser):
    """Elements with their attributes, the open elements around them, and all their text."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open, self.comments = [], [], []
        self.feed(html)
        self.close()
        assert self.open == [], "unclosed elements"

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "attrs": dict(attrs), "text": "", "inside": list(self.open)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1]["tag"] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def handle_comment(self, data):
        self.comments.append(data)

    def all(self, tag, cls=None):
        return [
            e
            for e in self.elements
            if e["tag"] == tag and (cls is None or cls in e["attrs"].get("class", "").split())
        ]


NLP = spacy.blank("en")


def mark(doc, words, label, score=None):
    start = doc.text.index(words)
    span = doc.char_span(start, start + len(words), label=label, alignment_mode="expand")
    return make_mark(doc, span, score)


def judged(text, predicted, gold, number=1, spans=()):
    doc, reference = NLP.make_doc(text), NLP.make_doc(text)
    if gold is not None:
        golds = [mark(doc, *g) for g in gold]
        spacy_spans = [
            reference.char_span(g.start, g.end, label=g.label, alignment_mode="expand")
            for g in golds
        ]
    findings = judge(
        Example(doc, reference),
        [mark(doc, *p) for p in predicted],
        None if gold is None else spacy_spans,
    )
    marks = [mark(doc, *s) for s in spans]
    return JudgedText(number, text, [t.idx for t in doc], findings, marks, gold is not None)


def page_of(texts, n_texts=None, **settings):
    tally = Tally()
    for text in texts:
        tally.add(text.findings)
    report = PredictionPage(
        title=settings.pop("title", "Title"),
        facts=settings.pop("facts", [("Data", "data.spacy")]),
        texts=texts,
        tally=tally,
        n_texts=len(texts) if n_texts is None else n_texts,
        n_gold_texts=sum(text.has_gold for text in texts),
        **settings,
    )
    html = render_prediction_page(report)
    return Page(html), html


ERRORS_TEXT = "Ann Lee of Leeds United met Bo in Oslo near Rome."
PREDICTED = [("Ann Lee", "PER", 0.98), ("Leeds", "ORG", 0.6), ("Oslo", "ORG", 0.7), ("met", "X")]
GOLD = [("Ann Lee", "PER"), ("Leeds United", "ORG"), ("Oslo", "LOC"), ("Rome", "LOC")]


def test_every_kind_of_finding_is_marked_and_told_in_words():
    page, _ = page_of([judged(ERRORS_TEXT, PREDICTED, GOLD)])
    marks = page.all("mark")
    assert [m["attrs"]["class"] for m in marks] == [
        f"k-{k}" for k in (CORRECT, BOUNDARY, SPURIOUS, LABEL, MISSED)
    ]
    assert [m["text"] for m in marks] == [
        "Ann LeePER 0.98",
        "LeedsORG 0.60wrong boundaries",
        "metXspurious",
        "OsloORG 0.70wrong label",
        "RomeLOCmissed",
    ]
    assert marks[0]["attrs"]["title"] == "PER, probability 0.9800: correct"
    issues = [
        e["text"].split()
        for e in page.all("li")
        if any("issues" in i["attrs"].get("class", "") for i in e["inside"])
    ]
    assert [" ".join(words) for words in issues] == [
        "Wrong boundariespredicted “Leeds” ORG 0.60 gold “Leeds United” ORG",
        "Spuriouspredicted “met” X",
        "Wrong labelpredicted “Oslo” ORG 0.70 gold “Oslo” LOC",
        "Missedgold “Rome” LOC",
    ]
    (article,) = page.all("article")
    labels = {option["text"]: option["attrs"]["value"] for option in page.all("option")}
    assert set(labels) == {"any", "LOC", "ORG", "PER", "X"}
    assert set(article["attrs"]["data-marks"].split()) == {
        f"correct.{labels['PER']}.{labels['PER']}",
        f"boundary.{labels['ORG']}.{labels['ORG']}",
        f"spurious.{labels['X']}.-",
        f"label.{labels['ORG']}.{labels['LOC']}",
        f"missed.-.{labels['LOC']}",
    }
    kinds = {e["attrs"]["value"] for e in page.all("input") if e["attrs"].get("name") == "kind"}
    assert kinds == {"", "wrong", "label", "boundary", "missed", "spurious"}


def test_the_text_stays_as_it_is_around_marks():
    text = "Ann  Lee,\n\tof (Oslo)\nmet…"
    page, _ = page_of([judged(text, [("Oslo", "LOC")], [("Oslo", "LOC")])])
    (body,) = page.all("div", "entities")
    assert body["text"] == "Ann  Lee,\tof (OsloLOC)met…"
    assert len([b for b in page.all("br") if body in b["inside"]]) == text.count("\n")


def test_nothing_of_the_data_becomes_markup():
    evil = "<script>alert(1)</script>"
    text = judged(
        f"{evil} Oslo \"x' & <img src=x onerror=y>",
        [("Oslo", f'L"{evil}', 0.5)],
        [("Oslo", "<b>{kb_link}{}")],
        spans=[("Oslo", f'L"{evil}', 0.5), (evil, evil)],
    )
    page, html = page_of(
        [text], title=evil, facts=[(evil, f"'{evil}")], spans_key=f'"{evil}', language=evil
    )
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert all(not name.startswith("on") for e in page.elements for name in e["attrs"])
    assert page.all("title")[0]["text"] == page.all("h1")[0]["text"] == evil
    (body,) = page.all("div", "entities")
    assert body["text"].startswith(evil)
    assert html.lower().count("<script") == 1
    assert "<b>{kb_link}" not in html


def test_the_page_needs_nothing_else():
    page, html = page_of([judged(ERRORS_TEXT, PREDICTED, GOLD)])
    for element in page.elements:
        assert element["tag"] not in ("link", "img", "iframe", "object", "embed")
        assert "src" not in element["attrs"]
        assert element["attrs"].get("href", "#").startswith("#")
    assert not re.search(r"https?:|url\(|@import", html)
    policy = next(e["attrs"]["content"] for e in page.all("meta") if "content" in e["attrs"])
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]


def test_headings_landmarks_and_labels():
    page, _ = page_of([judged(ERRORS_TEXT, PREDICTED, GOLD)])
    assert page.all("html")[0]["attrs"]["lang"] == "en"
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert [h["text"] for h in page.all("h2")] == [
        "Exact boundaries and label",
        "4 errors",
        "Texts",
    ]
    assert [h["text"] for h in page.all("h3")] == ["Text 1"]
    ids = [e["attrs"]["id"] for e in page.elements if "id" in e["attrs"]]
    assert len(ids) == len(set(ids))
    for section in page.all("section"):
        assert section["attrs"]["aria-labelledby"] in ids
    for control in page.all("input") + page.all("select"):
        assert any(e["tag"] == "label" for e in control["inside"])
    (form,) = page.all("form")
    assert "hidden" in form["attrs"]  # shown by the script only


def test_scores_and_counts():
    page, _ = page_of([judged(ERRORS_TEXT, PREDICTED, GOLD)])
    (big,) = page.all("dl", "big")
    values = [e["text"] for e in page.all("dd") if big in e["inside"]]
    assert values == ["25.00", "25.00", "25.00"]
    rows = {}
    for row in page.all("tr")[1:]:
        cells = [e["text"] for e in page.elements if row in e["inside"] and e["tag"] == "td"]
        rows[row["text"][: -len("".join(cells))]] = cells
    assert rows == {
        "LOC": ["2", "0", "0.00", "0.00", "0.00"],
        "ORG": ["1", "2", "0.00", "0.00", "0.00"],
        "PER": ["1", "1", "100.00", "100.00", "100.00"],
        "X": ["0", "1", "n/a", "n/a", "n/a"],
    }
    assert [e["text"] for e in page.all("span", "count")] == ["1", "1", "0", "1", "1"]


def test_spans_beyond_the_entities_get_displacys_span_view():
    spans = [("University of Leeds", "ORG", 0.9), ("Leeds", "LOC", 0.7), ("<b>", "X")]
    text = judged("The University of Leeds, <b> it is.", spans[:1], spans[:1], spans=spans)
    page, _ = page_of([text])
    (details,) = page.all("details")
    assert 'Spans: 3 in doc.spans["sc"], 2 not among the entities' in details["text"]
    starts = [e["text"] for e in page.all("span", "start")]
    assert starts == ["ORG 0.90", "LOC 0.70", "X"]
    (view,) = page.all("div", "spans")
    shown = view["text"]
    for start in starts:
        shown = shown.replace(start, "", 1)
    assert shown == "The University of Leeds, <b> it is. "
    assert view["inside"][-1]["attrs"]["style"] == "--rows:2"


def test_overlapping_predictions_are_drawn_as_spans():
    predicted = [("University of Leeds", "ORG", 0.9), ("Leeds", "LOC", 0.7)]
    page, _ = page_of(
        [
            judged(
                "The University of Leeds in Oslo.", predicted, [("Oslo", "LOC"), predicted[0][:2]]
            )
        ],
        unit="spans",
    )
    assert page.all("mark") == []
    starts = [e["text"] for e in page.all("span", "start")]
    assert starts == ["ORG 0.90", "LOC 0.70 spurious", "LOC missed"]


def test_missed_spans_that_overlap_a_prediction_are_told_beneath():
    gold = [("Bank", "ORG"), ("Zealand", "LOC")]
    page, _ = page_of([judged("Bank of Zealand", [("Bank of Zealand", "ORG")], gold)])
    assert [m["attrs"]["class"] for m in page.all("mark")] == ["k-boundary"]
    assert [e["text"] for e in page.all("b", "kind")] == ["Wrong boundaries", "Missed"]


def test_without_gold_there_are_no_scores_and_no_errors():
    page, _ = page_of([judged("Oslo.", [("Oslo", "LOC", 0.5)], None)])
    assert "The data has no gold entities" in page.all("main")[0]["text"]
    assert page.all("table") == []
    assert [m["attrs"]["class"] for m in page.all("mark")] == [f"k-{UNJUDGED}"]
    assert [e for e in page.all("input") if e["attrs"].get("name") == "kind"] == []
    assert len(page.all("form")) == 1
    assert page.all("span", "badge") == []


def test_texts_without_gold_among_others_say_so():
    page, _ = page_of([judged("Oslo.", [], []), judged("Oslo.", [("Oslo", "LOC")], None, number=2)])
    badges = [b["text"] for b in page.all("span", "badge")]
    assert badges == ["no entities", "no gold annotation"]


def test_no_texts_at_all():
    page, _ = page_of([])
    assert "The data contains no texts." in page.all("main")[0]["text"]
    assert page.all("form") == page.all("article") == []


def test_texts_left_out_are_counted():
    texts = [judged("Oslo.", [], [("Oslo", "LOC")], number=n) for n in (1, 2, 3)]
    tally = Tally()
    for text in texts:
        tally.add(text.findings)
    page = Page(render_prediction_page(PredictionPage("T", [], texts[:1], tally, 3, 3)))
    assert len(page.all("article")) == 1
    note = page.all("p", "soft")[0]["text"]
    assert note.startswith("The first 1 of 3 texts. The other 2, with 2 of the errors")


@pytest.mark.parametrize(
    ("text", "direction"),
    [("Oslo القاهرة", "ltr"), ("«القاهرة» Oslo", "rtl"), ("12 שלום Oslo", "rtl"), ("Oslo", "ltr")],
)
def test_direction_of_the_first_letter(text, direction):
    page, _ = page_of([judged(text, [], None)])
    (body,) = page.all("div", "entities")
    assert f"direction: {direction}" in body["attrs"]["style"]


def test_long_texts_scroll_and_can_be_reached_by_keyboard():
    text = "Oslo. " * (LONG_TEXT // 5)
    page, _ = page_of([judged(text, [("Oslo", "LOC")], []), judged("Oslo.", [], [], number=2)])
    (long,) = page.all("div", "long")
    assert long["attrs"]["tabindex"] == "0"
    assert long["attrs"]["role"] == "region"
    assert "Oslo. Oslo." in long["text"]


ONTONOTES = list(DEFAULT_LABEL_COLORS)  # 18 labels


def test_each_label_has_a_colour_of_its_own():
    """displaCy's own where it has one; labels that share one there are told apart."""
    names = ["", *ONTONOTES, *"ABCDEFGHIJ"]
    text = " ".join(f"w{i:02}" for i in range(len(names)))
    findings = [
        Finding(UNJUDGED, Mark(text.index(f"w{i:02}"), text.index(f"w{i:02}") + 3, i, i + 1, name))
        for i, name in enumerate(names)
    ]
    starts = [4 * i for i in range(len(names))]
    page, _ = page_of([JudgedText(1, text, starts, findings, (), False)])
    colours = [m["attrs"]["style"] for m in page.all("mark")]
    assert len(set(colours)) == len(names)
    assert page.all("mark")[0]["text"] == "w00(no label)"
    drawn = dict(zip(names, colours, strict=True))
    for label in ("ORG", "GPE", "PERSON", "DATE"):
        assert DEFAULT_LABEL_COLORS[label] in drawn[label]


def test_displacy_knows_our_labels_and_keeps_its_own():
    """In any page of displaCy, by the entry point of the installed package."""
    colours = EntityRenderer({}).colors
    assert colours["PER"] == colours["PERSON"] == DEFAULT_LABEL_COLORS["PERSON"]
    own = own_colours(["MISC", "MENTION"])
    assert [colours["MISC"], colours["MENTION"]] == [own["MISC"], own["MENTION"]]
    assert {label: colours[label] for label in DEFAULT_LABEL_COLORS} == DEFAULT_LABEL_COLORS


def _luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one, other):
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_colours_are_legible_in_light_and_dark():
    _, html = page_of([])
    light, dark = re.findall(r":root \{(.*?)\}", html, re.S)[:2]
    assert ".slice { --tint: var(--shade); --card: #000; }" in html
    for theme in (light, dark):
        colour = dict(re.findall(r"--([\w-]+): (#\w{6})", theme))
        pairs = [("ink", "card"), ("ink", "page")]
        pairs += [("soft", "card"), ("soft", "page"), ("bad", "card"), ("bad", "bad-soft")]
        pairs += [("good", "good-soft"), ("accent", "card"), ("ink", "bad-soft")]
        for front, back in pairs:
            assert _contrast(colour[front], colour[back]) >= 4.5, (front, back)
        part, shade, heat = (
            int(re.search(rf"--{name}: (\d+)%", theme)[1]) / 100
            for name in ("tint", "shade", "heat")
        )
        # Of the heat map of `explain`, the cell that differs most from the page.
        warmest = _mixed(colour["accent"], colour["page"], heat)
        assert _contrast(colour["ink"], warmest) >= 4.5
        for label, own in own_colours([*ONTONOTES, *map(str, range(24))]).items():
            if own.startswith("#"):  # the others are lighter or darker than one of these
                back = _mixed(own, colour["card"], part)
                assert _contrast(colour["ink"], back) >= 4.5, (label, own)
                # A line of a chart or below a span: what is no text needs a contrast of 3.
                line = _mixed(own, "#000000", shade)
                assert _contrast(line, colour["card"]) >= 3, (label, own)


def _mixed(one, other, part):
    """As CSS mixes colours in sRGB."""
    pairs = [(int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(part * a + (1 - part) * b):02x}" for a, b in pairs)


def test_the_words_of_a_short_span_stay_together_and_those_of_a_long_one_may_break():
    short, long = "Ada Lovelace", "Department of Mathematical Sciences"
    text = judged(f"{short} of the {long} won.", [], [], spans=[(short, "PER"), (long, "ORG")])
    page, _ = page_of([text])
    words = [
        "".join(c for c in e["text"]).replace("PER", "").replace("ORG", "").strip()
        for e in page.all("span", "sp")
    ]
    assert words == [short, "Department", "of", "Mathematical", "Sciences"]


def test_a_label_holds_words_off_only_where_another_would_be_below_it():
    """In the view of spans: "Charles" and "Charles Babbage" have their labels in two lines."""
    far, near = [("Charles", "PER"), ("Charles Babbage", "PER")], [("Bo", "PERSON"), ("Al", "ORG")]
    for spans, crowded in ((far, False), (near, True)):
        text = judged("Charles Babbage of Bo Al met nobody at all.", [], [], spans=spans)
        page, _ = page_of([text])
        rooms = [e["attrs"]["style"] for e in page.all("span", "room")]
        assert any("--room:none" not in style for style in rooms) is crowded
