"""Test the examples for Prometheus and Grafana: they load, alerts fire, and all names are exposed."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from bwtop.metrics.table import METRICS, Type
from bwtop.options import flags
from tests.metrics.server import (
    COMMENTED,
    DASHBOARD,
    EXAMPLE,
    ROOT,
    RULES,
    Prometheus,
    example,
    prometheus,
)
from tests.processes import ran

SAMPLES: Final = {
    metric.name + suffix: metric
    for metric in METRICS
    for suffix in (("_bucket", "_count", "_sum") if metric.type is Type.HISTOGRAM else ("",))
}
"""All series names."""

JOBS: Final = ("bwtop", "bwtop-remote", "bwtop-serve")

VARIABLES: Final = {
    "$__rate_interval": "1m",
    "$__range": "1h",
    "$instance": ".*",
    "$job": ".*",
    "$loopback": "true|false",
}
"""Values that Grafana substitutes for variables."""


def promtool(*arguments: str | Path) -> tuple[int, str]:
    done = ran(["promtool", *arguments])
    return done.returncode, done.stdout + done.stderr


def dashboard() -> dict[str, Any]:
    found = json.loads(DASHBOARD.read_text())
    assert isinstance(found, dict)
    return found


def asked(panel: dict[str, Any]) -> list[str]:
    """Return the queries of a panel as Prometheus receives them."""
    found = [target["expr"] for target in panel.get("targets", [])]
    for name, text in VARIABLES.items():
        found = [query.replace(name, text) for query in found]
    assert not [query for query in found if "$" in query]
    return found


def alerts() -> dict[str, str]:
    """Return the expressions of the alerts by name."""
    pattern = (
        r"- alert: (\w+)\n        expr: (?:>\n)?((?:.|\n          )+)\n        (?:for|labels):"
    )
    return dict(re.findall(pattern, RULES.read_text()))


def named(text: str) -> set[str]:
    """Return all names with the prefix of bwtop."""
    return set(re.findall(r"\bbwtop_[a-z_]+", text))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Run a Prometheus without targets."""
    with prometheus(tmp_path_factory.mktemp("prometheus"), "scrape_configs: []\n") as running:
        yield running


# Prometheus.


def test_configuration_is_valid(tmp_path: Path) -> None:
    """Check the job that is commented out and that no other test scrapes with."""
    job = "bwtop-serve"
    (tmp_path / "rules.yml").write_text(RULES.read_text())
    (tmp_path / "bwtop.token").write_text("a token")
    path = tmp_path / "prometheus.yml"
    path.write_text(example(job, "127.0.0.1:1"))
    status, said = promtool("check", "config", path)
    assert status == 0, said
    assert f"- job_name: {job}\n" in path.read_text()


def test_example_is_usable_unchanged() -> None:
    assert promtool("check", "config", EXAMPLE)[0] == 0
    assert {"bwtop", *(found[2] for found in COMMENTED.finditer(EXAMPLE.read_text()))} == set(JOBS)
    assert f"127.0.0.1:{flags.METRICS_PORT}" in EXAMPLE.read_text()
    assert f"127.0.0.1:{flags.DEFAULT_PORT}" in EXAMPLE.read_text()


def test_rules_are_valid() -> None:
    status, said = promtool("check", "rules", RULES)
    assert status == 0, said
    assert f"{len(alerts())} rules found" in said


def test_alerts_use_exposed_names() -> None:
    for name, expression in alerts().items():
        assert named(expression) <= SAMPLES.keys(), name
        assert named(expression) or "up{" in expression


HEALTHY: Final = {
    "up": "1x90",
    'bwtop_info{backend="fexit"}': "1x90",
    "bwtop_reading_seconds_count": "0+60x90",
    'bwtop_reading_seconds_bucket{le="0.03"}': "0+60x90",
    'bwtop_reading_seconds_bucket{le="1.0"}': "0+60x90",
    'bwtop_reading_seconds_bucket{le="+Inf"}': "0+60x90",
    'bwtop_lost_updates_total{kind="remote"}': "3x90",
    "bwtop_missed_events_total": "3x90",
    "bwtop_flow_map_entries": "100x90",
    "bwtop_flow_map_max_entries": "65536x90",
    "bwtop_recording": "1x90",
    "bwtop_recorder_lag_seconds": "1x90",
    "bwtop_recorder_dropped_bytes_total": "3x90",
    "bwtop_history_over_size": "0x90",
    "bwtop_spool_lag_seconds": "3x90",
    "bwtop_ship_clock_offset_seconds": "-0.4x90",
    'bwtop_bytes_total{process="curl",loopback="false"}': "0+1000000x90",
}
"""Series of ninety healthy minutes, one sample a minute."""

