"""The common view of screen, batch and web: columns, rows, and the tree of rows."""
