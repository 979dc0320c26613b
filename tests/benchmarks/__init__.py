"""Benchmarks: ankibak beside restic and borg, on the same files, in one run.

`python -m tests.benchmarks.bench` measures and writes `docs/BENCHMARKS.md` and
`docs/benchmarks.json`. This process stays small and leaves everything heavy to
the processes it starts: Linux counts the memory of the parent at the moment of
the fork into the peak of the child, so a large parent would spoil the figures.
"""
