"""Typed filters: `curl port:443 | -user:root`, as text to terms."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from bwtop.model import conditions
from bwtop.model.conditions import FilterError
from bwtop.model.filter import Either, Filter, FilterField, Term
from bwtop.model.filter_fields import FIELDS, WORD

MOST_TERMS: Final = 24
"""Terms of a filter: more come from a paste, and each takes milliseconds with 10,000 processes."""

_TOKEN: Final = re.compile(
    r"""(?P<either>\|+) | (?P<sign>[-!]?) (?P<text>
    (?:[A-Za-z]+:)? '[^']* (?:'|$)          # single quotes, at the start of a word or value
    | (?: [^\s"|] | "[^"]* (?:"|$) )+ )""",
    re.VERBOSE,
)
"""Words between blanks and bars; quotes protect both."""

_FIELD: Final = re.compile(r"([A-Za-z]+):(.*)", re.DOTALL)

_ADDRESS: Final = re.compile(r"[0-9A-Fa-f:.]+")
"""An IPv6 address or the start of one, such as dead:beef::1, rather than a field."""

_NETWORK: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]+){3}|[0-9A-Fa-f:]*::?[0-9A-Fa-f:.]*)/[0-9]*")
"""A network or, while it is typed, an address and a slash."""

_PORT: Final = re.compile(r":([0-9]+(?:-[0-9]*)?)")

_COMPARED: Final = re.compile(r"([A-Za-z]+)(!=|[=<>]+)(.*)", re.DOTALL)
"""A field without its colon."""


_NAMES: Final = frozenset(one.name for one in FIELDS)


class _Token(NamedTuple):
    text: str
    """Without quotes."""
    negated: bool = False
    quoted: bool = False
    """True if it begins with a quote: it is plain text."""


_OR: Final = _Token("|")
_OR_WORDS: Final = ("or",)
_AND_WORDS: Final = ("and", "&", "&&")
_NOT_WORDS: Final = ("not",)


def parse(text: str, fields: Sequence[FilterField] = FIELDS) -> Filter:
    """Return the filter of a typed text; raise FilterError. An incomplete term such as `port:` is ignored."""
    known = {one.name: one for one in fields}
    tokens = list(_tokens(text))
    _refuse_parentheses(tokens)
    sides: list[list[Term]] = [[]]
    for token in tokens:
        if token is _OR:
            sides.append([])
        elif (term := _term(token, known)) and term not in sides[-1]:
            sides[-1].append(term)
    if sum(map(len, sides)) > MOST_TERMS:
        raise FilterError(f"too many terms; expected {MOST_TERMS} or fewer")
    filters = tuple(Filter(tuple(side)) for side in sides if side)
    if len(filters) < 2:
        return filters[0] if filters else Filter()
    return Filter((Either(filters),))


def last_term(text: str) -> int:
    """Return where the term begins that a text ends with; its length if it ends with none."""
    found = list(_TOKEN.finditer(text))[-1:]
    ends = [one for one in found if one["text"] is not None and one.end() == len(text)]
    return ends[0].start() if ends else len(text)


def _tokens(text: str) -> Iterator[_Token]:
    negated = False
    for found in _TOKEN.finditer(text):
        word = found["text"]
        if word is None:
            yield _OR
            continue
        quote = '"' if '"' in word or not re.search(r"(^|:)'", word) else "'"
        plain, sign = word.replace(quote, ""), bool(found["sign"])
        quoted = word.startswith(quote)
        if word.casefold() in _OR_WORDS and not sign:
            yield _OR
        elif word.casefold() in _NOT_WORDS and not sign:
            negated = not negated
        elif word.casefold() not in _AND_WORDS or sign:
            if plain not in ("", "-", "!"):
                yield _Token(plain, sign != negated, quoted)
            negated = False


def _refuse_parentheses(tokens: Sequence[_Token]) -> None:
    """Raise FilterError for groups of words: they would find nothing."""
    excess = [0 if one.quoted else one.text.count("(") - one.text.count(")") for one in tokens]
    if any(number > 0 for number in excess) and any(number < 0 for number in excess):
        raise FilterError("no parentheses; for (a | b) c write a c | b c")


def _term(token: _Token, fields: Mapping[str, FilterField]) -> Term | None:
    """Return the term of a word; None if it is incomplete."""
    text = token.text
    if token.quoted:
        return WORD.term([text], negated=token.negated)
    if bare := _bare(text, fields):
        name, value = bare
        return fields[name].term([value], negated=token.negated)
    if compared := _COMPARED.fullmatch(text):
        _refuse_comparison(compared, fields)
    named = None if _ADDRESS.fullmatch(text) else _FIELD.fullmatch(text)
    if not named or (named[2].startswith(":") and named[1].lower() not in fields):
        return WORD.term([text], negated=token.negated)
    values = [part for part in named[2].split(",") if part]
    return _field(named[1].lower(), fields).term(values, negated=token.negated) if values else None


def _bare(text: str, fields: Mapping[str, FilterField]) -> tuple[str, str] | None:
    """Return the field and value of a network, an address or name with a port, or a port, without a field."""
    if found := _PORT.fullmatch(text):
        return "port", found[1]
    if _NETWORK.fullmatch(text):
        return "remote", text.removesuffix("/")
    found = conditions.ENDPOINT.fullmatch(text)
    is_field = found is not None and found["address"].lower() in fields
    return ("remote", text) if found and not is_field else None


def _refuse_comparison(compared: re.Match[str], fields: Mapping[str, FilterField]) -> None:
    """Raise FilterError for a field without its colon."""
    name, sign, value = compared.groups()
    if name.lower() not in _NAMES:
        return
    field = _field(name.lower(), fields)
    sense = sign.strip("=!")[:1] if field.live else ""
    wanted = f"{'-' if sign.startswith('!') else ''}{field.name}:{sense}{value}"
    raise FilterError(f"invalid term {name + sign + value!r}; expected {wanted}")


def _field(name: str, fields: Mapping[str, FilterField]) -> FilterField:
    if name not in fields:
        raise FilterError(f"invalid field {name!r}; expected {', '.join(fields)}")
    return fields[name]
