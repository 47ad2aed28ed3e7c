"""Measurement: intervals, and the sources of their readings."""
