"""Output for the user: numbers in words, tables, names of metrics. No torch."""
