"""`python -m benchmarks.conll2003`."""

from benchmarks.conll2003.benchmark import main

if __name__ == "__main__":
    main()
