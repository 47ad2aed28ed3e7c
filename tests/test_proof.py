"""The verdicts of bwtop --check."""

from bwtop.model.flows import TCP, UDP, Traffic
from bwtop.proof import Result

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
