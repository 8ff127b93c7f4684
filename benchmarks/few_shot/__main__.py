"""`python -m benchmarks.few_shot`."""

from benchmarks.few_shot.benchmark import main

if __name__ == "__main__":
    main()
