"""`python -m benchmarks.spancat`."""

from benchmarks.spancat.benchmark import main

if __name__ == "__main__":
    main()
