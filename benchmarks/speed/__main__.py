"""`python -m benchmarks.speed`."""

from benchmarks.speed.benchmark import main

if __name__ == "__main__":
    main()
