"""`python -m benchmarks.serve`."""

from benchmarks.serve.benchmark import main

if __name__ == "__main__":
    main()
