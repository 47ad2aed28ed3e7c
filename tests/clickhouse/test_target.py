"""Addresses of servers as users type them, and private passwords."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.clickhouse.target import PASSWORD, PasswordError, Target, parse, password
from tests.history.recording import is_line

NAMES = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,20}\Z")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("clickhouse://db", Target("db", 9000)),
        ("clickhouse://db/", Target("db", 9000)),
        ("clickhouse://db:9001/fleet", Target("db", 9001, database="fleet")),
        ("clickhouses://db", Target("db", 9440, secure=True)),
        ("clickhouses://writer@db:9000/x", Target("db", 9000, "writer", "x", secure=True)),
        ("clickhouse://a%40b@db", Target("db", 9000, "a@b")),
        ("clickhouse://[2001:db8::1]:9000/x", Target("2001:db8::1", 9000, database="x")),
        ("clickhouse://192.0.2.1", Target("192.0.2.1", 9000)),
        ("CLICKHOUSE://DB", Target("db", 9000)),
        (
            "clickhouses://me@a,[2001:db8::1]:9000,c:9441/x",
            Target("a", 9440, "me", "x", secure=True, more=(("2001:db8::1", 9000), ("c", 9441))),
        ),
    ],
)
def test_address_has_host_port_user_and_database(text: str, expected: Target) -> None:
    assert parse(text) == expected


INVALID = """
db|db:9000|http://db|clickhouse://|clickhouse:///bwtop|clickhouse://db:0|clickhouse://db:65536
clickhouse://db:port|clickhouse://[::1|clickhouse://db/a/b|clickhouse://db/1st|clickhouse://db/a;b
clickhouse://db/a b|clickhouse://db/тест|clickhouse://db/bwtop?secure=1|clickhouse://db/bwtop#here
clickhouse://%0a@db|clickhouse://a,|clickhouse://,a|clickhouse://a,b:0|clickhouse://a,b:x/d|clickhouse://a,me@b
"""


@pytest.mark.parametrize(
    "text", ["", "clickhouse://db/" + "x" * 65, *re.split(r"[|\n]", INVALID.strip())]
)
def test_invalid_address_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse(text)
    assert is_line(str(caught.value))


@pytest.mark.parametrize("text", ["clickhouse://me:secret@db", "clickhouse://:secret@db"])
def test_a_password_in_an_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="--password-file") as caught:
        parse(text)
    assert "secret" not in str(caught.value)


@given(
    st.builds(
        Target,
        st.sampled_from(["db", "db.example.org", "192.0.2.1", "2001:db8::1", "::1"]),
        st.integers(1, 65535),
        st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=20),
        NAMES,
        st.booleans(),
    )
)
def test_an_address_that_is_shown_can_be_typed(target: Target) -> None:
    assert parse(target.url()) == target


def test_shown_address_omits_defaults() -> None:
    assert Target("db", 9000).url() == "clickhouse://db/bwtop"
    assert Target("db", 9440, secure=True).url() == "clickhouses://db/bwtop"
    assert Target("::1", 9440, "me", "x").url() == "clickhouse://me@[::1]:9440/x"


# Passwords.


def secret(place: Path, content: bytes, mode: int = 0o600) -> Path:
    file = place / "password"
    file.write_bytes(content)
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"secret", "secret"),
        (b"secret\n", "secret"),
        (b"secret\r\n", "secret"),
        (b" with spaces \n", " with spaces "),
        ("пароль".encode(), "пароль"),
        (b"", ""),
    ],
)
def test_password_is_the_file_without_the_line_end(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    assert password(secret(tmp_path, content), {}) == expected


def test_a_file_comes_before_the_environment(tmp_path: Path) -> None:
    file = secret(tmp_path, b"of the file")
    assert password(file, {PASSWORD: "of the environment"}) == "of the file"
    assert password(None, {PASSWORD: "of the environment"}) == "of the environment"
    assert password(None, {}) == ""


def test_world_readable_password_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PasswordError, match="chmod 600") as caught:
        password(secret(tmp_path, b"secret", 0o604), {})
    assert "secret" not in str(caught.value)
    assert password(secret(tmp_path, b"secret", 0o640), {}) == "secret", "a group may be meant to"


def test_unreadable_password_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PasswordError, match="not UTF-8"):
        password(secret(tmp_path, b"\xff\xfe"), {})
    with pytest.raises(FileNotFoundError):
        password(tmp_path / "none", {})
    with pytest.raises(OSError, match=os.strerror(21)):
        password(tmp_path, {})
