"""The modes of bwtop, one module each."""
