"""Intervals, one after the other, and where their readings come from."""
