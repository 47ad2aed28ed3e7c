"""The kernel side seen from Python: loading, reading, decoding."""
