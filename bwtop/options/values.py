"""Parsers for values of flags and of the browser view's parameters; they raise ValueError (see bwtop.text.invalid)."""

import contextlib
import ipaddress
import pwd
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

from bwtop.model.networks import Network, parse_network
from bwtop.text.invalid import invalid

T = TypeVar("T")
Word = TypeVar("Word", bound=str)

FORMATS: Final = ("table", "json", "csv")
"""Output formats of intervals and reports."""


def seconds(text: str) -> float:
    """Parse seconds, from 0.1 to 3600."""
    if re.fullmatch(r"[0-9]*\.?[0-9]+", text, re.ASCII) and 0.1 <= float(text) <= 3600:
        return float(text)
    raise invalid("number of seconds", text, "0.1 to 3600")


def whole(most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from 1 to `most`."""
    digits = max(len(str(most)), 10)

    def parse(text: str) -> int:
        if _is_number(text, digits) and 1 <= int(text) <= most:
            return int(text)
        raise invalid("number", text, f"a whole number from 1 to {most}")

    return parse


def _is_number(text: str, digits: int = 10) -> bool:
    return len(text) <= digits and re.fullmatch(r"[0-9]+", text, re.ASCII) is not None


def pid(text: str) -> int:
    """Parse a process id."""
    if _is_number(text) and int(text) < 1 << 32:
        return int(text)
    raise invalid("process id", text, "a whole number")


def uid(text: str) -> int:
    """Return the uid of a user, given by name or uid."""
    if _is_number(text) and int(text) < 1 << 32:
        return int(text)
    with contextlib.suppress(KeyError, ValueError):
        return pwd.getpwnam(text).pw_uid
    raise invalid("user", text, "the name of a user of this machine, or a uid")


def name(text: str) -> str:
    """Check the name of a process, or a shell pattern."""
    if text:
        return text
    raise invalid("process name", text, "a name or a shell pattern")


def machine(text: str) -> str:
    """Check the name of a host, a shell pattern, or a host id."""
    if text:
        return text
    raise invalid("host", text, "a name, a shell pattern or a host id")


def cluster(text: str) -> str:
    """Check the name of a ClickHouse cluster."""
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", text, re.ASCII):
        return text
    raise invalid("cluster name", text, "letters, digits, _, . and -")


def network(text: str) -> Network:
    """Parse an address or a network."""
    if "%" in text:
        raise invalid("address", text, "an address without %: flows have no scope")
    try:
        return parse_network(text)
    except ValueError:
        raise invalid("address", text, "an address or a network") from None


def network_class(text: str) -> str:
    """Check the form of a network's name; the names are known once the configuration is read."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", text, re.ASCII):
        return text
    raise invalid(
        "network", text, "internet, lan, multicast, loopback or a name of the configuration"
    )


def file(text: str) -> Path:
    """Parse a path that can name a file."""
    if not text or text.endswith("/"):
        raise invalid("path", text, "the path of a file")
    return Path(text)


def endpoint(default_port: int) -> Callable[[str], tuple[str, int]]:
    """Return a parser of an address to listen on, with or without a port; port 0 is any free port."""
    example = f"127.0.0.1:{default_port} or [::1]:{default_port}"

    def parse(text: str) -> tuple[str, int]:
        found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^][:%]+)(?::([0-9]{1,5}))?", text, re.ASCII)
        port = int(found[2] or default_port) if found else 0
        if not found or port > 65535:
            raise invalid("address", text, f"an IP address and a port, such as {example}")
        host = "127.0.0.1" if found[1].lower() == "localhost" else found[1].strip("[]")
        try:
            return str(ipaddress.ip_address(host)), port
        except ValueError:
            raise invalid(
                "address",
                text,
                f"an IP address and a port, such as {example}; names are not looked up",
            ) from None

    return parse


def host(text: str) -> str:
    """Check a host name."""
    if re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", text, re.ASCII) and len(text) <= 255:
        return text
    raise invalid("host name", text, "letters, digits, _, - and dots")


def size(text: str) -> int:
    """Return bytes from a size such as 200M; at least 1M."""
    found = re.fullmatch(r"([0-9]{1,6})([KMGT])(i?B)?", text, re.ASCII | re.IGNORECASE)
    if not found:
        raise invalid("size", text, "a number with K, M, G or T, such as 200M")
    amount = int(found[1]) << 10 * (1 + "KMGT".index(found[2].upper()))
    if amount < 1 << 20:
        raise invalid("size", text, "1M or more")
    return amount


def spell_size(amount: int) -> str:
    """Return the text that size() parses to `amount`."""
    power = next(power for power in (4, 3, 2, 1) if amount % (1 << 10 * power) == 0)
    return f"{amount >> 10 * power}{'KMGT'[power - 1]}"


def spell_endpoint(endpoint: tuple[str, int]) -> str:
    """Return the text that endpoint() parses to `endpoint`."""
    host, port = endpoint
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listed(parse: Callable[[str], T]) -> Callable[[str], list[T]]:
    """Return a parser of comma-separated values."""
    return lambda text: [parse(part) for part in text.split(",")]


def one_of(what: str, words: Iterable[Word]) -> Callable[[str], Word]:
    """Return a parser of a choice of words."""
    by_name = {str(word): word for word in words}

    def parse(text: str) -> Word:
        if text in by_name:
            return by_name[text]
        raise invalid(what, text, f"one of {', '.join(by_name)}")

    return parse
