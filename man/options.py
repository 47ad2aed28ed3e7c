"""The flags, as the manual and the completions want them."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from bwtop.options.flags import parser


@dataclass(frozen=True)
class Option:
    """One flag."""

    names: tuple[str, ...]
    """With their dashes, short ones first."""
    dest: str
    """What argparse calls it."""
    group: str
    help: str
    metavar: str = ""
    """What its value is called; empty: it has none."""
    choices: tuple[str, ...] = ()
    is_optional: bool = False
    """Whether the value can be left out."""
    repeats: bool = False
    """Whether it makes sense more than once."""
    excludes: tuple[str, ...] = ()
    """Names of flags that cannot stand beside it."""

    @property
    def long(self) -> str:
        """The name that says what it is."""
        return self.names[-1]


def options() -> list[Option]:
    """All flags, in the order of --help."""
    top = parser()
    excluding = _excluding(top)
    groups = sorted(top._action_groups, key=lambda group: group.title == "options")  # --help last
    return [
        _option(action, group.title or "", excluding.get(action.dest, ()))
        for group in groups
        for action in group._group_actions
    ]


def _option(action: argparse.Action, group: str, excludes: tuple[str, ...]) -> Option:
    names = tuple(sorted(action.option_strings, key=len))
    takes_value = action.nargs != 0
    choices = tuple(action.choices or ())
    return Option(
        names,
        action.dest,
        "other" if group == "options" else group,
        (action.help or "") % {"prog": "bwtop"},
        (action.metavar if isinstance(action.metavar, str) else "|".join(choices))
        if takes_value
        else "",
        choices,
        action.nargs == "?",
        isinstance(action, argparse._AppendAction | argparse._AppendConstAction),
        tuple(name for name in excludes if name not in names),
    )


def _excluding(top: argparse.ArgumentParser) -> dict[str, tuple[str, ...]]:
    """By what argparse calls a flag: the names of all in its mutually exclusive group."""
    groups = list(_exclusive(top))
    return {
        action.dest: tuple(name for other in group for name in other.option_strings)
        for group in groups
        for action in group
    }


def _exclusive(top: argparse.ArgumentParser) -> Iterator[list[argparse.Action]]:
    """Return the members of each such group; argparse keeps those of argument groups there, too."""
    for holder in (top, *top._action_groups):
        for group in holder._mutually_exclusive_groups:
            yield group._group_actions
