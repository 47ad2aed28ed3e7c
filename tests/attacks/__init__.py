"""Attacks through bwtop: what a user who may run it as root, or whose files root's bwtop is given, gets out of that."""
