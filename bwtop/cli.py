"""The command: parse flags and run one mode.

Imports that only one mode needs are made in that mode, after the loader starts; loading takes longer than they do.
"""

import io
import os
import signal
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bwtop.capture.session import CaptureError
from bwtop.clickhouse.client import FleetError
from bwtop.clickhouse.target import PasswordError
from bwtop.measure.intervals import AbandonedError
from bwtop.measure.sources import NEEDS_ROOT
from bwtop.modes import common
from bwtop.modes.batch import run_batch
from bwtop.modes.demo import run_demo
from bwtop.modes.history import run_history
from bwtop.modes.record import run_record
from bwtop.modes.salvage import run_salvage
from bwtop.modes.schema import run_schema
from bwtop.modes.screen import has_terminal, run_screen
from bwtop.modes.serve import run_serve
from bwtop.options import command, config, printed, rules
from bwtop.options.command import ParsedFlags
from bwtop.options.config import ConfigError
from bwtop.options.flag import Mode
from bwtop.options.flags import FLAGS
from bwtop.rights import account as accounts
from bwtop.rights import privileges
from bwtop.rights.account import AccountError
from bwtop.rights.privileges import PrivilegeError
from bwtop.text.stderr import CANNOT, discard_output, fail

_NEED_ROOT: Final = (Mode.CHECK, Mode.RECORD, Mode.DEMO)
"""Modes that cannot show the data of another bwtop."""


_EXPECTED: Final = (
    AccountError,
    CaptureError,
    ConfigError,
    FleetError,
    PasswordError,
    PrivilegeError,
)
"""Errors to print as one line, without a traceback."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    _open_descriptors()
    try:
        _run_to_end(sys.argv[1:] if arguments is None else arguments)
    except _EXPECTED as error:
        fail(str(error))
    except sqlite3.Error as error:
        fail(f"cannot read the history: {error}")
    except BrokenPipeError:
        discard_output()  # the reader has closed the pipe
    except OSError as error:
        discard_output()
        where = f": {error.filename}" if error.filename else ""
        fail(f"{error.strerror or error}{where}")
    except AbandonedError as end:
        end.leave()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _open_descriptors() -> None:
    """Open descriptors 0, 1 and 2 if they are closed, so that no map or socket becomes standard output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - open until the process ends
    if sys.stdout is None:
        fail("standard output is closed")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _run_to_end(arguments: Sequence[str]) -> None:
    """Run the command, and write what it has printed here: a failure at exit would be a traceback."""
    try:
        _run(command.parse(arguments))
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()


def _run(given: ParsedFlags) -> None:
    files = config.files(given, os.environ, accounts.home(os.environ))
    if given.values.get(Mode.PRINT_CONFIG):
        sys.stdout.writelines(f"{line}\n" for line in printed.lines(given, files))
        return
    common.use_networks(files)
    mode = given.mode(terminal=has_terminal())
    options = given.options(mode, files.flags)
    common.use_databases(options)
    common.filter_of(options)  # exits if it names an unknown network, before anything starts
    if mode is Mode.HISTORY:
        run_history(options)
        return
    if mode is Mode.SALVAGE:
        run_salvage(options)
        return
    if mode in (Mode.INIT, Mode.PRINT_SCHEMA):
        run_schema(options, mode)
        return
    ship = common.shipping(options)
    may_measure = privileges.may_load()
    if mode is Mode.SERVE:
        run_serve(options, ship, may_measure=may_measure)
        return
    if not (may_measure or options.origin) and (mode in _NEED_ROOT or options.no_record):
        fail(NEEDS_ROOT)
    if mode is Mode.CHECK:
        from bwtop.modes import check

        sys.exit(0 if check.run(options, sys.stdout) else CANNOT)
    if mode is Mode.DEMO:
        run_demo(options, files)
        return
    if mode is Mode.RECORD:
        run_record(options, ship)
        return
    if fault := rules.fault(FLAGS["interval"], options):  # parse() has seen no configuration file
        fail(fault)
    loading = common.load(options) if may_measure and not options.origin else None
    if mode is Mode.SCREEN:
        run_screen(options, files, loading, ship=ship)
    else:
        run_batch(options, loading, ship)
