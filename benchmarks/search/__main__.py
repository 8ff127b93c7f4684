"""`python -m benchmarks.search`."""

from benchmarks.search.benchmark import main

if __name__ == "__main__":
    main()
