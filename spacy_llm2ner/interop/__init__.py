"""What others have trained, as models of this package."""
