"""Tag sequences (BIO1, BIO2, IO, BIOES, BILOU) <-> spans.

Reading follows conlleval, that is seqeval's default mode: a sequence that its scheme forbids is
still read, an I-X that continues nothing opens a span, and every such repair is counted. Because
of that rule all schemes read the same spans from the same tags; the scheme decides what counts as
a repair, and how spans are written.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

Scheme = Literal["BIO2", "IO", "BIO1", "BIOES", "BILOU"]
Repair = Literal["foreign_prefix", "inside_opens", "begin_opens", "unclosed"]
TagSpan = tuple[int, int, str]
"""Start, end (exclusive) and label, counted in words."""

SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

REPAIRS: dict[str, str] = {
    "foreign_prefix": "a prefix that the scheme does not have",
    "inside_opens": "an I- (E-, L-) that continues nothing, read as the start of an entity",
    "begin_opens": "a B- where BIO1 has I-, because no entity of its type ends there",
    "unclosed": "an entity without its closing E- (L-)",
}
"""What each kind of repair means, for messages."""

_PREFIXES: dict[Scheme, str] = {
    "BIO2": "OBI",
    "IO": "OI",
    "BIO1": "OBI",
    "BIOES": "OBIES",
    "BILOU": "OBILU",
}
# BILOU is BIOES in other letters, so one set of rules reads both.
_ROLES = {"O": "O", "B": "B", "I": "I", "E": "E", "L": "E", "S": "S", "U": "S"}


def split_tag(tag: str) -> tuple[str, str]:
    """Split a tag into prefix and label: "B-creative-work" -> ("B", "creative-work").

    tag: "O", or one of the prefixes B I E S L U, a hyphen and a label.
    RETURNS: the prefix and the label ("" for "O").
    RAISES: ValueError if it is no such tag.
    """
    if tag == "O":
        return "O", ""
    prefix, hyphen, label = tag.partition("-")
    if len(prefix) != 1 or prefix not in "BIESLU" or not hyphen or not label:
        raise ValueError(
            f"'{tag}' is no entity tag: expected O, or B-, I-, E-, S-, L- or U- before a label"
        )
    return prefix, label


def _opens(prev: str, tag: str) -> bool:
    """Whether a span starts at `tag`, in conlleval's reading."""
    prefix, label = split_tag(tag)
    if prefix == "O":
        return False
    prev_prefix, prev_label = split_tag(prev)
    return _ROLES[prefix] in "BS" or _ROLES[prev_prefix] not in ("B", "I") or label != prev_label


def _pair_repairs(prev: str, tag: str, scheme: Scheme) -> list[Repair]:
    """What the scheme forbids in two neighbouring tags; each tag is judged as `tag` once."""
    (prev_prefix, prev_label), (prefix, label) = split_tag(prev), split_tag(tag)
    prev_role, role = _ROLES[prev_prefix], _ROLES[prefix]
    repairs: list[Repair] = []
    if prefix not in _PREFIXES[scheme]:
        repairs.append("foreign_prefix")
    inside_opens = role in ("I", "E") and _opens(prev, tag)
    if inside_opens and scheme not in ("BIO1", "IO"):
        repairs.append("inside_opens")
    if scheme == "BIO1" and role == "B" and (prev_role == "O" or prev_label != label):
        repairs.append("begin_opens")
    continued = role in ("I", "E") and not inside_opens
    if scheme in ("BIOES", "BILOU") and prev_role in ("B", "I") and not continued:
        repairs.append("unclosed")
    return repairs


def _pairs(tags: Sequence[str]) -> Iterable[tuple[str, str]]:
    return zip(["O", *tags], [*tags, "O"], strict=True)


def detect_scheme(sequences: Iterable[Sequence[str]]) -> Scheme:
    """Find the scheme of a whole file: the one that needs the fewest repairs.

    sequences: the tags of every sentence.
    RETURNS: the scheme. Where several fit, the first of SCHEMES: tags that are only O and B- are
        BIO2, and I- without any B- is IO (which is BIO1 in which no two entities of a type touch).
    RAISES: ValueError for a tag that is none.
    """
    pairs: Counter[tuple[str, str]] = Counter()
    for tags in sequences:
        pairs.update(_pairs(tags))
    prefixes = {split_tag(tag)[0] for _, tag in pairs}
    candidates = [s for s in SCHEMES if s != "IO" or prefixes <= {"O", "I"}]

    def cost(scheme: Scheme) -> int:
        return sum(n * len(_pair_repairs(*pair, scheme)) for pair, n in pairs.items())

    return min(candidates, key=cost)


