"""bwtop --history: print a report."""

import os
import socket
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Final

from bwtop.identity.names import Names
from bwtop.modes import common
from bwtop.options.flags import Options
from bwtop.rights import account as accounts
from bwtop.rights.confine import confine
from bwtop.sqlite.connections import open_reader
from bwtop.sqlite.errors import HistoryError, plain
from bwtop.sqlite.location import Place
from bwtop.text.stderr import fail
from bwtop.view.order import Order

if TYPE_CHECKING:
    from bwtop.history.query import History
    from bwtop.sqlite.reader import LocalReader

SORTS: Final = {
    "rate": "total",
    "total": "total",
    **dict.fromkeys(("rx", "rx_rate", "rx_total"), "rx"),
    **dict.fromkeys(("tx", "tx_rate", "tx_total"), "tx"),
}
"""Sort columns of reports, by the column given to --sort."""


def run_history(options: Options) -> None:
    """Print one report."""
    from bwtop.output import report
    from bwtop.output.lines import LineOutput
    from bwtop.output.request import ReportRequest

    place = common.history(options)
    assert options.history, "this mode comes with a range"
    if options.sort.column not in SORTS:
        fail(f"invalid --sort {options.sort.text()!r} for --history; expected total, rx or tx")
    form = options.format or "table"
    request = ReportRequest(
        options.history,
        by=options.by,
        keep=common.filter_of(options),
        sort="" if options.sort == Order() else SORTS[options.sort.column],
        reverse=options.sort.reverse,
        limit=options.limit,
        bits=options.bits,
        names=None if options.no_resolve or form != "table" else Names(),
        host=None if options.origin else socket.gethostname(),
    )
    out = LineOutput(sys.stdout.fileno(), sys.stdout.encoding)
    try:
        with closing(_open_history(options, place)) as history:
            report.run(history, request, form, out)
    except sqlite3.Error as error:
        fail(plain(error, place.path))
    out.flush()


def _open_history(options: Options, place: Place) -> "History":
    """Open the history of many hosts (--from) or of this host; exit with one line if that fails."""
    from bwtop.history.query import History

    names = not options.no_names
    if options.origin:
        from bwtop.clickhouse.reader import FleetReader

        return History(FleetReader(common.reading(options, options.origin)), names=names)
    try:
        return History(_open_local(place), names=names)
    except FileNotFoundError:
        fail(f"nothing has been recorded yet: {place.path} does not exist; run: sudo bwtop")
    except HistoryError as error:
        fail(str(error))
    except (OSError, sqlite3.Error) as error:
        fail(plain(error, place.path))


def _open_local(place: Place) -> "LocalReader":
    """Open a database with the account's rights; before dropping root if only root can reach it.

    SQLite creates files beside the database; files owned by root would block its owner.
    """
    from bwtop.sqlite.reader import LocalReader

    if place.account is None and os.geteuid() == 0:
        opened = LocalReader(open_reader(place.path))
        confine(accounts.unprivileged(os.environ))
        return opened
    if place.account:
        confine(place.account, place.path)
    return LocalReader(open_reader(place.path))
