from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2].parent / "shared" / "corpora"


@pytest.fixture(scope="session")
def shared_corpora() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"the shared corpora are not here: no folder {SHARED}")
    return SHARED


@pytest.fixture
def conll_file(tmp_path):
    """Write text to a file and return its path."""

    def write(text: str, name: str = "train.conll"):
        path = tmp_path / name
        path.write_bytes(text.encode("utf8"))
        return path

    return write
