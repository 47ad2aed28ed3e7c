"""Answers of slow functions come later, and nobody waits for them."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from bwtop.identity import lookup
from bwtop.identity.lookup import AGE, REST, RETRY, Lookup, Unanswered, Unsettled
from tests.build import eventually


class Source:
    """A source that answers once it is let go, and remembers its questions."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.go = threading.Event()
        self.answer: Callable[[int], str | None] = lambda key: f"name {key}"

    def __call__(self, key: int) -> str | None:
        self.asked.append(key)
        self.go.wait(60)
        return self.answer(key)


def fail(_: int) -> str | None:
    """Answer nothing."""
    raise Unanswered


@pytest.fixture
def source() -> Iterator[Source]:
    """Yield a source; no thread waits for it afterwards."""
    made = Source()
    yield made
    made.go.set()


def later(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let so many seconds pass."""
    now = time.monotonic
    patch.setattr(time, "monotonic", lambda: now() + seconds)


def test_answer_is_none_until_the_source_has_given_it(source: Source) -> None:
    names = Lookup(source, "test", 1)
    assert names.get(1) is None
    assert eventually(lambda: source.asked == [1])
    assert names.get(1) is None
    assert not names.is_known(1)
    source.go.set()
    assert eventually(lambda: names.get(1) == "name 1")
    assert names.is_known(1)
    assert source.asked == [1], "it was asked once"


def test_negative_answer_is_kept(source: Source) -> None:
    source.answer = lambda _: None
    source.go.set()
    names = Lookup(source, "test", 1)
    names.wait([1, 1, 2], 30)
    assert [names.get(key) for key in (1, 2)] == [None, None]
    assert sorted(source.asked) == [1, 2]
    assert names.is_known(1)


def test_slow_answer_does_not_hold_up_another() -> None:
    slow, fast = Source(), Source()
    fast.go.set()
    names: Lookup[int, str] = Lookup(lambda key: (slow if key == 1 else fast)(key), "test", 2)
    assert names.get(1) is None
    names.wait([2], 30)
    assert names.get(2) == "name 2"
    assert names.get(1) is None
    slow.go.set()


def test_wait_ends_without_an_answer(source: Source) -> None:
    names = Lookup(source, "test", 1)
    names.wait([1], 0.01)
    assert names.get(1) is None


def test_key_that_found_no_room_is_asked_for_again(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "WAITING", 1)
    names = Lookup(source, "test", 2)
    for key in range(20):
        assert names.get(key) is None
    source.go.set()
    assert eventually(lambda: all(names.get(key) for key in range(20)))


def test_number_of_answers_is_bounded(source: Source) -> None:
    source.go.set()
    names = Lookup(source, "test", 1, known=2)
    for key in range(5):
        names.wait([key], 30)
    assert [key for key in range(5) if names.is_known(key)] == [3, 4]


def test_old_answer_is_given_until_the_new_one_comes(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.go.set()
    names = Lookup(source, "test", 1)
    names.wait([1], 30)
    source.go.clear()
    source.answer = lambda _: "renamed"
    later(monkeypatch, AGE + 1)
    assert names.get(1) == "name 1"
    source.go.set()
    assert eventually(lambda: names.get(1) == "renamed")


def test_failure_keeps_the_old_answer_and_is_tried_again_sooner(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.go.set()
    names = Lookup(source, "test", 1)
    names.wait([1], 30)
    source.answer = fail
    later(monkeypatch, AGE + 1)
    names.wait([1], 30)
    assert names.get(1) == "name 1"
    assert len(source.asked) == 2
    source.answer = lambda _: "back"
    later(monkeypatch, RETRY + 1)
    names.wait([1], 30)
    assert names.get(1) == "back"


def test_source_with_an_unexpected_error_is_asked_again(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.answer = lambda key: str(1 // (key - 1))
    source.go.set()
    names = Lookup(source, "test", 1)
    names.wait([1, 2], 30)
    assert [names.get(key) for key in (1, 2)] == [None, "1"]
    source.answer = lambda _: "back"
    later(monkeypatch, RETRY + 1)
    names.wait([1], 30)
    assert names.get(1) == "back"


def test_dead_source_rests_and_is_then_tried_with_one_key(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.answer = fail
    names = Lookup(source, "test", 1)
    for key in range(10):
        names.get(key)
    source.go.set()
    assert eventually(lambda: names.is_dead)
    names.wait([20, 21], 30)
    assert source.asked == [0, 1, 2], "those that waited are forgotten"

    later(monkeypatch, REST + 1)
    names.wait([20, 21], 30)
    assert source.asked == [0, 1, 2, 20]

    source.answer = lambda key: f"name {key}"
    later(monkeypatch, REST + 1)
    names.wait([21], 30)
    assert not names.is_dead
    names.wait([22], 30)
    assert names.get(22) == "name 22"


def test_source_that_cannot_tell_of_a_few_keys_goes_on(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a name server for zones whose own servers are away: the next key may have a name."""

    def answer(key: int) -> str:
        if key % 10:
            raise Unsettled
        return f"name {key}"

    source.answer = answer
    source.go.set()
    names = Lookup(source, "test", 1)
    for first in (1, 11):
        names.wait(range(first, first + 10), 30)
        assert names.get(first + 9) == f"name {first + 9}"
        assert not names.is_dead
    later(monkeypatch, RETRY + 1)
    names.wait([1], 30)
    assert source.asked.count(1) == 2, "it may be able to tell by then"


def test_source_that_can_tell_of_no_key_is_dead(source: Source) -> None:
    source.answer = unsettle
    source.go.set()
    names = Lookup(source, "test", 1)
    names.wait(range(11), 30)
    assert not names.is_dead
    names.wait([11], 30)
    assert names.is_dead


def unsettle(_: int) -> str | None:
    raise Unsettled
