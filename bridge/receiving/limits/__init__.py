"""Limits for strangers: sizes, rates, addresses and sampled log lines."""
