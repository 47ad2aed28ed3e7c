"""bwtop --history: what was moved in a range of time."""
