"""Figures by network, where hours and days keep the largest remotes of a process alone."""

from dataclasses import replace

import pytest

from bwtop.history.ranges import parse
from bwtop.model.filter import EVERYTHING
from bwtop.sqlite.delta import Delta
from tests.build import remote, typed
from tests.history.keep import DAY, NGINX, NOON, Kept, by, flows_of, policy

FARS = [remote(f"203.0.113.{number}") for number in range(60)]
RANGES = ("5d", "2026-09-18..2026-09-23", "90h", "all")


@pytest.fixture(scope="module")
def kept() -> Kept:
    made = Kept(replace(policy(seconds=3600, minutes=7 * DAY), keep_remotes=20))
    for days in (3, 2, 1):
        made.append(
            *(
                Delta(NOON - days * DAY + n, 1.0, flows_of(*FARS, who=NGINX, rx=days * 100 + n))
                for n in range(3)
            )
        )
    made.steps(NOON)
    return made


@pytest.mark.parametrize("text", RANGES)
def test_every_figure_of_a_network_is_of_all_remotes(kept: Kept, text: str) -> None:
    total = 60 * sum(days * 300 + 3 for days in (3, 2, 1))
    wanted = parse(text, NOON)
    answers = {
        name: kept.ask_for(wanted, by(name), keep, NOON)
        for name, keep in (
            ("net", EVERYTHING),
            ("process", typed("net:internet")),
            ("user", EVERYTHING),
        )
    }
    for name, answer in answers.items():
        assert answer.networks == {"internet": (total, 0)}, name
        assert answer.rx == total == sum(bar.rx for bar in answer.bars)
        assert not answer.network_usage or answer.network_usage.rx == total
    assert [(row.labels, row.rx) for row in answers["net"].rows] == [(("internet",), total)]
