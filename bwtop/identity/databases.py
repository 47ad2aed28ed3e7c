"""Databases of addresses (MaxMind DB files), read by the distribution's maxminddb.

A file is read once, with the rights of the user who named it, into memory that child processes share.  Only its head is
parsed at that time, in Python; the C library parses the rest at the first look-up, when bwtop has dropped its rights.
"""

import importlib
import io
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from bwtop.model.flows import format_address
from bwtop.model.geography import Records
from bwtop.rights import opening

MOST: Final = 32 << 20
"""Bytes of a file; databases of systems and countries have some 10 MB."""

MISSING: Final = "needs maxminddb; install python3-maxminddb"


class DatabaseError(Exception):
    """A database cannot be used; the text says why and what to do."""


def load(path: Path, flag: str, environment: Mapping[str, str]) -> Records:
    """Return the records of the database that a flag names; raise DatabaseError and OSError."""
    data = opening.read(path, MOST, opening.rights(path, environment)).data
    try:
        importlib.import_module("maxminddb")
    except ImportError:
        raise DatabaseError(f"{flag} {MISSING}") from None
    try:
        _Reader(data)
    except Exception:  # whatever hostile bytes lead the decoder to
        raise DatabaseError(
            f"{flag}: {path} is no MaxMind DB file, or damaged; expected an .mmdb file"
        ) from None
    return _Shared(data).record


def _Reader(data: bytes) -> Any:  # noqa: N802 - it is a class of a module that may be missing
    import maxminddb

    file = io.BytesIO(data)
    file.name = "database"
    return maxminddb.open_database(file, maxminddb.MODE_FD)


class _Shared:
    """A database in memory that has no name in the file system."""

    def __init__(self, data: bytes) -> None:
        self._descriptor = os.memfd_create("bwtop-database", os.MFD_CLOEXEC)
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]

    @cached_property
    def _reader(self) -> Any:
        import maxminddb

        path = f"/proc/self/fd/{self._descriptor}"
        try:
            return maxminddb.open_database(path)
        except maxminddb.InvalidDatabaseError:  # the C library is stricter
            return maxminddb.open_database(path, maxminddb.MODE_MMAP)

    def record(self, address: bytes) -> Mapping[str, Any] | None:
        """Return the record of a packed address; None if it has none, or one that is damaged."""
        try:
            found = self._reader.get(format_address(address))
        except Exception:  # an address without meaning, such as *, or damage anywhere in the file
            return None
        return found if isinstance(found, Mapping) else None
