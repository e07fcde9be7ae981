"""What the user gets to see of a run: tables and pictures."""
