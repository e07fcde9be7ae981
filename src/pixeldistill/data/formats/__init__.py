"""Data formats. A reader for each format returns what the data states. No torch."""