def count_repairs(sequences: Iterable[Sequence[str]], scheme: Scheme) -> dict[str, int]:
    """Count, by kind, what had to be repaired in many tag sequences.

    sequences: the tags of every sentence.
    scheme: the scheme that they should keep.
    RETURNS: the count of each kind of REPAIRS that occurs; empty if all are valid.
    RAISES: ValueError for a tag that is none, or for an unknown scheme.
    """
    _check_scheme(scheme)
    pairs: Counter[tuple[str, str]] = Counter()
    for tags in sequences:
        pairs.update(_pairs(tags))
    counts: Counter[str] = Counter()
    for pair, n in pairs.items():
        for kind in _pair_repairs(*pair, scheme):
            counts[kind] += n
    return dict(counts)


def tags_to_spans(tags: Sequence[str], scheme: Scheme) -> tuple[list[TagSpan], dict[str, int]]:
    """Read the spans of one sentence.

    tags: its tags.
    scheme: the scheme that they should keep.
    RETURNS: the spans (start, end exclusive, label) in order, and the repairs by kind (see
        REPAIRS); no repairs if the tags are valid.
    RAISES: ValueError for a tag that is none, or for an unknown scheme.
    """
    return read_spans(tags), count_repairs([tags], scheme)


def read_spans(tags: Sequence[str]) -> list[TagSpan]:
    """Read the spans of one sentence, whatever its scheme, without counting repairs.

    tags: its tags.
    RETURNS: the spans (start, end exclusive, label) in order.
    RAISES: ValueError for a tag that is none.
    """
    spans: list[TagSpan] = []
    start, prev = 0, "O"
    for i, tag in enumerate([*tags, "O"]):
        if prev != "O" and (tag == "O" or _opens(prev, tag)):
            spans.append((start, i, split_tag(prev)[1]))
        if tag != "O" and _opens(prev, tag):
            start = i
        prev = tag
    return spans


def spans_to_tags(spans: Iterable[TagSpan], length: int, scheme: Scheme) -> list[str]:
    """Write spans as tags.

    spans: start, end (exclusive) and label of each; in any order, but none inside another.
    length: the number of words.
    scheme: the scheme to write.
    RETURNS: one tag for each word.
    RAISES: ValueError if spans overlap, are empty, leave the sentence or have no label; if two
        spans of one label touch and the scheme is IO, which cannot say so; for an unknown scheme.
    """
    _check_scheme(scheme)
    tags = ["O"] * length
    prev_end, prev_label = 0, ""
    for start, end, label in sorted(spans):
        if not label or not 0 <= start < end <= length:
            raise ValueError(
                f"({start}, {end}, '{label}') is no labelled span of a sentence of {length} words"
            )
        if start < prev_end:
            raise ValueError(
                f"({start}, {end}, '{label}') overlaps the span before it, which ends at "
                f"{prev_end}: tags cannot say so"
            )
        touches = start == prev_end and label == prev_label
        if touches and scheme == "IO":
            raise ValueError(
                f"two '{label}' spans touch at word {start}: IO tags cannot say so, BIO2 can"
            )
        tags[start:end] = _span_tags(end - start, label, scheme, touches)
        prev_end, prev_label = end, label
    return tags


def _span_tags(length: int, label: str, scheme: Scheme, touches: bool) -> list[str]:
    inside = [f"I-{label}"] * length
    if scheme == "IO" or (scheme == "BIO1" and not touches):
        return inside
    begin, end, single = {"BIOES": ("B", "E", "S"), "BILOU": ("B", "L", "U")}.get(
        scheme, ("B", "I", "B")
    )
    if length == 1:
        return [f"{single}-{label}"]
    return [f"{begin}-{label}", *inside[1:-1], f"{end}-{label}"]


def _check_scheme(scheme: str) -> None:
    if scheme not in SCHEMES:
        raise ValueError(f"'{scheme}' is no tag scheme: expected one of {', '.join(SCHEMES)}")
