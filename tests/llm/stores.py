"""What the tests of the store share: keys, states, other processes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spacy_llm2ner.llm.store import StateStore, state_key

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def key(number: int) -> bytes:
    return state_key("fingerprint", str(number), [])


def states(number: int, tokens: int = 2, width: int = 8) -> np.ndarray:
    return np.full((tokens, 3, width), number, dtype=np.float16)


def assert_has(store: StateStore, *numbers: int) -> None:
    for number in numbers:
        found = store.get(key(number))
        assert found is not None, number
        assert np.array_equal(found, states(number, *found.shape[::2]))


def in_child(work) -> None:
    """Run work in a forked child; fails when it fails there."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def python(script: str, *args: object) -> subprocess.Popen:
    """Run a script in another process; it finds `args`, and the names of this file."""
    prelude = (
        "import os, signal, sys\n"
        "from spacy_llm2ner.llm import store as store_module\n"
        "from tests.llm.stores import *\n"
        "args = sys.argv[1:]\n"
    )
    command = [sys.executable, "-c", prelude + script, *map(str, args)]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
