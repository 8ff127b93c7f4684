"""Heads of other projects: read into pipelines, and written back in their layouts."""
