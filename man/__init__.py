"""Makes the manual and the shells' completions from the program's own tables: python3 -m man."""
