"""Names of remotes in what programs send and receive."""
