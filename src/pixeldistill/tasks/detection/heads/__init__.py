"""Heads of detectors: what makes classes and boxes of a pyramid's levels, one file each."""
