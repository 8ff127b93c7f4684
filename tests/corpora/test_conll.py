import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_llm2ner.corpora import ConllError, parse_conll, read_conll

FOUR_COLUMNS = """-DOCSTART- -X- -X- O

Anna NNP B-NP B-PER
Weber NNP I-NP I-PER
left VBD B-VP O
Oslo NNP B-NP B-LOC
. . O O

She PRP B-NP O

-DOCSTART- -X- -X- O

Bergen NNP B-NP B-LOC
"""


def words(file):
    return [[s.words for s in document.sentences] for document in file.documents]


def test_four_columns_with_document_borders(conll_file):
    path = conll_file(FOUR_COLUMNS)
    file = read_conll(path)
    assert words(file) == [[["Anna", "Weber", "left", "Oslo", "."], ["She"]], [["Bergen"]]]
    first = file.documents[0].sentences[0]
    assert first.spans == [(0, 2, "PER"), (3, 4, "LOC")]
    assert first.tags == ["B-PER", "I-PER", "O", "B-LOC", "O"]
    assert [s.line for d in file.documents for s in d.sentences] == [3, 9, 13]
    assert [(d.source, d.line) for d in file.documents] == [(str(path), 1), (str(path), 11)]
    report = file.report
    assert (report.documents, report.sentences, report.tokens) == (2, 3, 7)
    assert (report.scheme, report.entities, report.repairs) == ("BIO2", {"LOC": 2, "PER": 1}, {})
    assert report.warnings() == []
    assert str(report).endswith(
        "BIO2 tags, documents: 2, sentences: 3, tokens: 7, entities: 3 (LOC 2, PER 1)"
    )


@pytest.mark.parametrize("blank", ["", "\t", "  ", " \t "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_blank_lines_line_ends_and_byte_order_mark(conll_file, blank, end, bom):
    path = conll_file(bom + end.join(["a\tO", "b\tB-X", blank, blank, "c\tO"]))
    assert words(read_conll(path)) == [[["a", "b"], ["c"]]]


def test_blanks_and_tabs_separate_columns_and_nothing_else_does(conll_file):
    odd = ["no\u00a0break", "zero\u200bwidth", "\u2028", "\x85", "ideographic\u3000", "#", "\u00a0"]
    path = conll_file("".join(f"{word} \t O\n" for word in odd))
    assert words(read_conll(path)) == [[odd]]


def test_other_columns(conll_file):
    file = read_conll(conll_file("B-X 1 a\nI-X 2 b\n"), word_column=-1, tag_column=0)
    assert words(file) == [[["a", "b"]]]
    assert file.documents[0].sentences[0].spans == [(0, 2, "X")]


def test_comments_are_words_unless_asked_for(conll_file):
    path = conll_file("# O\n# B-X\n")
    assert words(read_conll(path)) == [[["#", "#"]]]
    path = conll_file("# id 7 domain=en\n#tag O\na O\n\n#\n# O\nb O\n")
    file = read_conll(path, comments=True)
    assert words(file) == [[["#tag", "a"], ["b"]]]
    assert file.report.comments == 3
    assert file.documents[0].sentences[0].line == 2


def test_a_border_ends_a_sentence_and_empty_documents_count(conll_file):
    file = read_conll(conll_file("a O\n-DOCSTART-\n-DOCSTART- -X- O\nb O\n"))
    assert words(file) == [[["a"]], [], [["b"]]]
    assert file.report.documents == 3
    assert file.report.document_borders == 2


def test_without_borders_a_file_is_one_document(conll_file):
    report = read_conll(conll_file("a O\n\nb O\n")).report
    assert (report.documents, report.document_borders) == (1, 0)


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("a O\nb\n", {}, "line 2: 1 column found, 2 expected as in line 1"),
        ("\nword\n", {}, r"line 2: 1 column found, at least 2 expected \(word ... tag\)"),
        ("a NN O\nb O\n", {}, "line 2: 2 columns found, 3 expected as in line 1"),
        ("a B-X\nb PER\n", {}, "line 2: 'PER' is not a tag: expected O, or B-"),
        ("# id x=y\n", {}, "line 1: 3 columns found|line 1: .*comments = true"),
        ("", {}, "no sentence found, expected lines of at least 2 columns"),
        ("-DOCSTART- O\n\n", {}, "no sentence found"),
        ("a O\n", {"word_column": 2}, "word_column = 2 does not exist: expected -2 to 1"),
        ("a O\n", {"tag_column": -3}, "tag_column = -3 does not exist: expected -2 to 1"),
        ("a O\n", {"tag_column": 0}, "word_column = 0 is the same column as tag_column = 0"),
    ],
)
def test_a_wrong_file_is_named_with_line_found_and_expected(conll_file, text, settings, message):
    with pytest.raises(ConllError, match=rf"train\.conll.*({message})"):
        read_conll(conll_file(text), **settings)


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_another_encoding_is_a_clear_error(tmp_path, bom):
    path = tmp_path / "latin1.conll"
    path.write_bytes(bom + "a O\nMálaga B-LOC\n".encode("latin1"))
    with pytest.raises(ConllError, match=r"latin1\.conll, line 2: byte 0xe1 found.* UTF-8"):
        read_conll(path)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_conll(tmp_path / "absent.conll")


