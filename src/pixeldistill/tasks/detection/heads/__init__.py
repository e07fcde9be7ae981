"""Heads of detectors: they predict classes and boxes from a pyramid's levels. One file each."""
