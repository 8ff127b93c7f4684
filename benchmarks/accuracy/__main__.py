"""`python -m benchmarks.accuracy`."""

from benchmarks.accuracy.benchmark import main

if __name__ == "__main__":
    main()
