"""Parameters of the API, one row each: name, help, parser.  The OpenAPI description is made from them, too."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

from bwtop.history import dimensions, ranges
from bwtop.history.dimensions import DIMENSIONS, Dimension
from bwtop.history.nested import SORTS
from bwtop.model.conditions import Loopback
from bwtop.model.filter_fields import RECORDED
from bwtop.model.ledger import CLASSES
from bwtop.model.typed import parse
from bwtop.options import values
from bwtop.text.invalid import invalid, quoted
from bwtop.view.columns import PROCESS_COLUMNS
from bwtop.view.order import DEFAULT_SORT, parse_order
from bwtop.web.answer import refuse

LONGEST: Final = 1000
"""Maximum characters of a value."""

Values = dict[str, Any]
"""Parsed values by parameter name."""


@dataclass(frozen=True)
class Param:
    """A parameter; `parse` raises ValueError for an invalid value."""

    name: str
    help: str
    parse: Callable[[str], Any]
    default: str = ""
    """The value if omitted; empty: the same as an empty value."""
    example: str = ""
    schema: dict[str, Any] = field(default_factory=dict)
    """JSON Schema of the text, besides its type."""


def read(text: str, params: Sequence[Param]) -> Values:
    """Return the values in the query of a URL; refuse unknown, repeated and invalid parameters."""
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=len(params) + 1
        )
    except ValueError:
        refuse(HTTPStatus.BAD_REQUEST, "invalid query: too many parameters, or not UTF-8")
    known = {param.name: param for param in params}
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            expected = f"expected {', '.join(known)}" if known else "this path takes none"
            refuse(HTTPStatus.BAD_REQUEST, f"unknown parameter {quoted(name)}; {expected}")
        if name in given:
            refuse(HTTPStatus.BAD_REQUEST, f"{name} is given twice")
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
    """Return the parser and the schema of a choice of words."""
    return values.one_of("value", texts), {"enum": list(texts)}


def _optional(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a parser that maps an empty text to None."""
    return lambda text: parse(text) if text else None


def _choices(*texts: str) -> tuple[Callable[[str], frozenset[str]], dict[str, Any]]:
    """Return the parser and the schema of a comma-separated set of words."""
    one = _choice(*texts)[0]
    alternatives = "|".join(texts)
    pattern = f"^({alternatives})(,({alternatives}))*$"
    return lambda text: frozenset(map(one, text.split(","))), {"pattern": pattern}


def _one(name: str, help_: str, texts: Sequence[str], example: str = "") -> Param:
    """Return a parameter that is a choice of words; the default is the first."""
    parse, schema = _choice(*texts)
    return Param(name, help_, parse, default=texts[0], example=example or texts[-1], schema=schema)


def _filter(text: str) -> str:
    """Return the text if it is a valid filter."""
    parse(text)
    return text


def _remotes(text: str) -> frozenset[int] | None:
    """Return the pids to list with remotes; None: all."""
    if text == "all":
        return None
    return frozenset() if text == "none" else frozenset(values.listed(values.pid)(text))


def _by(text: str) -> list[Dimension]:
    """Return the dimensions of comma-separated names; one without its database would have no labels."""
    found = dimensions.parse_several(text)
    for dimension in found:
        if words := dimensions.lacking(dimension):
            raise ValueError(words)
    return found


def _history_sort(text: str) -> str:
    if not text or text.removeprefix("-") in SORTS:
        return text
    raise invalid("value", text, f"{', '.join(SORTS)}, with or without a leading -")


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
        "protocol categories, comma separated",
        _CLASSES,
        default=",".join(CLASSES),
        example="tcp,udp",
        schema=_CLASSES_SCHEMA,
    ),
    _one("loopback", "remotes in 127.0.0.0/8 and ::1", [choice.value for choice in Loopback]),
)

LIVE: Final = (
    Param(
        "filter",
        "filter, in the language of the full screen",
        _filter,
        example="curl port:443",
    ),
    *_SCOPE,
    Param(
        "sort",
        "column to sort by; a leading - reverses",
        parse_order,
        default=DEFAULT_SORT,
        example="tx_total",
        schema=_sort_schema([column.id for column in PROCESS_COLUMNS]),
    ),
    Param(
        "limit",
        "maximum number of processes",
        _optional(_WHOLE),
        default="",
        example="5",
        schema=_COUNT_SCHEMA,
    ),
    _one("idle", "show or hide processes that were idle in the interval", ("hide", "show")),
    Param(
        "remotes",
        "processes to list with their remotes: all, none, or pids, comma separated",
        _remotes,
        default="all",
        example="none",
        schema={"pattern": "^(all|none|[0-9]{1,9}(,[0-9]{1,9})*)$"},
    ),
    Param(
        "each",
        "maximum number of remotes per process",
        _optional(_WHOLE),
        default="",
        example="100",
        schema=_COUNT_SCHEMA,
    ),
)

STREAM: Final = (*LIVE, _one("past", "show the last two minutes first", ("hide", "show")))

HISTORY: Final = (
    Param(
        "range",
        ranges.HELP,
        ranges.parse_now,
        default="today",
        example="yesterday",
        schema={"maxLength": 100},
    ),
    Param(
        "by",
        f"group by {', '.join(d.name for d in DIMENSIONS)}; several, comma separated",
        _by,
        default="process",
        example="day,user",
        schema=_BY_SCHEMA,
    ),
    Param(
        "filter",
        f"filter, in the language of the full screen; fields {', '.join(f.name for f in RECORDED)}",
        lambda text: parse(text, RECORDED),
        example="port:443",
    ),
    *_SCOPE,
    Param(
        "process",
        "process names or shell patterns, comma separated",
        lambda text: _list(text, values.name),
        example="nginx*",
    ),
    Param(
        "host",
        "hosts: names, shell patterns or ids, comma separated",
        lambda text: _list(text, values.machine),
        example="web*",
    ),
    Param(
        "user",
        "user names or uids, comma separated",
        lambda text: _list(text, values.uid),
        example="0",
    ),
    Param(
        "pid",
        "process ids, comma separated; only for ranges whose seconds are still kept",
        lambda text: _list(text, values.pid),
        example="4711",
        schema={"pattern": "^[0-9]{1,9}(,[0-9]{1,9})*$"},
    ),
    Param(
        "remote",
        "remote addresses or networks, comma separated",
        lambda text: _list(text, values.network),
        example="192.0.2.0/24",
    ),
    Param(
        "sort",
        "total, rx or tx, largest first; a leading - reverses; default: total, or time where rows are grouped by time",
        _history_sort,
        default="",
        example="rx",
        schema=_sort_schema(list(SORTS)),
    ),
    Param(
        "limit",
        "maximum number of rows",
        _optional(_WHOLE),
        default="",
        example="5",
        schema=_COUNT_SCHEMA,
    ),
)
