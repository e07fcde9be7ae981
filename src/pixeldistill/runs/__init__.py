"""Runs: from a recipe to trained networks in a folder."""
