"""The page in Chromium, and the time that it takes to show things."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser

from bwtop.model.flows import UDP, Identity, Traffic
from bwtop.model.sample import Sample
from bwtop.web import files
from tests.bench.year import PROCESSES, REMOTES
from tests.build import key, remote, sample
from tests.web.browser import Visit
from tests.web.serving import Web

_WATCH: Final = """
window.rowsAt = undefined;
window.updates = [];
const rows = () => document.querySelector("#rows tbody tr");
const observer = new MutationObserver(() => {
  if (!rows()) return;
  window.rowsAt = performance.now();
  observer.disconnect();
});
observer.observe(document, { childList: true, subtree: true });
EventSource.prototype.addEventListener = function (type, handler, ...more) {
  const measured = (event) => {
    const begun = performance.now();
    handler(event);
    const shown = performance.now() - begun;
    requestAnimationFrame(() => setTimeout(() => window.updates.push([shown, performance.now() - begun])));
  };
  EventTarget.prototype.addEventListener.call(this, type, type === "interval" ? measured : handler, ...more);
};
"""
"""Notes when the first row is there, and what each interval takes: until the document has it, until a frame shows it."""

_APPEARS: Final = """
(name) => new Promise((resolve) => {
  const rows = document.getElementById("rows");
  const look = () => {
    if (!rows.textContent.includes(name)) return;
    observer.disconnect();
    resolve(performance.timeOrigin + performance.now());
  };
  const observer = new MutationObserver(look);
  observer.observe(rows, { childList: true, subtree: true, characterData: true });
  look();
})
"""
"""UTC milliseconds at which a text is in the table."""


def busy(number: int) -> Sample:
    """A second of a busy desktop, each with other numbers: 50 processes with 20 remotes."""
    pids = range(1, PROCESSES + 1)
    traffic = {
        key(pid): {
            remote(f"192.0.2.{n}", 443, UDP): Traffic(1 + pid * n * number, pid + n * number)
            for n in range(1, REMOTES + 1)
        }
        for pid in pids
    }
    identities = {key(pid): Identity(f"program{pid}", 1000, user="ada") for pid in pids}
    return sample(traffic, identities=identities)


@contextmanager
def desktop(history: Path) -> Iterator[Web]:
    """The browser view of a busy desktop."""
    with Web(history, files=files.load(None, {})) as web:
        web.put(busy(1))
        yield web


class Opened(Visit):
    """A page that takes its own time."""

    def go(self, query: str = "") -> None:
        self.context.add_init_script(_WATCH)
        super().go(query)

    def first_rows(self) -> float:
        """Milliseconds from the navigation to the first rows."""
        self.until(lambda: self.run("() => window.rowsAt"), "the first row")
        return float(self.run("() => window.rowsAt"))

    def updates(self) -> list[tuple[float, float]]:
        """Milliseconds from each interval's arrival to the document that has it, and to the frame that shows it."""
        return [(shown, painted) for shown, painted in self.run("() => window.updates")]

    def appears(self, name: str) -> float:
        """UTC seconds at which a name is in the table."""
        return float(self.page.evaluate(_APPEARS, name)) / 1000


def opening(browser: Browser, web: Web, query: str) -> float:
    """Milliseconds from the navigation to the first rows, in a browser that has nothing of it yet."""
    page = Opened(browser, f"http://127.0.0.1:{web.port}", query)
    found = page.first_rows()
    page.close()
    return found


def updating(browser: Browser, web: Web, rounds: int) -> list[tuple[float, float]]:
    """See Opened.updates()."""
    page = Opened(browser, f"http://127.0.0.1:{web.port}")
    page.first_rows()
    time.sleep(0.5)  # the chart comes after the rows
    for number in range(rounds):
        before = len(page.updates())
        web.put(busy(number + 2))
        page.until(lambda before=before: len(page.updates()) > before, "an update")  # type: ignore[misc]
    found = page.updates()[-rounds:]
    page.close()
    return found
