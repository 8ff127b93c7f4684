"""`python -m benchmarks.precision`."""

from benchmarks.precision.benchmark import main

if __name__ == "__main__":
    main()
