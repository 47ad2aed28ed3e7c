"""The rules between flags: which of them contradict each other, need another one, or are not used by a mode."""

from typing import Final

from bwtop.options.flag import Flag, Mode
from bwtop.options.flags import FLAGS, Options

_SCREENS: Final = frozenset({Mode.SCREEN, Mode.DEMO})

_LATE: Final = ("password_file",)
"""Flags that need what a configuration file may give."""


def first_fault(typed: Options) -> str | None:
    """Return a message about the first flag that breaks a rule whatever a configuration file gives, or None."""
    faults = (fault(flag, typed) for flag in FLAGS.values() if flag.name not in _LATE)
    return next(filter(None, faults), None)


def late_fault(typed: Options, options: Options) -> str | None:
    """Return a message about the first typed flag that lacks what configuration files do not give either, or None."""
    faults = (fault(FLAGS[name], options) for name in _LATE if _is_set(name, typed))
    return next(filter(None, faults), None)


def fault(flag: Flag, options: Options) -> str | None:
    """Return a message if the flag is set and breaks a rule, else None."""
    if not _is_set(flag.name, options):
        return None
    for name, why in flag.against.items():
        if _is_set(name, options):
            return f"{flag.long} cannot be used with {FLAGS[name].long}{why}"
    if flag.needs and not any(_is_set(name, options) for name in flag.needs):
        needed = (f"{FLAGS[name].long}{more}" for name, more in flag.needs.items())
        return f"{flag.long} requires {' or '.join(needed)}"
    return flag.check(options) if flag.check else None


def unused(typed: Options, mode: Mode) -> str | None:
    """Return a message about the first typed flag that the mode does not use, or None.

    Flags that no mode uses by itself are those of modes and of configuration files.  How the screen looks may be in a shell's
    alias of bwtop, and is left aside.
    """
    for flag in FLAGS.values():
        used = flag.modes | flag.modes_if_typed
        if not used <= _SCREENS and mode not in used and _is_set(flag.name, typed):
            return f"{flag.long} is not used by {FLAGS[mode].long}"
    return None


def _is_set(name: str, options: Options) -> bool:
    return bool(getattr(options, name) != FLAGS[name].default)
