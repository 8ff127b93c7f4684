"""`python -m benchmarks.calibration`."""

from benchmarks.calibration.benchmark import main

if __name__ == "__main__":
    main()
