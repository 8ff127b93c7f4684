"""`python -m benchmarks.convert`."""

from benchmarks.convert.benchmark import main

if __name__ == "__main__":
    main()
