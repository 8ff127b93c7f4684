"""The trained pipelines of the component's tests, for the tests of this room too."""

from tests.pipeline.conftest import _kept, fresh, trained, trained_folder, untrained

__all__ = ["_kept", "fresh", "trained", "trained_folder", "untrained"]
