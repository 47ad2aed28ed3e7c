"""The address of an OpenTelemetry collector."""

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from bwtop.text.invalid import invalid

PATH: Final = "/v1/metrics"
"""Path of metrics in OTLP over HTTP, where the address has none."""

HEADERS: Final = ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
"""Environment variables of further headers, such as those with a token; the first one that is set counts."""

_PORTS: Final = {"http": 4318, "https": 443}
_EXPECTED: Final = f"http://host:{_PORTS['http']}, or https://"


class OtlpTarget(NamedTuple):
    """A collector that takes OTLP over HTTP."""

    secure: bool
    host: str
    port: int
    path: str

    def url(self) -> str:
        """Return the address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' * self.secure}://{host}:{self.port}{self.path}"


def parse(text: str) -> OtlpTarget:
    """Parse http[s]://host[:port][/path]; raise ValueError."""
    try:
        found = urlsplit(text)
        port = found.port
        (found.hostname or "").encode("idna")  # as sockets do: labels that are empty or too long
    except ValueError:
        raise invalid("address", text, _EXPECTED) from None
    if found.password is not None or found.username is not None:
        raise ValueError(f"do not put credentials in the URL; use ${HEADERS[1]}")
    is_plain = text.isascii() and text.isprintable() and " " not in text
    if (
        found.scheme not in _PORTS
        or not (found.hostname and is_plain)
        or port == 0
        or found.query + found.fragment
    ):
        raise invalid("address", text, _EXPECTED)
    path = found.path if found.path.strip("/") else PATH
    return OtlpTarget(found.scheme == "https", found.hostname, port or _PORTS[found.scheme], path)


def headers(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of the environment, "name=value,..."; what is not of that form is left out."""
    text = next((environment[name] for name in HEADERS if environment.get(name)), "")
    pairs = (part.partition("=") for part in text.split(","))
    found = {name.strip(): unquote(value).strip() for name, _, value in pairs}
    return {name: value for name, value in found.items() if _is_header(name, value)}


def _is_header(name: str, value: str) -> bool:
    is_name = bool(name) and name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return is_name and bool(value) and value.isascii() and value.isprintable()
