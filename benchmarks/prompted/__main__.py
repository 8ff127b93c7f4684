"""`python -m benchmarks.prompted`."""

from benchmarks.prompted.benchmark import main

if __name__ == "__main__":
    main()
