"""Accuracy of the presets and of other heads on the same frozen states."""
