"""`python -m benchmarks.taggers`."""

from benchmarks.taggers.benchmark import main

if __name__ == "__main__":
    main()
