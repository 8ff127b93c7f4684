"""`python -m benchmarks.typed`."""

from benchmarks.typed.benchmark import main

if __name__ == "__main__":
    main()