def test_invalid_tags_are_read_and_counted(conll_file):
    file = read_conll(conll_file("a B-X\nb I-X\nc B-Y\nd O\n\ne I-X\nf I-Y\n\ng B-X\n"))
    assert [s.spans for s in file.documents[0].sentences] == [
        [(0, 2, "X"), (2, 3, "Y")],
        [(0, 1, "X"), (1, 2, "Y")],
        [(0, 1, "X")],
    ]
    assert file.report.scheme == "BIO2"
    assert file.report.repairs == {"inside_opens": 2}
    (warning,) = file.report.warnings()
    assert "tags that are not valid BIO2: 2 (inside_opens: " in warning


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ("I-X I-X B-X O", "BIO1"),
        ("B-X E-X S-X O", "BIOES"),
        ("B-X L-X U-X O", "BILOU"),
    ],
)
def test_every_scheme_gives_the_same_entities(conll_file, tags, scheme):
    file = read_conll(conll_file("".join(f"w {tag}\n" for tag in tags.split())))
    assert file.report.scheme == scheme
    assert file.documents[0].sentences[0].spans == [(0, 2, "X"), (2, 3, "X")]


WORD = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=" \t\n\r"), min_size=1, max_size=6
).filter(lambda word: not word.startswith("-DOCSTART-"))
SENTENCES = st.lists(
    st.lists(st.tuples(WORD, st.sampled_from(["O", "B-X", "I-X", "I-a-b"])), min_size=1), min_size=1
)


@given(SENTENCES, st.sampled_from([" ", "\t", "  "]), st.sampled_from(["", "\n", "\r\n"]))
def test_what_is_written_is_parsed(sentences, separator, end):
    lines = []
    for sentence in sentences:
        lines += [f"{word}{separator}NN{separator}{tag}{end}" for word, tag in sentence]
        lines.append(end)
    file = parse_conll(lines)
    parsed = [list(zip(s.words, s.tags, strict=True)) for s in file.documents[0].sentences]
    assert parsed == sentences
    assert file.report.tokens == sum(map(len, sentences))


@pytest.mark.parametrize(
    ("name", "documents", "sentences", "tokens", "entities"),
    [
        ("conll2003/train.txt", 946, 14_041, 203_621, 23_499),
        ("conll2003/dev.txt", 216, 3_250, 51_362, 5_942),
        ("conll2003/test.txt", 231, 3_453, 46_435, 5_648),
        ("wnut17/train.conll", 1, 3_394, 62_730, 1_975),
        ("wnut17/dev.conll", 1, 1_009, 15_733, 836),
        ("wnut17/test.conll", 1, 1_287, 23_394, 1_079),
    ],
)
def test_published_statistics(shared_corpora, name, documents, sentences, tokens, entities):
    report = read_conll(shared_corpora / name).report
    assert (report.documents, report.sentences, report.tokens) == (documents, sentences, tokens)
    assert sum(report.entities.values()) == entities
    assert (report.scheme, report.repairs) == ("BIO2", {})
