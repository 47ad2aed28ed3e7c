"""Text: escaping, units and formats, standard error."""
