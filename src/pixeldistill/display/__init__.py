"""What a user reads: numbers in words, tables, names of metrics. No torch."""
