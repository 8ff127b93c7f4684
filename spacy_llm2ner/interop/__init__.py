"""What others have trained: read into pipelines, and written back in their layouts."""
