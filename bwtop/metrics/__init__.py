"""Metrics for Prometheus: bytes by process name, and the health of bwtop itself."""