HARMLESS: Final = {"up": "1x90", 'bwtop_info{backend="none"}': "1x90"}
"""Series of a server that shows the past of other hosts: it measures nothing."""

WRONG: Final = {
    "BwtopDown": {"up": "1x60 0x30"},
    "BwtopReadsNothing": {"bwtop_reading_seconds_count": "0+60x60 3600x30"},
    "BwtopReadsSlowly": {'bwtop_reading_seconds_bucket{le="0.03"}': "0+1x90"},
    "BwtopMissesEvents": {"bwtop_missed_events_total": "3x85 5x5"},
    "BwtopLosesDetail": {'bwtop_lost_updates_total{kind="remote"}': "3x85 5x5"},
    "BwtopMapNearlyFull": {"bwtop_flow_map_entries": "100x60 60000x30"},
    "BwtopRecordsNothing": {"bwtop_recording": "1x60 0x30"},
    "BwtopRecorderBehind": {"bwtop_recorder_lag_seconds": "1x60 70+60x30"},
    "BwtopDropsHistory": {"bwtop_recorder_dropped_bytes_total": "3x85 5x5"},
    "BwtopHistoryTooLarge": {"bwtop_history_over_size": "1x90"},
    "BwtopSpoolBehind": {"bwtop_spool_lag_seconds": "3x60 700+60x30"},
    "BwtopClockWrong": {"bwtop_ship_clock_offset_seconds": "0x60 -3600x30"},
    "BwtopProcessMovesMuch": {
        'bwtop_bytes_total{process="curl",loopback="false"}': "0+1000000000x90"
    },
}
"""The series that differ where an alert fires."""


EXITED: Final = {'bwtop_info{backend="history"}': "1x60", 'bwtop_info{backend="none"}': "_x60 1x30"}
"""Series of a follower whose recorder has exited."""

WAITING: Final = {**WRONG["BwtopReadsSlowly"], 'bwtop_info{backend="history"}': "1x90"}
"""Series of a follower that waits for the recorder's writes: slow readings are healthy there."""

FIRING: Final[dict[str, tuple[dict[str, str], str]]] = {
    "healthy": (HEALTHY, ""),
    "waiting": ({**HEALTHY, **WAITING}, ""),
    "harmless": (HARMLESS, ""),
    **{name: ({**HEALTHY, **series}, name) for name, series in WRONG.items()},
    "exited": ({**HEALTHY, **EXITED, **WRONG["BwtopReadsNothing"]}, "BwtopReadsNothing"),
}
"""Series, and the only alert that fires at their end; empty: none does."""


def firing(name: str) -> dict[str, Any]:
    """Return promtool's test of one entry of FIRING, with its name in a comment: promtool shows the query."""
    labels = 'job="bwtop",instance="127.0.0.1:8063"'
    series, expected = FIRING[name]
    given = {
        name.replace("}", f",{labels}}}") if "{" in name else f"{name}{{{labels}}}": values
        for name, values in series.items()
    }
    fires = [{"labels": f'{{alertname="{expected}"}}', "value": 1}] if expected else []
    return {
        "interval": "1m",
        "input_series": [{"series": s, "values": v} for s, v in given.items()],
        "promql_expr_test": [
            {
                "expr": f'group by (alertname) (ALERTS{{alertstate="firing"}}) # {name}',
                "eval_time": "90m",
                "exp_samples": fires,
            }
        ],
    }


def test_each_alert_fires_alone_and_none_on_healthy_series(tmp_path: Path) -> None:
    assert WRONG.keys() == alerts().keys()
    path = tmp_path / "test.yml"
    tests = {"rule_files": [str(RULES)], "tests": [firing(name) for name in FIRING]}
    path.write_text(json.dumps(tests))  # which is YAML, too
    status, said = promtool("test", "rules", path)
    assert status == 0, said


# Grafana.


def test_all_in_a_menu_means_all_of_bwtop() -> None:
    """With a pattern for it, Grafana would ask for every target."""
    assert not [one["name"] for one in dashboard()["templating"]["list"] if "allValue" in one]


