"""Speed of the ToMMeR head in a band and in squares of pieces."""
