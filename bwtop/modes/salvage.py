"""bwtop --salvage: save what can be read of a damaged history."""

import os
import sqlite3
from typing import Final

from bwtop.modes import common
from bwtop.options.flags import Options
from bwtop.rights import account as accounts
from bwtop.rights.confine import confine
from bwtop.sqlite import connections, errors, location, schema
from bwtop.sqlite.errors import HistoryError
from bwtop.sqlite.salvage import Saved, salvage
from bwtop.text.escape import count
from bwtop.text.stderr import fail, say
from bwtop.text.units import size

_NAMES: Final = {"pulse": "5min"}
"""Names of tables, where the manual has another."""


def run_salvage(options: Options) -> None:
    """Copy the readable rows of a database into a new one; exit with one line if that fails."""
    assert options.salvage, "this mode comes with a path"
    old, new = location.place(options.salvage, os.environ), common.history(options)
    if old.account != new.account:
        fail(f"{old.path} and {new.path} belong to different users; choose a --db beside the first")
    opened: list[sqlite3.Connection] = []

    def prepare() -> None:
        if new.path.exists():
            fail(f"{new.path} exists; choose another with --db")
        opened.append(connections.open_reader(old.path, oldest=2))
        opened.append(connections.connect_writer(new.path, location.mode(new.path)))
        opened[1].execute("PRAGMA journal_mode = MEMORY")  # no other files: it has no reader yet
        schema.migrate(opened[1])

    try:
        if old.account:
            confine(old.account, new.path, prepare=prepare)
        else:
            prepare()
            if os.geteuid() == 0:
                confine(accounts.unprivileged(os.environ))
        for saved in salvage(*opened):
            say(_words(saved))
    except HistoryError as error:
        fail(str(error))
    except (OSError, sqlite3.Error) as error:
        fail(errors.plain(error, new.path if opened else old.path))
    say(f"to read it: bwtop --history all --db {new.path}")


def _words(saved: Saved) -> str:
    """Return the result of a table in one line."""
    words = [f"{_NAMES.get(saved.table, saved.table)}: {count(saved.rows, 'row')} saved"]
    if saved.gaps:
        words.append(count(saved.gaps, "gap"))
    if saved.orphans:
        moved = f", with {size(saved.bytes)}" if saved.bytes else ""
        words.append(
            f"{count(saved.orphans, 'row')} left out{moved}, as what they belong to is lost"
        )
    return "; ".join(words)
