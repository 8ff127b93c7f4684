"""Test scores after calibration on dev data."""
