"""Formats of data: a reader for each gives what the data states. No torch."""
