"""The command line: arguments to options, and --help."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from bwtop import __version__
from bwtop.history.dimensions import DIMENSIONS
from bwtop.history.tiers import TIERS, in_words
from bwtop.options import rules
from bwtop.options.flag import EXCLUSIVE, Flag, Group, Mode
from bwtop.options.flags import FLAGS, ROWS, Options
from bwtop.text.invalid import quoted
from bwtop.text.stderr import fail
from bwtop.view.columns import ALL_COLUMNS

_EPILOG: Final = """\
columns (--sort):
{columns}

levels of detail, and how long each is kept by default
(--retention NAME=TIME,...; TIME is 90m, 36h, 30d, 2y or forever):
{tiers}

report groups (--by):
{dimensions}

examples:
  sudo bwtop                                  full screen; press h for help
  sudo bwtop --demo                           full screen with demo traffic
  sudo bwtop --batch -n 5                     five intervals of one second
  sudo bwtop --batch --format json | jq .     one JSON object per interval
  sudo bwtop --batch --udp --sort tx_total    processes that send most over UDP
  sudo bwtop --batch --remote 192.0.2.0/24    processes that talk to this network
  sudo bwtop --record                         record only, no display
  sudo bwtop --record --metrics 127.0.0.1     record, with Prometheus metrics on port 8063
  sudo bwtop --serve                          browser view on http://127.0.0.1:8064/
  bwtop --history                             usage today
  bwtop --history last-month --by user        usage last month, per user
  bwtop --history 7d --remote 192.0.2.0/24    usage in the last 7 days, with one network
  sudo bwtop --record --ship clickhouse://bwtop@192.0.2.9/bwtop
                                              record, and send to a ClickHouse
  bwtop --history --from clickhouse://bwtop@192.0.2.9/bwtop --by host,process
                                              usage of all hosts, per host and process
  sudo bwtop --check                          backends that work here

bwtop counts payload: the bytes that programs send and receive, without headers
and retransmissions. SIGINT, SIGTERM and SIGHUP stop bwtop after a last, shorter
interval; a second signal stops it at once.
Exit status: 0 on success, 1 if measured bytes could not be recorded, 2 on failure
or wrong usage, 130 if interrupted before the first interval.
"""

_DESCRIPTIONS: Final = {
    Group.FILTERS: "Traffic must match all filters. Lists are comma-separated.",
}

LONGEST: Final = 500
"""Characters of a message; argparse repeats arguments in its own."""


OF_OTHERS: Final = {
    "--port": "--bind ADDR:PORT",
    "--listen": "--bind ADDR:PORT",
    "--json": "--format json",
    "--csv": "--format csv",
    "--delay": "--interval",
    "--count": "--iterations",
    "--numeric": "--no-resolve",
    "--web": "--serve",
}
"""Flags that other tools have, and what they are called here."""


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, with exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Exit with `message` and status 2."""
        cut = message if len(message) <= LONGEST else f"{message[:LONGEST]}…"
        fail(f"{cut} (see bwtop --help)")


@dataclass(frozen=True)
class ParsedFlags:
    """The typed flags, by their fields in Options."""

    values: Mapping[str, Any]

    def mode(self, *, terminal: bool) -> Mode:
        """Return the requested mode; `terminal`: a full screen is possible."""
        for mode in Mode:
            if self.values.get(mode):
                return mode
        printing = ("format", "iterations", "limit")
        return Mode.SCREEN if terminal and not self.values.keys() & set(printing) else Mode.BATCH

    def options(self, mode: Mode, configured: Mapping[str, Any]) -> Options:
        """Return all options: defaults, then `configured` settings that the mode uses, then flags.

        Exit with one line and status 2 if the mode does not use one of the flags, or one lacks another.
        """
        typed = Options(**self.values)
        used = {name: value for name, value in configured.items() if mode in FLAGS[name].modes}
        options = self.over(used)
        if fault := rules.unused(typed, mode) or rules.late_fault(typed, options):
            fail(fault)
        return options

    def over(self, configured: Mapping[str, Any]) -> Options:
        """Return all options: defaults, then `configured` settings, then flags."""
        overridden = {name for typed in self.values for name in FLAGS[typed].overrides}
        kept = {name: value for name, value in configured.items() if name not in overridden}
        return Options(**{**kept, **self.values})


