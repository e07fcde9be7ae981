"""A package of somebody else's: a loss, a data format, a detector's head and an export runtime."""
