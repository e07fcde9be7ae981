"""Experiments: several trainings that are compared."""
