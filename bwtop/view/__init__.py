"""What screen, batch and web draw from: columns, rows, and the tree of rows."""
