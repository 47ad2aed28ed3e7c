"""What the shells complete, from the table of flags."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Final

from bwtop.options.flag import EXCLUSIVE, Complete, Flag
from bwtop.options.flags import ROWS

MADE: Final = "Made by `make docs` from the program's own tables."


def _meaning(flag: Flag) -> str:
    """Return the help, as far as it goes without the tables of --help."""
    return flag.help.replace(" (see below)", "").partition(": today")[0]


def _words(flag: Flag) -> Sequence[str]:
    return flag.choices or flag.words


def _text(lines: Iterator[str]) -> str:
    return "\n".join(lines) + "\n"


# bash


def bash() -> str:
    """For bash-completion, or to be sourced."""
    return _text(_bash())


def _bash() -> Iterator[str]:
    names = " ".join(name for flag in ROWS for name in flag.names)
    yield f"# {MADE}"
    yield "_bwtop()"
    yield "{"
    yield "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}"
    yield "    # bash makes --flag=value three words"
    yield "    if [[ $current == = ]]; then"
    yield "        current="
    yield "    elif [[ $before == = ]]; then"
    yield "        before=${COMP_WORDS[COMP_CWORD - 2]}"
    yield "    fi"
    yield "    COMPREPLY=()"
    yield "    case $before in"
    for flag in ROWS:
        if flag.parse:
            yield f"        {' | '.join(flag.names)})"
            yield from (f"            {line}" for line in _bash_value(flag))
            yield "            ;;"
    yield "    esac"
    yield f'    mapfile -t COMPREPLY < <(compgen -W "{names}" -- "$current")'
    yield "}"
    yield "complete -F _bwtop bwtop"


def _bash_value(flag: Flag) -> Iterator[str]:
    if words := _words(flag):
        yield from _bash_words(flag, words)
    elif flag.complete is Complete.FILE:
        yield 'mapfile -t COMPREPLY < <(compgen -f -- "$current")'
        yield "compopt -o filenames 2>/dev/null"
    elif flag.complete is Complete.USER:
        yield 'mapfile -t COMPREPLY < <(compgen -u -- "$current")'
    elif flag.complete is Complete.PROCESS:
        yield 'mapfile -t COMPREPLY < <(compgen -W "$(cd /proc && echo [0-9]*)" -- "$current")'
    if flag.bare is None:
        yield "return"
    else:
        yield "[[ $current != -* ]] && return"


def _bash_words(flag: Flag, words: Sequence[str]) -> Iterator[str]:
    each = " ".join(words)
    if not flag.is_list:
        yield f'mapfile -t COMPREPLY < <(compgen -W "{each}" -- "$current")'
        return
    yield "local first="
    yield "[[ $current == *,* ]] && first=${current%,*},"
    yield f'mapfile -t COMPREPLY < <(compgen -P "$first" -W "{each}" -- "${{current##*,}}")'
    yield "compopt -o nospace 2>/dev/null"


# zsh


def zsh() -> str:
    """Return a function for $fpath."""
    return _text(_zsh())


def _zsh() -> Iterator[str]:
    yield "#compdef bwtop"
    yield f"# {MADE}"
    yield "_arguments -s -S \\"
    specs = [_zsh_option(flag) for flag in ROWS]
    yield from (f"    {spec} \\" for spec in specs[:-1])
    yield f"    {specs[-1]}"


def _zsh_option(flag: Flag) -> str:
    excluded = _excluded(flag)
    exclusion = f"({' '.join(excluded)})" if excluded else "*"
    meaning = _meaning(flag).replace("\\", "\\\\")
    for sign in "[]:":
        meaning = meaning.replace(sign, f"\\{sign}")
    value = _zsh_value(flag)
    if len(flag.names) == 1:
        name = f"{flag.long}{'=' if value and flag.bare is None else ''}"
        return shlex.quote(f"{exclusion}{name}[{meaning}]{value}")
    short, long = flag.names
    spelled = f"{{{short}+,{long}=}}" if value else f"{{{short},{long}}}"
    return f"{shlex.quote(exclusion)}{spelled}{shlex.quote(f'[{meaning}]{value}')}"


def _excluded(flag: Flag) -> list[str]:
    """Return the flags not to complete after this one."""
    if flag.repeats:
        return []
    group = [name for other in ROWS if other.group is flag.group for name in other.names]
    others = [name for name in group if name not in flag.names]
    return [*flag.names, *(others if flag.group in EXCLUSIVE else [])]


def _zsh_value(flag: Flag) -> str:
    if flag.parse is None:
        return ""
    action = ""
    if words := _words(flag):
        action = f"({' '.join(words)})"
        if flag.is_list:
            action = f"_sequence compadd - {' '.join(words)}"
    elif flag.complete is Complete.FILE:
        action = "_files"
    elif flag.complete is Complete.USER:
        action = "_users"
    elif flag.complete is Complete.PROCESS:
        action = r"{compadd - /proc/<->(/N\:t)}"  # _pids has only those of the terminal
    metavar = flag.metavar or "|".join(flag.choices)
    colons = "::" if flag.bare is not None else ":"
    return f"{colons}{metavar.replace(':', ' ')}:{action or ' '}"


# fish


def fish() -> str:
    """For fish's folder of completions."""
    return _text(_fish())


def _fish() -> Iterator[str]:
    yield f"# {MADE}"
    yield "complete -c bwtop -f"
    for flag in ROWS:
        parts = ["complete", "-c", "bwtop"]
        for name in flag.names:
            parts += ["-l", name[2:]] if name.startswith("--") else ["-s", name[1:]]
        parts += _fish_value(flag)
        yield f"{' '.join(parts)} -d {shlex.quote(_meaning(flag))}"
        if flag.bare is not None:  # fish takes such a value only after "="
            after = f"-n '__fish_prev_arg_in {' '.join(flag.names)}'"
            yield f"complete -c bwtop {after} {' '.join(_fish_value(flag))}"


def _fish_value(flag: Flag) -> list[str]:
    if flag.parse is None:
        return []
    requires = [] if flag.bare is not None else ["-x"]
    if words := _words(flag):
        listed = " ".join(words)
        if flag.is_list:
            return [*requires, "-a", f"'(__fish_append , {listed})'"]
        return [*requires, "-a", f"'{listed}'"]
    if flag.complete is Complete.FILE:
        return ["-r", "-F"]
    if flag.complete is Complete.USER:
        return [*requires, "-a", "'(__fish_complete_users)'"]
    if flag.complete is Complete.PROCESS:
        return [*requires, "-a", "'(__fish_complete_pids)'"]
    return requires
