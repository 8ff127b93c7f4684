"""`python -m benchmarks.report`."""

from benchmarks.report.benchmark import main

if __name__ == "__main__":
    main()
