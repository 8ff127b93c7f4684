"""Former home of `spacy_llm2ner.calibration.calibrate`; kept because its import is documented."""

from ..calibration.calibrate import CalibrationSettings, apply_calibration, calibrate_pipe

__all__ = ["CalibrationSettings", "apply_calibration", "calibrate_pipe"]
