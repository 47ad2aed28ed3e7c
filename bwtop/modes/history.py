"""bwtop --history: reports."""

import argparse
import os
import socket
import sqlite3
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bwtop.capture import privileges
from bwtop.columns import DEFAULT_SORT
from bwtop.history import location, ranges
from bwtop.history.schema import HistoryError, open_reader, plain
from bwtop.identity.names import Names
from bwtop.messages import fail
from bwtop.modes import common

if TYPE_CHECKING:
    from bwtop.history.query import History

SORTS: Final = {
    "rate": "total",
    "total": "total",
    **dict.fromkeys(("rx", "rx_rate", "rx_total"), "rx"),
    **dict.fromkeys(("tx", "tx_rate", "tx_total"), "tx"),
}
"""What a column to sort by means for sums of the past."""


def run_history(options: argparse.Namespace) -> None:
    """Prints one report."""
    from bwtop.report import output
    from bwtop.report.request import Request

    path = common.history_path(options)
    try:
        wanted = ranges.parse(options.history, time.time())
    except ranges.RangeError as error:
        fail(str(error))
    if options.sort.removeprefix("-") not in SORTS:
        fail(f"--history sorts by total, rx or tx, not by {options.sort!r}")
    history = _past(options, path)
    form = options.format or "table"
    request = Request(
        wanted,
        by=options.by or (),
        keep=common.filter_of(options),
        sort="" if options.sort == DEFAULT_SORT else SORTS[options.sort.removeprefix("-")],
        reverse=options.sort.startswith("-"),
        limit=options.limit,
        bits=options.bits,
        names=None if options.no_resolve or form != "table" else Names(),
        host=None if options.origin else socket.gethostname(),
    )
    try:
        output.run(history, request, form, sys.stdout)
        sys.stdout.flush()
    except sqlite3.Error as error:
        fail(plain(error, path))


def _past(options: argparse.Namespace, path: Path) -> "History":
    """What is asked: many hosts' past, or this one's."""
    from bwtop.history.local import Local
    from bwtop.history.query import History

    if options.origin:
        from bwtop.fleet.past import Fleet

        return History(Fleet(common.reading(options)))
    try:
        _become_owner(path)
        return History(Local(open_reader(path)))
    except FileNotFoundError:
        fail(f"nothing has been recorded yet: there is no {path}; sudo bwtop records while it runs")
    except HistoryError as error:
        fail(str(error))
    except (OSError, sqlite3.Error) as error:
        fail(plain(error, path))


def _become_owner(path: Path) -> None:
    """SQLite makes files beside the database, and root's would be in the way of whom it belongs to."""
    if os.geteuid() == 0:
        owner = location.owner(path, None)
        if owner[0] != 0:
            privileges.drop(owner)
