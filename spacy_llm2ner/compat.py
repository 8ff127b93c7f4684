"""Giving freed memory back to the system.

States come in large arrays of ever other sizes, and small ones that are remembered lie between
them: glibc's heap then cannot shrink by itself, and a long training holds many times what it needs.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

# Padded tokens between two calls: some seconds of work, beside which a call takes no time.
TOKENS_BETWEEN = 100_000


class Trimmer:
    """Trims the heap once in a while.

    tokens (int): Tokens that were worked on since the last time.
    """

    def __init__(self) -> None:
        self.tokens = 0

    def worked_on(self, tokens: int) -> None:
        """Count tokens; after every 100,000 of them, give back what is free."""
        self.tokens += tokens
        if self.tokens >= TOKENS_BETWEEN:
            self.tokens = 0
            trim = _malloc_trim()
            if trim is not None:
                trim(0)


def _malloc_trim() -> Callable[[int], int] | None:
    """The function of glibc; None on other systems, whose heaps do without."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
