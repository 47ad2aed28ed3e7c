"""Names of containers, read by a helper process from the files of container engines."""
