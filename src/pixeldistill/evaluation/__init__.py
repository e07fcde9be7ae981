"""Measuring networks on val and test."""
