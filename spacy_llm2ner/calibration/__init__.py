"""Calibration of a component on dev data: temperatures and thresholds."""
