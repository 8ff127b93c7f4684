"""Predicted against gold: classes of errors, and the page that shows them."""
