"""What people type: flags, their values, configuration files."""
