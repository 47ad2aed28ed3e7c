"""Attacks through bwtop, by a user who may run it as root or whose files root's bwtop is given."""
