"""Servers with prepared intervals or history, and helpers to read the page."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from bwtop.history.calendar import HOUR, Unit, ceiling, floor
from bwtop.history.ranges import parse as parse_range
from bwtop.model.flows import TCP, UDP, Identity, ProcessKey, Remote, Role, Traffic
from bwtop.model.sample import FlowTraffic, Sample
from bwtop.sqlite.delta import Delta
from bwtop.text import units as fmt
from bwtop.web import files
from tests.build import key, remote
from tests.history.keep import Kept, policy, total, within
from tests.processes import until
from tests.web.browser import Mover, Visit, mover
from tests.web.serving import Serving, Web

SOMEBODY: Final = 31234
"""A uid without an account."""


REFUSED: Final = r"the server responded with a status of (400|503)"
"""Chromium's message for a refused request."""


WIDE: Final = """
() => [document.documentElement.scrollWidth, innerWidth,
  ...[...document.querySelectorAll("body *")].filter((one) =>
    one.checkVisibility() && !one.matches(".skip, .unseen") && one.getBoundingClientRect().right > innerWidth + 1
    && !one.closest("#rows, #bars")).map((one) => `${one.tagName} ${one.id}`)]
"""

WIDTHS: Final = (320, 768, 1920)
"""Of a phone, a tablet and a desktop, in CSS pixels."""


def resize(page: Visit, width: int) -> None:
    """Give the page a width, and wait until the chart has followed, which takes some frames."""
    page.page.set_viewport_size({"width": width, "height": 800})
    page.run(
        "async () => { for (let n = 0; n < 4; n += 1) await new Promise(requestAnimationFrame); }"
    )


def clocked(page: Visit, query: str = "") -> None:
    """Load the page anew with a clock that a test may stop or put forward."""
    page.page.clock.install()
    page.go(query)


Visitor = Callable[..., Visit]


live = pytest.mark.kernel


HOSTILE: Final = (
    "<b>x</b>\"'&",
    "<img src=x>",
    "\x1b[2J\x1b]0;x\x07",
    "\u202egnp.exe",
    "a\nb\tc",
    "${x}{{y}}",
    "日本語",
    "=1+2",
)

NAMES: Final = ("plain", "a,b", "c*?[d]", "=1+2", "<b>x</b>\"'&", "\x1b[2J\u202ex")


PAST_DAYS: Final = 40


PROGRAMS: Final = (
    *(
        Identity(name, place % 2 * 1000, exe=f"/usr/bin/p{place}", unit=f"u{place}.service")
        for place, name in enumerate(NAMES)
    ),
    Identity("kworker/0:1", None, kernel=True),
    Identity("boxed", 33, exe="/usr/sbin/nginx", container="docker:0123456789ab", pod="aaaa"),
    Identity("abd", 0, exe="/usr/bin/abd"),
    Identity("cxyd", 0, exe="/usr/bin/cxyd"),
)


FAR: Final[tuple[Remote, ...]] = (
    remote(),
    remote("192.0.2.1", 8443, TCP, Role.SERVER),
    remote("192.0.2.2", 53, UDP),
    remote("2001:db8::1", 22),
    remote("127.0.0.1", 8080),
    remote("198.51.100.7", 0, 1),
)


class Quiet(Web):
    """A server that ignores Playwright's threads."""

    def threads(self) -> list[threading.Thread]:
        return [each for each in super().threads() if not each.name.startswith("asyncio_")]


