"""The autonomous system (AS) and the country of an address, from databases that the user has.

The databases are a setting of this process, as the networks are (see model.networks).
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

KNOWN: Final = 16384
"""Addresses whose answers are kept."""

_LONGEST: Final = 64
"""Characters of the name of an AS; the rest is left out."""

Records = Callable[[bytes], Mapping[str, Any] | None]
"""Return a database's record of a packed address; None: it has none."""


class Geography:
    """The AS and the country of addresses, each None where it is unknown."""

    def __init__(self, asn: Records | None = None, country: Records | None = None) -> None:
        """Take the records of a database of systems, and of one of countries; None: there is none."""
        self.has_asn, self.has_country = asn is not None, country is not None
        self.asn = lru_cache(KNOWN)(lambda address: _asn(asn(address)) if asn else None)
        self.country = lru_cache(KNOWN)(
            lambda address: _country(country(address)) if country else None
        )


def _asn(record: Mapping[str, Any] | None) -> str | None:
    """Return the number and name in a record, such as "AS64496 Example"; of MaxMind, DB-IP, IPinfo or iptoasn."""
    if not record:
        return None
    number = record.get("autonomous_system_number", record.get("asn"))
    found = re.fullmatch(r"(?:AS)?([0-9]{1,10})", str(number), re.ASCII | re.IGNORECASE)
    if not found:
        return None
    keys = ("autonomous_system_organization", "as_name", "name")
    name = next((str(record[key]) for key in keys if record.get(key)), "")
    return f"AS{found[1]} {name[:_LONGEST]}".rstrip()


def _country(record: Mapping[str, Any] | None) -> str | None:
    """Return the ISO 3166 code of the country in a record; IPinfo has it beside the name, MaxMind within the country."""
    if not record:
        return None
    country = record.get("country")
    code = country.get("iso_code") if isinstance(country, Mapping) else country
    for found in (code, record.get("country_code")):
        if isinstance(found, str) and re.fullmatch(r"[A-Za-z]{2}", found, re.ASCII):
            return found.upper()
    return None


class _CurrentGeography:
    """The databases of this process."""

    def __init__(self) -> None:
        self.geography = Geography()


_CURRENT: Final = _CurrentGeography()


def current() -> Geography:
    """Return the databases of this process."""
    return _CURRENT.geography


def use(geography: Geography) -> None:
    """Set the databases of this process: once, before anything is measured, asked for or forked."""
    _CURRENT.geography = geography
