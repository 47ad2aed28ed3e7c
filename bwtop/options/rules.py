"""The rules between flags: which of them contradict each other or need another one."""

from bwtop.options.flag import Flag
from bwtop.options.flags import FLAGS, Options


def first_fault(options: Options) -> str | None:
    """Return a message about the first flag that breaks a rule, or None."""
    faults = (fault(flag, options) for flag in FLAGS.values())
    return next((found for found in faults if found), None)


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


def _is_set(name: str, options: Options) -> bool:
    return bool(getattr(options, name) != FLAGS[name].default)
