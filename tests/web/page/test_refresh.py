"""Test the refresh of the history view during recording."""

import json
import time
from pathlib import Path

from bwtop.model.flows import ProcessKey
from bwtop.sqlite.delta import Delta
from bwtop.web import files
from tests.history.keep import Kept, policy
from tests.web.browser import LOST, Visit
from tests.web.page.scenes import (
    FAR,
    PROGRAMS,
    REFUSED,
    Past,
    Quiet,
    Scene,
    Visitor,
    clocked,
    days_ago,
    questions,
)


def refreshes(page: Visit, past: Past) -> None:
    """Let a minute pass, in which the page asks again."""
    before = len(past.asked)
    page.page.clock.fast_forward(61_000)
    page.until(
        lambda: [
            request
            for request in past.asked[before:]
            if request.path.endswith("history") and "process=" not in request.query
        ]
    )


def test_history_is_kept_up_to_date(visit: Visitor, past: Past) -> None:
    """It refreshes each minute, also after changes by the user, but not while it is hidden."""
    page = visit(past)
    page.page.clock.install()
    for change in ("nothing", "open", "units"):
        page.go("?view=history&range=yesterday")
        page.until(lambda: page.rows(), "rows")
        if change == "open":
            page.toggle("plain").click()
            page.until(page.children)
        elif change == "units":
            page.find("#units").select_option("bits")
        refreshes(page, past)


def test_hidden_history_does_not_refresh(visit: Visitor, past: Past) -> None:
    page = visit(past)
    clocked(page, "?view=history&range=yesterday")
    page.until(lambda: page.rows(), "rows")
    page.run("() => Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    before = len(questions(past))
    page.page.clock.fast_forward(61_000)
    page.page.wait_for_timeout(300)
    assert questions(past)[before:] == []
    page.run(
        """() => {
          delete document.hidden;
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    page.until(lambda: questions(past)[before:], "at once when somebody does")


def test_remotes_add_up_to_their_process_while_it_goes_on(visit: Visitor, tmp_path: Path) -> None:
    """Totals and remotes are consistent, and shown together."""
    kept = Kept(policy(), tmp_path / "history.db")
    who = (ProcessKey(1, 1), PROGRAMS[0])
    start = time.time() - 400
    kept.append(Delta(start, 1.0, {who: {FAR[0]: (4096, 0)}}))
    with Quiet(tmp_path / "history.db", files=files.load(None, {})) as server:
        page = visit(server, "?view=history&range=1h")
        page.row("plain")
        kept.append(Delta(start + 2, 1.0, {who: {FAR[0]: (2048, 0)}}))
        page.toggle("plain").click()
        page.until(page.children)
        assert page.row("plain").cells[0] == "6.0 KiB"
        assert [child.cells[0] for child in page.children()] == ["6.0 KiB"]
    kept.connection.close()


def test_refused_query_is_retried(visit: Visitor, scene: Scene) -> None:
    """Queries are refused when too many run, or before the first record."""
    page = visit(scene)
    page.expect_fault(REFUSED)
    clocked(page, "?view=history")
    page.has("#error", "nothing has been recorded yet")
    before = len(scene.asked)
    page.page.clock.fast_forward(61_000)
    page.until(lambda: [r for r in scene.asked[before:] if r.path == "/api/v1/history"], "a retry")


def test_open_row_does_not_flicker_when_the_history_is_asked_again(
    visit: Visitor, past: Past
) -> None:
    page = visit(past, f"?view=history&range={days_ago(1)}")
    page.row("plain")
    page.toggle("plain").click()
    page.until(page.children)
    page.run(
        """() => {
          window.fewest = Infinity;
          const look = () => {
            window.fewest = Math.min(window.fewest, document.querySelectorAll("#rows .child").length);
          };
          new MutationObserver(look).observe(document.querySelector("#rows tbody"), { childList: true });
        }"""
    )
    page.header("rx").click()
    page.until(lambda: page.direction("rx") == "descending")
    page.page.wait_for_timeout(500)
    assert page.children()
    assert page.run("() => window.fewest") > 0


def test_row_closes_at_once_without_an_answer(visit: Visitor, past: Past) -> None:
    page = visit(past, f"?view=history&range={days_ago(1)}")
    page.row("plain")
    page.toggle("plain").click()
    page.until(page.children)
    page.expect_fault(LOST)
    page.page.route("**/api/v1/history?*", lambda route: route.abort())
    page.toggle("plain").click()
    page.until(lambda: not page.children(), "closed")
    page.has("#status", "not connected")


def test_refused_remotes_are_missing_with_a_reason(visit: Visitor, past: Past) -> None:
    page = visit(past, f"?view=history&range={days_ago(1)}")
    page.row("plain")
    page.expect_fault(REFUSED)
    refusal = json.dumps({"error": "too many queries at once; try again"})
    page.page.route(
        "**/api/v1/history?*process=*", lambda route: route.fulfill(status=503, body=refusal)
    )
    page.toggle("plain").click()
    page.has("#error", "too many queries at once")
    assert page.row("plain").open == "true"
    assert page.children() == [], "unknown is not others"
