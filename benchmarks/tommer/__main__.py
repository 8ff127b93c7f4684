"""`python -m benchmarks.tommer`."""

from benchmarks.tommer.benchmark import main

if __name__ == "__main__":
    main()
