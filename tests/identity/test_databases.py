"""Autonomous systems and countries from MaxMind DB files, and files that are none."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bwtop import cli
from bwtop.identity import databases
from bwtop.identity.databases import DatabaseError
from bwtop.model import geography
from bwtop.model.conditions import FilterError
from bwtop.model.geography import Geography
from bwtop.model.typed import parse
from tests.build import packed, remote
from tests.history.keep import NOON, Kept, delta
from tests.identity.mmdb import ASNS, COUNTRIES, database
from tests.kernel.running import command
from tests.processes import ran

ADDRESSES = ("192.0.2.9", "198.51.100.1", "2001:db8::1", "203.0.113.1", "10.1.1.1", "9.9.9.9", "*")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "asn.mmdb", tmp_path / "country.mmdb"
    for path, records in zip(paths, (ASNS, COUNTRIES), strict=True):
        path.write_bytes(database(records))
    return paths


@pytest.fixture
def known(files: tuple[Path, Path]) -> Iterator[Geography]:
    before = geography.current()
    found = Geography(*(databases.load(path, "--x-db", os.environ) for path in files))
    geography.use(found)
    yield found
    geography.use(before)


def test_records_of_all_makers(known: Geography) -> None:
    systems = [known.asn(packed(address)) for address in ADDRESSES]
    odd = f"AS64497 \x1b[2J{'x' * 60}"
    assert systems == ["AS64496 Example, Inc.", odd, "AS64498", None, None, None, None]
    countries = [known.country(packed(address)) for address in ADDRESSES]
    assert countries == ["DE", "FR", "CA", "JP", None, None, None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("asn:64496", {"192.0.2.9"}),
        ("asn:as64498,EXAMPLE", {"192.0.2.9", "2001:db8::1"}),
        ("asn:6449", set()),
        ("country:de,JP", {"192.0.2.9", "203.0.113.1"}),
        ("-country:de asn:as64496", set()),
    ],
)
def test_filters(known: Geography, text: str, expected: set[str]) -> None:
    keep = parse(text)
    (who,) = delta(NOON, 1, 1).flows
    assert {a for a in ADDRESSES if keep.takes(who[1], remote(a))} == expected


@pytest.mark.parametrize("text", ["asn:1", "country:de"])
def test_filter_without_a_database_says_what_to_type(text: str) -> None:
    with pytest.raises(FilterError, match=f"--{text.partition(':')[0]}-db FILE"):
        parse(text)


def test_country_is_two_letters(known: Geography) -> None:
    with pytest.raises(FilterError, match="expected two letters such as DE"):
        parse("country:germany")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_is_an_error_or_an_unknown_answer(tmp_path: Path, data: st.DataObject) -> None:
    """Cut files and changed bytes lead to no traceback; the C library reads what passes the first look."""
    whole = bytearray(database(ASNS))
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.mmdb"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    with contextlib.suppress(DatabaseError):
        found = Geography(databases.load(path, "--asn-db", os.environ))
        for address in ADDRESSES:
            assert isinstance(found.asn(packed(address)), str | None)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return ran(command("--no-config", *arguments))


def test_report_by_system_and_country(files: tuple[Path, Path], tmp_path: Path) -> None:
    kept = Kept(path=tmp_path / "history.db")
    for place, address in enumerate(ADDRESSES):
        kept.append(delta(NOON + place, 10**place, 0, far=remote(address)))
    kept.connection.close()
    flags = [f"--asn-db={files[0]}", f"--country-db={files[1]}", f"--db={tmp_path}/history.db"]
    found = run("--history=all", "--by=asn,country", "--format=json", *flags)
    rows = json.loads(found.stdout)["rows"]
    assert {(row["asn"], row["country"]): row["rx"] for row in rows} == {
        ("AS64496 Example, Inc.", "DE"): 1,
        (f"AS64497 \x1b[2J{'x' * 60}", "FR"): 10,
        ("AS64498", "CA"): 100,
        (None, "JP"): 1000,
        (None, None): 1110000,
    }
    table = run("--history=all", "--by=asn", *flags).stdout
    assert "AS64496 Example, Inc." in table
    assert "\x1b" not in table


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--by=asn"], "--by asn requires --asn-db PATH, a MaxMind DB file"),
        (["--asn-db=/no/such.mmdb"], "No such file or directory: /no/such.mmdb"),
        (["--asn-db=/dev/zero"], "not a regular file: /dev/zero"),
        (["--country-db=pyproject.toml"], "--country-db: pyproject.toml is no MaxMind DB file"),
        (["--net=moon"], "invalid network 'moon'; expected internet, lan, "),
    ],
)
def test_mistake_is_one_line(
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "run_history", lambda _: pytest.fail("it goes on"))
    monkeypatch.setattr(cli, "discard_output", lambda: None)  # it needs descriptor 1
    with pytest.raises(SystemExit) as raised:
        cli.main(["--no-config", "--history", *arguments])
    said = capsys.readouterr().err
    assert (raised.value.code, said.count("\n")) == (2, 1)
    assert said.startswith(f"bwtop: {words}")


def test_missing_module_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    with pytest.raises(DatabaseError, match="--asn-db needs maxminddb; install python3-maxminddb"):
        databases.load(Path(__file__), "--asn-db", os.environ)
