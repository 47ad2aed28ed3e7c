"""The usual amounts of a program, out of a real history."""

import json

import pytest

from bwtop.history import programs
from bwtop.history.programs import ProgramQuery, ProgramUsage
from bwtop.sqlite.delta import Delta
from tests.build import remote
from tests.history.keep import CURL, DAY, HOUR, NGINX, NOON, Kept, flows_of, local, policy

FAR = remote()

NOW = NOON + 3 * DAY
"""A Thursday."""


def kept(*moved: tuple[float, int]) -> Kept:
    """Return a history in which curl moved so many bytes at some times, and nginx one in each."""
    found = Kept(policy(seconds=HOUR, minutes=DAY, hours=DAY))
    for start, rx in moved:
        flows = flows_of(FAR, rx=rx) | flows_of(FAR, pid=2, who=NGINX)
        found.append(Delta(start, 1.0, flows))
    found.steps(NOW + 1)
    return found


def ask(history: Kept, name: str = "curl", exe: str | None = CURL.exe) -> ProgramUsage:
    question = ProgramQuery(name, exe, "", NOW)
    parsed = ProgramQuery.parsed(question.text())
    assert parsed == question
    head, body = programs.answer(history.past(), parsed)
    history.let_go()
    assert head == {}
    return ProgramUsage(**json.loads(body))


@pytest.mark.parametrize("recorder", ["UTC", "Asia/Kolkata"])
def test_today_and_week_are_told_against_the_average_of_recorded_days(recorder: str) -> None:
    """Two days of this week, and one of the week before, are recorded; days of another zone are where they are most."""
    with local(recorder):
        history = kept((NOW - 7 * DAY, 600), (NOW - 2 * DAY, 20), (NOW - DAY, 100), (NOW - 9, 5))
    with local("UTC"):
        assert ask(history) == ProgramUsage(NOW - 7 * DAY - DAY / 2, 5, 125, 240.0)
        assert ask(history, "nginx", NGINX.exe).today == 1
        assert ask(history, "curl", "/other") == ProgramUsage(None, 0, 0, 0.0)


@pytest.mark.parametrize("moved", [(), ((NOW - 9, 5),)])
def test_without_earlier_days_nothing_is_usual(moved: tuple[tuple[float, int], ...]) -> None:
    with local("UTC"):
        found = ask(kept(*moved))
    assert found.usual_day is None
    assert (found.first is None) == (not moved)
