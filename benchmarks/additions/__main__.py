"""`python -m benchmarks.additions`."""

from benchmarks.additions.benchmark import main

if __name__ == "__main__":
    main()
