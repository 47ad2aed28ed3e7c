"""The full screen, drawn with urwid. It shows the model and changes only its own view of it."""
