"""Things that remember all that they see, such as vocabularies, made anew now and then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# Texts that share a vocabulary while a file is streamed.
USES = 1000


class Renewed(Generic[T]):
    """Calls return the same object a number of times, then a new one.

    A vocabulary holds all words of a stream, and a tokenizer too. A memory zone would not do: it
    removes the words, but the tables of spaCy keep the size that all words need.

    make (Callable[[], T]): Makes the object.
    uses (Optional[int]): The number of calls for which one is returned; None for `USES`.
    """

    def __init__(self, make: Callable[[], T], uses: int | None = None) -> None:
        self.make = make
        self.uses = uses or USES
        self._found: T | None = None
        self._left = 0

    def __call__(self) -> T:
        """RETURNS (T): The object to use now."""
        if self._found is None or self._left == 0:
            self._found, self._left = self.make(), self.uses
        self._left -= 1
        return self._found
