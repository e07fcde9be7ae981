"""Costs of a deployment: computation, memory, transmission."""
