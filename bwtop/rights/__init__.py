"""Whose rights bwtop acts with: root only where root must, and whoever started it everywhere else."""
