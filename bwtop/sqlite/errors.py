"""The errors of the history, and their messages."""

import sqlite3
from pathlib import Path
from typing import Final


class HistoryError(Exception):
    """The history cannot be used; the text says why and what to do."""


def is_locked(error: Exception) -> bool:
    """Return whether an error means that another program holds a lock."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) == sqlite3.SQLITE_BUSY


def plain(error: Exception, path: Path) -> str:
    """Return the message of an error, with the file."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        words = _WORDS.get(code) or _WORDS.get(code & 0xFF)  # the primary code of an extended one
        return f"{words}: {path}" if words else f"{error}: {path}"
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename or path}"
    return str(error)


_WORDS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk cannot be read or written",
    sqlite3.SQLITE_READONLY: "the history is read-only",
    sqlite3.SQLITE_READONLY_RECOVERY: "the last writes are not merged yet; bwtop does that when it next records",
    sqlite3.SQLITE_READONLY_ROLLBACK: "the last write was cut off; it is undone when bwtop next records",
    sqlite3.SQLITE_CANTOPEN: "the history cannot be opened",
    sqlite3.SQLITE_BUSY: "another program has locked the history",
    sqlite3.SQLITE_CORRUPT: "the history is damaged",
    sqlite3.SQLITE_NOTADB: "not a history of bwtop",
    sqlite3.SQLITE_PERM: "no permission to write the history",
}
