"""Print intervals and reports as tables, JSON and CSV."""