class Scene(Quiet):
    """A server with intervals from the test."""

    def __init__(self, database: Path, **options: Any) -> None:
        super().__init__(database, files=options.get("files") or files.load(None, {}))
        self.measure()
        self._now = datetime.now(UTC)

    def move(
        self, sent: dict[str, int], exited: Sequence[int] = (), *, seconds: float = 1.0
    ) -> None:
        """Put an interval with the sent bytes by process name."""
        self._now += timedelta(seconds=seconds)
        traffic: FlowTraffic = {}
        identities: dict[ProcessKey, Identity] = {}
        for name, amount in sent.items():
            pid = sum(name.encode())
            traffic[key(pid)] = {remote("192.0.2.7"): Traffic(amount // 2, amount)}
            identities[key(pid)] = Identity(
                name.replace("_", " "),
                0,
                exe=f"/usr/bin/{name}",
                user="root",
                started=datetime(2026, 11, 1, tzinfo=UTC),
            )
        before = self.number()
        self.put(Sample(self._now, seconds, traffic, identities, {key(pid) for pid in exited}))
        until(lambda: self.number() > before)  # one that comes sooner would be merged with it

    def move_until(
        self, sent: dict[str, int], condition: Callable[[], object], page: Visit
    ) -> None:
        """Put intervals until something is true of the page, which is stale after some seconds without any."""

        def is_true() -> object:
            self.move(sent)
            return condition()

        page.until(is_true)

    def number(self) -> int:
        """Return the number of the last interval."""
        return int(vars(self.broadcaster)["_state"].number)


class Past(Quiet):
    """A server with a history of the last days, one of them without records.

    No amount is a rounding tie.
    """

    def __init__(self, folder: Path) -> None:
        kept = Kept(policy(), folder / "history.db")
        self.deltas: list[Delta] = []
        randomly = random.Random(11)
        for days in range(PAST_DAYS, 0, -1):
            start, end = midnight(days), ceiling(Unit.DAY, midnight(days))
            for hour in range(start, end, HOUR if days < 8 else 6 * HOUR):
                if days == 5:
                    continue  # nothing was recorded
                flows = {
                    (ProcessKey(place + 1, 100 + place), who): {
                        far: (512 * randomly.randrange(1, 211), 512 * randomly.randrange(1, 101))
                        for far in FAR[: 1 + (place + days) % len(FAR)]
                    }
                    for place, who in enumerate(PROGRAMS)
                }
                self.deltas.append(Delta(hour + 600, 60.0, flows))
        kept.append(*self.deltas)
        kept.steps(time.time())
        kept.connection.close()
        super().__init__(folder / "history.db", files=files.load(None, {}))


def days_ago(days: int) -> str:
    """Return the date `days` ago."""
    return datetime.fromtimestamp(midnight(days)).astimezone().strftime("%Y-%m-%d")


def midnight(days: int) -> int:
    """Return the start of the day `days` ago, in seconds since 1970."""
    when: float = time.time()
    for _ in range(days):
        when = floor(Unit.DAY, when) - 1
    return floor(Unit.DAY, when)


def moved(name: str, sink: Mover) -> Mover:
    """Run a process that sends known bytes: primes below 1,024, which are shown exactly."""
    running = mover(name)
    running.tcp("127.0.0.5", sink.tcp_ports["127.0.0.5"], 997)
    running.udp("127.0.0.6", sink.udp_ports["127.0.0.6"], 101, 7)
    return running


def api(server: Serving | Web, path: str) -> Any:
    answer = server.ask(f"/api/v1/{path}")
    assert answer.status == 200, answer
    return answer.document


def sums(past: Past, text: str) -> tuple[int, int]:
    wanted = parse_range(text, time.time())
    return total(within(past.deltas, wanted.start, wanted.end))


def bars(page: Visit) -> list[list[str]]:
    """Return the rows of the chart's table."""
    found: list[list[str]] = page.run(
        """() => [...document.querySelectorAll("#bars tbody tr")].map((row) =>
             [...row.children].map((cell) => cell.textContent))"""
    )
    return found


def ranged(page: Visit, text: str) -> None:
    """Wait until a range is in the URL and in the table."""
    page.until(lambda: page.query.get("range") == text, f"range {text}")


def summed(page: Visit, sent: tuple[int, int]) -> None:
    """Wait for a summary."""
    words = f"↓ {fmt.size(sent[0])} ↑ {fmt.size(sent[1])}"
    page.until(lambda: words in page.text("#summary"), words)


def click_bar(page: Visit, index: int) -> None:
    """Click a bar at the position that Chart.js reports."""
    page.chart_drawn()
    place = page.run(
        """(index) => {
          const chart = globalThis.Chart.getChart("chart");
          const bar = chart.getDatasetMeta(0).data[index];
          return { x: bar.x, y: (chart.chartArea.top + chart.chartArea.bottom) / 2 };
        }""",
        index,
    )
    page.find("#chart").click(position=place)


def scene_points(page: Visit) -> list[float]:
    """Return the sum of all series in the chart's last intervals."""
    found: list[float] = page.run(
        """() => {
          const sets = globalThis.Chart?.getChart("chart")?.data.datasets ?? [];
          const sums = (sets[0]?.data ?? []).map((_, at) => sets.reduce((sum, set) => sum + Math.abs(set.data[at]), 0));
          return sums.filter((sum) => sum);
        }"""
    )
    return found


def questions(server: Web) -> list[str]:
    """Return the requests of the page, without the icon, which loads at any time."""
    return [request.path for request in server.asked if request.path.startswith("/api/")]
