"""What the shells complete, from the table of flags."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Final

from bwtop.history.dimensions import DIMENSIONS
from bwtop.history.tiers import TIERS
from bwtop.view.columns import ALL_COLUMNS
from man.options import Option, options

_COLUMNS: Final = [column.id for column in ALL_COLUMNS]

WORDS: Final[dict[str, Sequence[str]]] = {
    "sort": [*_COLUMNS, *(f"-{name}" for name in _COLUMNS)],
    "by": [dimension.name for dimension in DIMENSIONS],
    "retention": [f"{tier.name}=" for tier in TIERS],
    "history": [
        *("today", "yesterday", "week", "last-week", "month", "last-month"),
        *("24h", "7d", "all"),
    ],
}
"""What may stand as a value, by what argparse calls the flag, where that are no choices of its own."""

LISTS: Final = frozenset({"by", "retention"})
"""Of these, the flags whose values are comma separated lists."""

FILES: Final = frozenset({"db", "token_file", "chart_js", "config"})
USERS: Final = frozenset({"user"})
PIDS: Final = frozenset({"pid"})

MADE: Final = "Made by `make docs` from the program's own tables."


def _meaning(option: Option) -> str:
    """Its help, as far as that goes without the tables of --help."""
    return option.help.replace(" (see below)", "").partition(": today")[0]


def _words(option: Option) -> Sequence[str]:
    return option.choices or WORDS.get(option.dest, ())


def _text(lines: Iterator[str]) -> str:
    return "\n".join(lines) + "\n"


# bash


def bash() -> str:
    """For bash-completion, or to be sourced."""
    return _text(_bash())


def _bash() -> Iterator[str]:
    found = options()
    names = " ".join(name for option in found for name in option.names)
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
    for option in found:
        if option.metavar:
            yield f"        {' | '.join(option.names)})"
            yield from (f"            {line}" for line in _bash_value(option))
            yield "            ;;"
    yield "    esac"
    yield f'    mapfile -t COMPREPLY < <(compgen -W "{names}" -- "$current")'
    yield "}"
    yield "complete -F _bwtop bwtop"


def _bash_value(option: Option) -> Iterator[str]:
    if words := _words(option):
        yield from _bash_words(option, words)
    elif option.dest in FILES:
        yield 'mapfile -t COMPREPLY < <(compgen -f -- "$current")'
        yield "compopt -o filenames 2>/dev/null"
    elif option.dest in USERS:
        yield 'mapfile -t COMPREPLY < <(compgen -u -- "$current")'
    elif option.dest in PIDS:
        yield 'mapfile -t COMPREPLY < <(compgen -W "$(cd /proc && echo [0-9]*)" -- "$current")'
    if not option.is_optional:
        yield "return"
    else:
        yield "[[ $current != -* ]] && return"


def _bash_words(option: Option, words: Sequence[str]) -> Iterator[str]:
    each = " ".join(words)
    if option.dest not in LISTS:
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
    specs = [_zsh_option(option) for option in options()]
    yield from (f"    {spec} \\" for spec in specs[:-1])
    yield f"    {specs[-1]}"


def _zsh_option(option: Option) -> str:
    excluded = [] if option.repeats else [*option.names, *option.excludes]
    exclusion = f"({' '.join(excluded)})" if excluded else "*"
    meaning = _meaning(option).replace("\\", "\\\\")
    for sign in "[]:":
        meaning = meaning.replace(sign, f"\\{sign}")
    value = _zsh_value(option)
    if len(option.names) == 1:
        name = f"{option.long}{'=' if value and not option.is_optional else ''}"
        return shlex.quote(f"{exclusion}{name}[{meaning}]{value}")
    short, long = option.names
    spelled = f"{{{short}+,{long}=}}" if value else f"{{{short},{long}}}"
    return f"{shlex.quote(exclusion)}{spelled}{shlex.quote(f'[{meaning}]{value}')}"


def _zsh_value(option: Option) -> str:
    if not option.metavar:
        return ""
    action = ""
    if words := _words(option):
        action = f"({' '.join(words)})"
        if option.dest in LISTS:
            action = f"_sequence compadd - {' '.join(words)}"
    elif option.dest in FILES:
        action = "_files"
    elif option.dest in USERS:
        action = "_users"
    elif option.dest in PIDS:
        action = r"{compadd - /proc/<->(/N\:t)}"  # _pids has only those of the terminal
    colons = "::" if option.is_optional else ":"
    return f"{colons}{option.metavar.replace(':', ' ')}:{action or ' '}"


# fish


def fish() -> str:
    """For fish's folder of completions."""
    return _text(_fish())


def _fish() -> Iterator[str]:
    yield f"# {MADE}"
    yield "complete -c bwtop -f"
    for option in options():
        parts = ["complete", "-c", "bwtop"]
        for name in option.names:
            parts += ["-l", name[2:]] if name.startswith("--") else ["-s", name[1:]]
        parts += _fish_value(option)
        yield f"{' '.join(parts)} -d {shlex.quote(_meaning(option))}"
        if option.is_optional:  # fish takes such a value only after "="
            after = f"-n '__fish_prev_arg_in {' '.join(option.names)}'"
            yield f"complete -c bwtop {after} {' '.join(_fish_value(option))}"


def _fish_value(option: Option) -> list[str]:
    if not option.metavar:
        return []
    requires = [] if option.is_optional else ["-x"]
    if words := _words(option):
        listed = " ".join(words)
        if option.dest in LISTS:
            return [*requires, "-a", f"'(__fish_append , {listed})'"]
        return [*requires, "-a", f"'{listed}'"]
    if option.dest in FILES:
        return ["-r", "-F"]
    if option.dest in USERS:
        return [*requires, "-a", "'(__fish_complete_users)'"]
    if option.dest in PIDS:
        return [*requires, "-a", "'(__fish_complete_pids)'"]
    return requires
