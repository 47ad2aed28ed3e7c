"""User input: flags, their values, configuration files."""
