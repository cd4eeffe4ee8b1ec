"""Benchmarks, run by hand, one at a time: ``python -m tests.benchmarks.bench_engine``."""
