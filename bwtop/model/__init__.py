"""What was measured, and what follows from it: pure data and functions, importing nothing else of bwtop."""
