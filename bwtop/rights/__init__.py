"""The rights that bwtop uses: those of root only where it must, elsewhere those of the user who started it."""
