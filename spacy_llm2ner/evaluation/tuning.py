"""Former home of `calibration.threshold_search`; kept because its import is documented."""

from ..calibration.threshold_search import Objective

__all__ = ["Objective"]
