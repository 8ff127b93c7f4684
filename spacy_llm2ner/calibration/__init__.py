"""Calibration on dev data: temperatures, thresholds, and the page that shows them."""
