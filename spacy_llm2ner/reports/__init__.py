"""Reports: error classes, explanations of scores, and HTML pages that show them."""
