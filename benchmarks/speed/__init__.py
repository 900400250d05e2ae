"""The rows of `make bench`; see benchmarks/README.md."""
