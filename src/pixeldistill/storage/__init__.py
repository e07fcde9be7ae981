"""Files: written atomically, read within bounds, and laid out in run folders. No torch."""
