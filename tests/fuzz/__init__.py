"""Hostile bytes, chosen by what they reach in our code: see `python -m tests.fuzz --help`."""
