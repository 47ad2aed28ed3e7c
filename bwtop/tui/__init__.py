"""The full screen, on urwid: it shows what is on the board, and changes nothing but how that is looked at."""
