"""The verdicts of bwtop --check."""

from contextlib import ExitStack

import pytest

from bwtop.capture.selftest import CUT, UP, V4, Move, Result, moves
from bwtop.model.flows import TCP, UDP, Traffic

MOVED = {(UDP, "127.0.0.1"): Traffic(101, 103)}


def test_all_at_its_remote_is_exact() -> None:
    assert str(Result("m", MOVED, dict(MOVED))) == "m: exact"


def test_an_unknown_remote_is_said_and_not_wrong() -> None:
    counted = {(UDP, "127.0.0.1"): Traffic(101, 0), (UDP, "*"): Traffic(0, 103)}
    result = Result("m", MOVED, counted)
    assert result.right
    assert not result.exact
    assert "not known ('*')" in str(result)


def test_a_byte_counted_twice_or_not_at_all_is_wrong() -> None:
    for counted in (
        {(UDP, "127.0.0.1"): Traffic(202, 103)},
        {(UDP, "127.0.0.1"): Traffic(101, 0)},
        {(TCP, "127.0.0.1"): Traffic(101, 103)},
        {(UDP, "127.0.0.2"): Traffic(101, 103)},
        {},
    ):
        result = Result("m", MOVED, counted)
        assert not result.right
        assert "WRONG" in str(result)


def test_what_could_not_be_tried_is_not_wrong() -> None:
    result = Result("m", {}, {}, "Address family not supported")
    assert result.right
    assert str(result) == "m: not possible here (Address family not supported)"


@pytest.mark.parametrize(("sees_datagrams", "counted"), [(True, UP), (False, CUT)])
def test_cut_datagram_counts_whole_where_it_is_seen_and_else_as_what_was_read(
    sees_datagrams: bool, counted: int
) -> None:
    def made(move: Move) -> tuple[int, int] | None:
        if (move.protocol, move.remote) != (UDP, V4):
            return None
        with ExitStack() as sockets:
            return move.make(sockets)

    cut = [move for move in moves(sees_datagrams=sees_datagrams) if "cut short" in move.name]
    assert [made(move) for move in cut] == [(counted, UP)]
