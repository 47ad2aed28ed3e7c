"""Measurements and the numbers derived from them: pure data and functions that import nothing else of bwtop."""
