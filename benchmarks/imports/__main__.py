"""`python -m benchmarks.imports`."""

from benchmarks.imports.benchmark import main

if __name__ == "__main__":
    main()
