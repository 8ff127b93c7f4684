"""Recognition from zero or a few examples per label."""
