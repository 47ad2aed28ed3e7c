"""Text: foreign text escaped, units and formats, standard error."""
