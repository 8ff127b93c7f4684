"""`python -m benchmarks.ablation`."""

from benchmarks.ablation.benchmark import main

if __name__ == "__main__":
    main()
