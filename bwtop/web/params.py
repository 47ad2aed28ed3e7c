"""Parameters of the API: a row each, with what may stand there.  The OpenAPI description is made of them too."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

from bwtop.history import dimensions, ranges
from bwtop.history.dimensions import DIMENSIONS
from bwtop.model import query
from bwtop.model.filter import Loopback
from bwtop.model.ledger import CLASSES
from bwtop.options import values
from bwtop.output.request import SORTS
from bwtop.view.columns import DEFAULT_SORT, PROCESS_COLUMNS, parse_order
from bwtop.web.answer import refuse

LONGEST: Final = 1000
"""Characters of a value."""

Values = dict[str, Any]
"""What was asked for, by the parameters' names."""


@dataclass(frozen=True)
class Param:
    """One of them; `parse` raises ValueError for what may not stand there."""

    name: str
    help: str
    parse: Callable[[str], Any]
    default: str = ""
    """What it is when it is left out; empty: the same as with an empty value."""
    example: str = ""
    schema: dict[str, Any] = field(default_factory=dict)
    """Of the text, beyond its being one (JSON Schema)."""


def read(text: str, params: Sequence[Param]) -> Values:
    """The values in the query of a URL; refuses what is no parameter, comes twice or makes no sense."""
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=len(params) + 1
        )
    except ValueError:
        refuse(HTTPStatus.BAD_REQUEST, "the query cannot be read: too many parameters, or no UTF-8")
    known = {param.name: param for param in params}
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            there_are = f"there are {', '.join(known)}" if known else "there are none"
            refuse(HTTPStatus.BAD_REQUEST, f"no parameter {name!r}; {there_are}")
        if name in given:
            refuse(HTTPStatus.BAD_REQUEST, f"{name} comes twice")
        given[name] = value
    return {param.name: _parse(param, given.get(param.name) or param.default) for param in params}


def _parse(param: Param, text: str) -> Any:
    if len(text) > LONGEST:
        refuse(HTTPStatus.BAD_REQUEST, f"{param.name} is longer than {LONGEST} characters")
    try:
        return param.parse(text)
    except ValueError as error:
        refuse(HTTPStatus.BAD_REQUEST, f"{param.name}: {error}")


def _choice(*texts: str) -> tuple[Callable[[str], str], dict[str, Any]]:
    """One of several words: how it is read, and its schema."""

    def parse(text: str) -> str:
        if text in texts:
            return text
        raise ValueError(f"{text!r} is not one of {', '.join(texts)}")

    return parse, {"enum": list(texts)}


def _optional(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """None where nothing is said."""
    return lambda text: parse(text) if text else None


def _choices(*texts: str) -> tuple[Callable[[str], frozenset[str]], dict[str, Any]]:
    """Several of some words, comma separated."""
    one = _choice(*texts)[0]
    alternatives = "|".join(texts)
    pattern = f"^({alternatives})(,({alternatives}))*$"
    return lambda text: frozenset(map(one, text.split(","))), {"pattern": pattern}


def _one(name: str, help_: str, texts: Sequence[str], example: str = "") -> Param:
    """One that is a word of several, by default the first."""
    parse, schema = _choice(*texts)
    return Param(name, help_, parse, texts[0], example or texts[-1], schema)


def _filter(text: str) -> str:
    """The text itself, once it is known that it can be understood."""
    query.parse(text)
    return text


def _remotes(text: str) -> frozenset[int] | None:
    """Pids whose remotes are wanted; None: those of all."""
    if text == "all":
        return None
    return frozenset() if text == "none" else frozenset(values.listed(values.pid)(text))


def _history_sort(text: str) -> str:
    if not text or text.removeprefix("-") in SORTS:
        return text
    raise ValueError(f"{text!r} is not one of {', '.join(SORTS)}, with a leading - or without")


def _sort_schema(names: Sequence[str]) -> dict[str, Any]:
    return {"enum": [sign + name for name in names for sign in ("", "-")]}


_CLASSES, _CLASSES_SCHEMA = _choices(*CLASSES)
_BY_SCHEMA: Final = _choices(*(d.name for d in DIMENSIONS))[1]
_COUNT_SCHEMA: Final = {"pattern": "^[1-9][0-9]{0,5}$"}
_WHOLE: Final = values.whole(999_999)


def _list(text: str, parse: Callable[[str], Any]) -> list[Any]:
    return values.listed(parse)(text) if text else []


_SCOPE: Final = (
    Param(
        "proto",
        "categories of protocols, comma separated",
        _CLASSES,
        ",".join(CLASSES),
        "tcp,udp",
        _CLASSES_SCHEMA,
    ),
    _one("loopback", "remotes in 127.0.0.0/8 and ::1", [choice.value for choice in Loopback]),
)

LIVE: Final = (
    Param(
        "filter",
        "as on the full screen",
        _filter,
        example="curl port:443",
    ),
    *_SCOPE,
    Param(
        "sort",
        "column to sort by; a leading - reverses",
        parse_order,
        DEFAULT_SORT,
        "tx_total",
        _sort_schema([column.id for column in PROCESS_COLUMNS]),
    ),
    Param("limit", "processes at most", _optional(_WHOLE), "", "5", _COUNT_SCHEMA),
    _one("idle", "processes that moved nothing in the interval", ("hide", "show")),
    Param(
        "remotes",
        "whose remotes: all, none, or pids",
        _remotes,
        "all",
        "none",
        {"pattern": "^(all|none|[0-9]{1,10}(,[0-9]{1,10})*)$"},
    ),
    Param("each", "remotes of a process at most", _optional(_WHOLE), "", "100", _COUNT_SCHEMA),
)

STREAM: Final = (*LIVE, _one("past", "begin with the last two minutes", ("hide", "show")))

HISTORY: Final = (
    Param(
        "range",
        ranges.HELP,
        lambda text: ranges.parse(text, time.time()),
        "today",
        "yesterday",
        {"maxLength": 100},
    ),
    Param(
        "by",
        f"group by {', '.join(d.name for d in DIMENSIONS)}; several, comma separated",
        dimensions.parse_several,
        "process",
        "day,user",
        _BY_SCHEMA,
    ),
    Param(
        "filter",
        f"as on the full screen, of {', '.join(f.name for f in query.RECORDED)}",
        lambda text: query.parse(text, query.RECORDED),
        example="port:443",
    ),
    *_SCOPE,
    Param(
        "process",
        "names, or shell patterns of them, comma separated",
        lambda text: _list(text, values.name),
        example="nginx*",
    ),
    Param(
        "host",
        "machines' names, shell patterns of them, or ids, comma separated",
        lambda text: _list(text, values.machine),
        example="web*",
    ),
    Param(
        "user",
        "names or numbers, comma separated",
        lambda text: _list(text, values.uid),
        example="0",
    ),
    Param(
        "pid",
        "process ids, comma separated; as far back as seconds are kept",
        lambda text: _list(text, values.pid),
        example="4711",
        schema={"pattern": "^[0-9]{1,10}(,[0-9]{1,10})*$"},
    ),
    Param(
        "remote",
        "addresses or networks, comma separated",
        lambda text: _list(text, values.network),
        example="192.0.2.0/24",
    ),
    Param(
        "sort",
        "total, rx or tx, the largest first; a leading - reverses; without it rows of time keep its order",
        _history_sort,
        "",
        "rx",
        _sort_schema(list(SORTS)),
    ),
    Param("limit", "rows at most", _optional(_WHOLE), "", "5", _COUNT_SCHEMA),
)
