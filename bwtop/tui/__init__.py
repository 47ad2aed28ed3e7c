"""The full screen, on urwid: it shows what is on the model, and changes nothing but how that is looked at."""
