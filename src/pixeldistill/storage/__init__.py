"""Files: written atomically, read with size limits, and arranged in run folders. No torch."""
