"""The Grafana dashboard for ClickHouse: both servers answer its queries with what hosts have sent."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from bwtop.clickhouse.client import FleetServer
from bwtop.model.flows import Loss
from bwtop.sqlite.delta import Delta
from tests.clickhouse.stores import report_host, ship
from tests.clickhouse.test_reader import WEB1
from tests.history.keep import HOUR, NOON, REMOTES, Kept, delta, flows_of

PANELS: Final[dict[str, Any]] = {
    panel["title"]: panel
    for panel in json.loads((Path(__file__).parents[2] / "share/grafana/fleet.json").read_text())[
        "panels"
    ]
}


def asked(title: str) -> str:
    """Return the query of a panel as Grafana sends it."""
    (target,) = PANELS[title]["targets"]
    bounds = f"time >= toDateTime({NOON}) AND time <= toDateTime({NOON + HOUR})"
    return str(target["rawSql"]).replace("$__timeFilter(time)", bounds)


@pytest.fixture
def full(store: FleetServer) -> FleetServer:
    """Return a server with two minutes of a host."""
    kept = Kept()
    kept.append(
        delta(NOON, 600, 60, far=REMOTES[0]),
        Delta(NOON + 60, 1.0, flows_of(REMOTES[0], rx=1200), loss=Loss(1, 120, 0, 0, 0, 0)),
        delta(NOON + 3 * HOUR),
    )
    kept.steps(NOON + 4 * HOUR)
    ship(kept, store, WEB1)
    report_host(store, WEB1, clock=1.5)
    return store


def test_both_servers_answer_each_panel(full: FleetServer) -> None:
    for title in PANELS:
        found = full.query(asked(title))
        assert found, title
        assert all(WEB1.name in row for row in found), title


def test_panels_have_the_bytes_of_the_range(full: FleetServer) -> None:
    ((rx, tx),) = full.query(
        f"SELECT sum(rx), sum(tx) FROM traffic FINAL WHERE level = 0 AND start < {NOON + HOUR}"
    )
    assert rx == 1800
    for title in ("Top processes", "Top remotes"):
        rows = full.query(asked(title))
        assert (sum(row[-2] for row in rows), sum(row[-1] for row in rows)) == (rx, tx)
    rates = full.query(asked("By host"))
    assert round(60 * sum(row[-1] for row in rates)) == rx + tx
    assert sum(row[-1] for row in full.query(asked("Lost detail"))) == 2.0
