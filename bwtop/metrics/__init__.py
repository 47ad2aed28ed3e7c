"""What Prometheus may ask for: bytes by process name, and how bwtop itself does."""
