"""Measurements of what the design promises, each beside a peer or a limit: `python -m benchmarks` runs them all.

Every module with a `measure(*, quick)` is one figure. `results.json` keeps every run, `RESULTS.md` is written from it.
"""
