"""What is wrong with names, and how learning from texts went: warnings and the log."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import Warnings
from ..log import logger
from ..pipeline.gold import Gold
from .carriers import MOST_READ
from .examples import OTHER
from .name_search import in_several, names_of
from .span_features import MOST_TOKENS, Floats
from .text_learning import Learnt

if TYPE_CHECKING:
    from .component import FewShotRecognizer

# Names that a message quotes.
_QUOTED = 5
# How much closer, in cosine, a name must be to another label than to its own to be reported.
_MARGIN = 0.05


def quoted(names: Iterable[str]) -> str:
    """A few of the names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - _QUOTED} more" if len(names) > _QUOTED else ""
    return ", ".join(f"'{name}'" for name in names[:_QUOTED]) + more


def all_names(pipe: FewShotRecognizer) -> dict[str, list[str]]:
    """The names of each label, and those of none."""
    spelt = names_of(pipe.patterns)
    names = {label: [*pipe.strings.get(label, ()), *spelt.get(label, ())] for label in pipe.labels}
    return {**names, OTHER: list(pipe.other)}


def report_names(pipe: FewShotRecognizer) -> None:
    """Warn about names that cannot be learnt from as they are."""
    names = all_names(pipe)
    several = in_several(names)
    if several:
        said = [
            f"'{name}' ({', '.join(label or 'other' for label in labels)})"
            for name, labels in list(several.items())[:_QUOTED]
        ]
        more = f" and {len(several) - _QUOTED} more" if len(several) > _QUOTED else ""
        pipe._warn_once(Warnings.W46.format(name=pipe.name, names=", ".join(said) + more))
    each = [name for given in names.values() for name in dict.fromkeys(given)]
    long = [name for name in each if len(name.split()) > MOST_TOKENS]
    if long:
        pipe._warn_once(
            Warnings.W48.format(name=pipe.name, what=f"names: {quoted(long)}", most=MOST_TOKENS)
        )
    foreign = [name for name in each if _is_foreign(name)]
    if foreign:
        pipe._warn_once(Warnings.W49.format(name=pipe.name, names=quoted(foreign)))
    left = sum(max(0, len({*given}) - MOST_READ) for given in names.values())
    if left:
        logger.info(
            "%s: at most %d names of a label are read in sentences; the other %d are looked for in "
            "unlabelled texts",
            pipe.name,
            MOST_READ,
            left,
        )


def _is_foreign(name: str) -> bool:
    letters = [char for char in name if char.isalpha()]
    latin = sum(unicodedata.name(char, "").startswith("LATIN") for char in letters)
    return 2 * latin < len(letters)


def report_doubtful(
    pipe: FewShotRecognizer, vectors: Floats, names: Sequence[tuple[str, str]]
) -> None:
    """Warn about names whose states are closer to those of another label's names.

    pipe (FewShotRecognizer): The component.
    vectors (ndarray): Vectors of names in sentences, (n, size).
    names (Sequence[Tuple[str, str]]): Label and name of each.
    """
    doubtful = doubtful_names(vectors, names)
    if doubtful:
        said = [f"'{name}' of {own} (like {other})" for name, own, other in doubtful[:_QUOTED]]
        more = f" and {len(doubtful) - _QUOTED} more" if len(doubtful) > _QUOTED else ""
        pipe._warn_once(Warnings.W47.format(name=pipe.name, names=", ".join(said) + more))


def doubtful_names(vectors: Floats, names: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Find names that are closer to the names of another label than to the others of their own.

    Compared are means over sentences, around the mean of all labels; labels with fewer than three
    names are left alone.

    RETURNS (List[Tuple[str, str, str]]): Name, its label, and the closer one; the clearest first.
    """
    keys = list(dict.fromkeys(names))
    if not keys:
        return []
    rows = np.array([keys.index(key) for key in names])
    means = np.stack([vectors[rows == i].mean(axis=0) for i in range(len(keys))])
    counts = Counter(label for label, _ in keys)
    labels = [label for label in counts if label != OTHER and counts[label] > 2]
    if len(labels) < 2:
        return []
    own = {label: means[[i for i, key in enumerate(keys) if key[0] == label]] for label in labels}
    centre = np.mean([rows.mean(axis=0) for rows in own.values()], axis=0)
    found = []
    for (label, name), mean in zip(keys, means, strict=True):
        if label not in own:
            continue
        others = (own[label].sum(axis=0) - mean) / (counts[label] - 1)
        near = {
            which: _cosine(
                mean - centre, (others if which == label else rows.mean(axis=0)) - centre
            )
            for which, rows in own.items()
        }
        best = max(near, key=lambda which: near[which])
        if near[best] > near[label] + _MARGIN:
            found.append((near[best] - near[label], name, label, best))
    return [(name, label, best) for _, name, label, best in sorted(found, reverse=True)]


def _cosine(one: Floats, other: Floats) -> float:
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / norm if norm else 0.0


def report_learnt(
    pipe: FewShotRecognizer, golds: Sequence[Gold], learnt: Learnt, too_long: int, many: int
) -> None:
    """Warn about spans that cannot be learnt, and log what was learnt from texts."""
    total = sum(len(gold.spans) + gold.lost for gold in golds)
    lost = sum(gold.lost for gold in golds)
    if lost:
        pipe._warn_once(Warnings.W42.format(name=pipe.name, lost=lost, total=total))
    if too_long:
        what = f"annotated spans: {too_long} of {total}"
        pipe._warn_once(Warnings.W48.format(name=pipe.name, what=what, most=MOST_TOKENS))
    if total > many:
        pipe._warn_once(Warnings.W41.format(name=pipe.name, total=total))
    unlabelled = sum(not gold.known.any() for gold in golds)
    evidence = learnt.evidence
    kinds: Mapping[str, int] = Counter(
        source
        for label, source in zip(evidence.classes, evidence.sources, strict=True)
        if label != OTHER
    )
    logger.info("%s: %d annotated spans in %d texts", pipe.name, total, len(golds) - unlabelled)
    if unlabelled:
        logger.info(
            "%s: in %d unlabelled texts: %d names of the labels, %d mentions guessed in %d rounds "
            "(agreement of the last two: %.0f %%)",
            pipe.name,
            unlabelled,
            kinds.get("name", 0),
            kinds.get("guess", 0),
            learnt.rounds,
            100 * learnt.agreement,
        )
