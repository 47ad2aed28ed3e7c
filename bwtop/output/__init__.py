"""What is printed: intervals and reports, as tables, JSON and CSV."""
