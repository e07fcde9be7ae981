"""Weights of any origin, loaded into a network of ours."""
