"""The benchmark: `scripts/bench`, which bench/README.md explains."""