@pytest.mark.parametrize("file", [DASHBOARD, DASHBOARD.with_name("fleet.json")])
def test_grafanas_own_model_accepts_the_dashboard(file: Path) -> None:
    """The model drops unknown fields: nothing may be dropped."""
    register_default_plugins()
    given = json.loads(file.read_text())
    taken = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(given)))
    left_out = set(missing(given, taken))
    assert {path.rpartition("/")[2] for path in left_out} <= {"definition"}, left_out


def missing(given: Any, taken: Any, path: str = "") -> Iterator[str]:
    """Return the paths of dropped and changed values."""
    if isinstance(given, dict) and isinstance(taken, dict):
        for name, value in given.items():
            yield from missing(value, taken.get(name), f"{path}/{name}")
    elif isinstance(given, list) and isinstance(taken, list) and len(given) == len(taken):
        for number, value in enumerate(given):
            yield from missing(value, taken[number], f"{path}/{number}")
    elif given != taken:
        yield path


def test_panels_do_not_overlap() -> None:
    """Grafana's grid has 24 columns."""
    panels = dashboard()["panels"]
    numbers = [panel["id"] for panel in panels]
    assert len(set(numbers)) == len(numbers)
    places = [panel["gridPos"] for panel in panels]
    for one in places:
        assert 0 <= one["x"] < one["x"] + one["w"] <= 24
        assert one["h"] > 0
    for one, other in combinations(places, 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        is_above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert is_beside or is_above, (one, other)


def test_dashboard_can_be_imported_anywhere() -> None:
    """It has no database id and no name of a Prometheus server."""
    found = dashboard()
    assert "id" not in found
    assert (found["uid"], found["title"]) == ("bwtop", "bwtop")
    kinds = {variable["name"]: variable["type"] for variable in found["templating"]["list"]}
    assert kinds == {
        "datasource": "datasource",
        "job": "query",
        "instance": "query",
        "loopback": "custom",
    }
    sources = set(re.findall(r'"uid": "([^"]*)"', DASHBOARD.read_text()))
    assert sources == {"${datasource}", "bwtop"}


def test_dashboard_shows_all_metrics_and_nothing_else() -> None:
    shown = {
        name for panel in dashboard()["panels"] for query in asked(panel) for name in named(query)
    }
    assert shown <= SAMPLES.keys()
    for variable in dashboard()["templating"]["list"]:
        assert named(json.dumps(variable)) <= SAMPLES.keys()
    wanted = {"bwtop_bytes_total", "bwtop_info", "bwtop_lost_bytes_total", "bwtop_recording"}
    assert wanted <= shown


QUERIES: Final = sorted(
    {query for panel in dashboard()["panels"] for query in asked(panel)} | set(alerts().values())
)


@pytest.mark.parametrize("query", QUERIES)
def test_a_real_prometheus_understands_each_query(query: str, empty: Prometheus) -> None:
    assert empty.query(query) == []
    for name, selector in re.findall(r"(bwtop_[a-z_]+)\{([^}]*)\}", query):
        labels = set(re.findall(r"(\w+)(?:=~|!=|!~|=)", selector)) - {"job", "instance"}
        assert labels <= set(SAMPLES[name].labels), name


# The service.


DROP_INS: Final = [ROOT / "share/prometheus/service.conf", ROOT / "share/clickhouse/service.conf"]


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.parent.name)
def test_systemd_accepts_the_drop_in(drop_in: Path, tmp_path: Path) -> None:
    unit = tmp_path / "bwtop.service"
    text = (ROOT / "share/bwtop.service").read_text().replace("/usr/bin/bwtop", "/bin/true")
    unit.write_text(text)
    (tmp_path / "bwtop.service.d").mkdir()

    def verified(text: str) -> tuple[int, str]:
        (tmp_path / "bwtop.service.d" / "more.conf").write_text(text)
        done = ran(["systemd-analyze", "verify", "--man=no", unit])
        return done.returncode, done.stderr

    ours = drop_in.read_text()
    for text in (ours, ours.replace("#Load", "Load")):
        assert verified(text) == (0, "")


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.parent.name)
def test_drop_in_lets_netlink_in(drop_in: Path) -> None:
    """By netlink the kernel says whose connection it is, and which addresses and networks a host that ships has."""
    (families,) = re.findall(r"^RestrictAddressFamilies=(.*)$", drop_in.read_text(), re.MULTILINE)
    assert set(families.split()) == {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"}