def parse(arguments: Sequence[str]) -> ParsedFlags:
    """Parse command-line arguments; exit with one line and status 2 if they are wrong."""
    top = parser()
    try:
        found, unknown = top.parse_known_args(join_sort(arguments))
    except argparse.ArgumentError as error:
        long = (error.argument_name or "").rpartition("/")[2]
        top.error(f"{long}: {error.message}")
    if unknown:
        top.error(f"unknown argument {quoted(' '.join(unknown))}{_meant(unknown[0])}")
    typed: dict[str, Any] = {
        name: tuple(value) if FLAGS[name].repeats else value for name, value in vars(found).items()
    }
    if fault := rules.first_fault(Options(**typed)):
        top.error(fault)
    return ParsedFlags(typed)


def _meant(unknown: str) -> str:
    """Return a question for the flag that may be meant; empty if there is none."""
    import difflib

    word = unknown.partition("=")[0]
    if not word.startswith("--"):
        return ""
    names = [name for flag in ROWS for name in flag.names if name.startswith("--")]
    begun = [name for name in names if name.startswith(word)]
    close = [*begun[:1], *difflib.get_close_matches(word, names, 1, 0.75)]
    meant = OF_OTHERS.get(word) or next(iter(close), "")
    return f"; did you mean {meant}?" if meant else ""


def parser() -> argparse.ArgumentParser:
    """Return the parser of all flags."""
    columns = "\n".join(f"  {column.id:<10} {column.help}" for column in ALL_COLUMNS)
    tiers = "\n".join(f"  {t.name:<10} {in_words(t.seconds):<10} {t.help}" for t in TIERS)
    ways = "\n".join(f"  {d.name:<12} {d.help}" for d in DIMENSIONS)
    top = _Parser(
        prog="bwtop",
        description="Show which process moves how many bytes, to and from which remote address.",
        epilog=_EPILOG.format(columns=columns, tiers=tiers, dimensions=ways),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
    )
    groups = {group: top.add_argument_group(group, _DESCRIPTIONS.get(group)) for group in Group}
    exclusive = {group: groups[group].add_mutually_exclusive_group() for group in EXCLUSIVE}
    for flag in ROWS:
        place = exclusive.get(flag.group) or groups[flag.group]
        place.add_argument(*flag.names, help=flag.help.replace("%", "%%"), **_settings(flag))
    return top


def _settings(flag: Flag) -> dict[str, Any]:
    """Return how argparse treats a flag."""
    if flag.exits:
        more = {"version": f"bwtop {__version__}"} if flag.exits == "version" else {}
        return {"action": flag.exits, **more}
    if flag.parse is None:
        return {"dest": flag.name, "action": "store_true" if flag.turns else "store_false"}
    shape: dict[str, Any] = {"dest": flag.name, "type": _reported(flag.parse)}
    shape["metavar"] = f"{{{','.join(flag.choices)}}}" if flag.choices else flag.metavar
    if flag.repeats:
        shape["action"] = "extend"
    if flag.bare is not None:
        shape |= {"nargs": "?", "const": flag.parse(flag.bare)}
    return shape


def _reported(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Wrap a parser so that argparse shows the text of its ValueError."""

    def checked(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def join_sort(arguments: Sequence[str]) -> list[str]:
    """Join "-s -pid" into one argument; argparse takes a value with a leading "-" for a flag."""
    reversed_columns = {f"-{column.id}" for column in ALL_COLUMNS}
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in ("-s", "--sort") and argument in reversed_columns:
            joined[-1] = f"--sort={argument}"
        else:
            joined.append(argument)
    return joined
