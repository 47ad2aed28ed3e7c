"""Real faults of everything that a measurement must not wait for."""
