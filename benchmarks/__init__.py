"""Benchmarks: one module a claim, `python -m benchmarks.NAME`; README.md says what each claims and how to read it."""
