"""States of recent texts, by which the components of a pipeline share one pass of the LLM."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_numbers = itertools.count()


class Reader:
    """Somebody who asks for states, such as one component; a copy is another reader."""

    def __init__(self) -> None:
        self.number = next(_numbers)

    def __reduce__(self) -> tuple[type[Reader], tuple[()]]:
        return Reader, ()


@dataclass
class _Entry:
    states: np.ndarray
    readers: set[int]  # the numbers of those who have had the states


class RecentStates:
    """States of recent texts in RAM, given to each reader once.

    The components of a pipeline get the same texts one after another: the first lets the LLM read
    a text, and the others find its states here. A reader who asks for a text again has a repeated
    text, which the LLM reads again: only a store remembers texts.

    Threads are safe. Copies start empty.

    ram_mb (float): Budget, in MB (2**20 bytes); the least recently used states are dropped.
    """

    def __init__(self, ram_mb: float) -> None:
        self.ram_mb = ram_mb
        self.bytes_in_ram = 0
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[RecentStates], tuple[float]]:
        return type(self), (self.ram_mb,)

    def __len__(self) -> int:
        """The number of texts."""
        return len(self._entries)

    def get(self, key: bytes, reader: Reader) -> np.ndarray | None:
        """Look up the states of a text.

        key (bytes): A key from `store.state_key`.
        reader (Reader): Who asks.
        RETURNS (Optional[ndarray]): (tokens, layers, width); None if they are not here, or if this
            reader has had them.
        """
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or reader.number in entry.readers:
                return None
            entry.readers.add(reader.number)
            self._entries.move_to_end(key)
            return entry.states

    def put_many(self, entries: Sequence[tuple[bytes, np.ndarray]], reader: Reader) -> None:
        """Keep the states of some texts, for other readers.

        entries (Sequence[Tuple[bytes, ndarray]]): Keys and read-only states, which are not copied.
        reader (Reader): Who has had them.
        """
        budget = self.ram_mb * 2**20
        with self._lock:
            for key, states in entries:
                self._drop(self._entries.pop(key, None))
                if states.nbytes <= budget:
                    self._entries[key] = _Entry(states, {reader.number})
                    self.bytes_in_ram += states.nbytes
            while self.bytes_in_ram > budget:
                self._drop(self._entries.popitem(last=False)[1])

    def _drop(self, entry: _Entry | None) -> None:
        if entry is not None:
            self.bytes_in_ram -= entry.states.nbytes
