"""`python -m benchmarks.annotate`."""

from benchmarks.annotate.benchmark import main

if __name__ == "__main__":
    main()
