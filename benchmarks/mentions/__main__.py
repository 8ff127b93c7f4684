"""`python -m benchmarks.mentions`."""

from benchmarks.mentions.benchmark import main

if __name__ == "__main__":
    main()
