"""Benchmarks: each figure beside its plain equivalent in the same run, as a ratio, because machines are noisy."""
