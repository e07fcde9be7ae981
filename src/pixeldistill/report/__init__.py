"""Reports of runs for the user: tables and pictures."""
