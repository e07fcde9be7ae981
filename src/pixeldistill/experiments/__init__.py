"""Experiments: many trainings that are compared."""
