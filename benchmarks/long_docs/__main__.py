"""`python -m benchmarks.long_docs`."""

from benchmarks.long_docs.benchmark import main

if __name__ == "__main__":
    main()
