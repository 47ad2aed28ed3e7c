"""Standard output for programs: whole lines, however slow or unwilling its reader is."""

import io
import os
import select


class LineOutput(io.TextIOBase):
    """Text output to a descriptor, written by flush() alone and then to its last byte.

    Python's own streams cut a line if a signal comes during an unbuffered write, and raise BlockingIOError in the middle
    of one if the reader has made the pipe non-blocking.
    """

    def __init__(self, descriptor: int, encoding: str = "utf-8") -> None:
        """Write to a descriptor, which stays open; escape what cannot be encoded, as in Python's strings."""
        self._descriptor = descriptor
        self._encoding = encoding
        self._parts: list[str] = []

    @property
    def encoding(self) -> str:  # type: ignore[override]  # the base declares an attribute
        """Return the encoding of the output."""
        return self._encoding

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether the descriptor is a terminal."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Keep a text for the next flush()."""
        self._parts.append(text)
        return len(text)

    def flush(self) -> None:
        """Write all that is kept, and wait for the reader if need be; raise OSError, as BrokenPipeError."""
        left = memoryview("".join(self._parts).encode(self._encoding, "backslashreplace"))
        self._parts.clear()
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
