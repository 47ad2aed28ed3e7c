"""Drive the real page in Chromium, collect its faults, and run named processes with traffic."""

import contextlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Locator, Request, sync_playwright

from tests.kernel.running import HANG

CHROMIUM: Final = "/usr/bin/chromium"

FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

PATIENCE: Final = 30.0
"""Seconds to wait for the page."""

LOST: Final = (
    r"net::ERR_(CONNECTION_(REFUSED|RESET|CLOSED|ABORTED)|SOCKET_NOT_CONNECTED|INCOMPLETE_CHUNKED"
    r"|CONTENT_LENGTH_MISMATCH|EMPTY_RESPONSE|FAILED)"
)
"""Chromium's messages for a lost server; which one depends on how far a connection had come."""

ENDING: Final = r"the server responded with a status of 503"
"""Chromium's message for a server that stops during a request."""

_WATCH: Final = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
});
"""

_ROWS: Final = """
() => [...document.querySelectorAll("#rows tbody tr")].map((row) => {
  const [name, more] = row.firstElementChild.children;
  return {
    name: name.textContent,
    more: more.textContent,
    title: row.firstElementChild.title,
    kind: row.className,
    open: name.getAttribute("aria-expanded"),
    cells: [...row.children].slice(1).map((cell) => cell.textContent),
  };
})
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium; close it before the next module, as no other event loop can run meanwhile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass(frozen=True)
class Shown:
    """A row of the table, as its texts."""

    name: str
    more: str
    title: str
    kind: str
    open: str | None
    """aria-expanded; None: the row does not open."""
    cells: list[str]


class Visit:
    """An open page, with its faults and requests."""

    def __init__(self, browser: Browser, origin: str, query: str = "", **options: Any) -> None:
        """Open a page; `options` are those of Playwright's new_context."""
        self.origin = origin
        self.context = browser.new_context(**options)
        self.context.add_init_script(_WATCH)
        self.page = self.context.new_page()
        self.page.set_default_timeout(1000 * PATIENCE)
        self.asked: list[str] = []
        self.faults: list[str] = []
        self._expected: list[str] = []
        self.context.on("request", self._note_request)
        self.page.on("console", self._note_console)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("crash", lambda _: self.faults.append("the page crashed"))
        self.page.on("dialog", self._note_dialog)
        self.go(query)

    def _note_request(self, request: Request) -> None:
        self.asked.append(request.url)

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self.faults.append(f"{message.type}: {message.text}")

    def _note_dialog(self, dialog: Any) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def expect_fault(self, pattern: str) -> None:
        """Expect a fault: Chromium logs each refused request on the console."""
        self._expected.append(pattern)

    def _is_served(self) -> bool:
        """Return False if the server ended before the page."""
        where = urlsplit(self.origin)
        try:
            socket.create_connection((where.hostname, where.port)).close()
        except ConnectionRefusedError:
            return False
        return True

    def check(self) -> None:
        """Check: no console message, no policy violation, no request to another server."""
        expected = self._expected if self._is_served() else [*self._expected, LOST, ENDING]
        left = [f for f in self.faults if not any(re.search(p, f) for p in expected)]
        assert not left, left
        others = [url for url in self.asked if not url.startswith(f"{self.origin}/")]
        assert not others, others

    def close(self) -> None:
        self.context.close()

    # Going about.

    def go(self, query: str = "") -> None:
        self.page.goto(f"{self.origin}/{query}")

    def find(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def run(self, script: str, argument: Any = None) -> Any:
        """Return the value of an expression or function in the page."""
        return self.page.evaluate(script, argument)

    def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Poll: the policy forbids Playwright's wait_for_function."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"{what} never came; {self.text('main')[-700:]}"
            self.page.wait_for_timeout(40)

    def chart_drawn(self) -> None:
        """Wait for Chart.js, which loads beside the first rows."""
        self.until(
            lambda: self.run("() => Boolean(globalThis.Chart?.getChart('chart'))"), "the chart"
        )

    def text(self, selector: str) -> str:
        return self.find(selector).first.inner_text()

    def has(self, selector: str, text: str) -> None:
        """Wait until an element's text contains `text`."""
        self.until(lambda: text in (self.find(selector).text_content() or ""), text)

    @property
    def query(self) -> dict[str, str]:
        """Return the query of the URL."""
        return dict(parse_qsl(urlsplit(self.page.url).query))

    # The table.

    def rows(self) -> list[Shown]:
        return [Shown(**row) for row in self.run(_ROWS)]

    def names(self) -> list[str]:
        """Return the names of the top rows."""
        return [row.name for row in self.rows() if row.kind != "child"]

    def children(self) -> list[Shown]:
        return [row for row in self.rows() if row.kind == "child"]

    def row(self, name: str, pid: int | None = None) -> Shown:
        """Wait for the row of a name; the pid distinguishes rows of one name."""
        found: list[Shown] = []

        def is_there() -> bool:
            found[:] = [row for row in self.rows() if row.name == name and row.kind != "child"]
            found[:] = [row for row in found if pid is None or row.more.startswith(str(pid))]
            return bool(found)

        self.until(is_there, name)
        assert len(found) == 1, found
        return found[0]

    def toggle(self, name: str, pid: int | str = "") -> Locator:
        """Return the button that opens a row."""
        row = self.find("#rows tbody tr").filter(has_text=str(pid))
        return row.locator(".toggle").filter(has_text=re.compile(f"^{re.escape(name)}$"))

    def header(self, column: str) -> Locator:
        return self.find(f'#rows thead button[data-column="{column}"]')

    def direction(self, column: str) -> str | None:
        return self.find(f'#rows th:has(button[data-column="{column}"])').get_attribute("aria-sort")

    def filter(self, text: str) -> None:
        """Type a filter, and wait until it is in the URL."""
        self.find("#filter").fill(text)
        self.until(lambda: self.query.get("filter", "") == text, f"filter {text}")

    def download(self, selector: str) -> tuple[str, bytes]:
        """Download a linked file; return its name and content."""
        with self.page.expect_download() as coming:
            self.find(selector).click()
        return coming.value.suggested_filename, coming.value.path().read_bytes()


# Who moves bytes.

_MOVER: Final = r"""
import signal, socket, sys, threading, time

signal.alarm(1800)
with open("/proc/self/comm", "wb") as comm:
    comm.write(bytes.fromhex(sys.argv[1]))
connections = {}

def drain(sock):
    while sock.recv(65536):
        pass

def accept(listener):
    while True:
        threading.Thread(target=drain, args=(listener.accept()[0],), daemon=True).start()

def listen(host):
    listener = socket.create_server((host, 0))
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    return listener.getsockname()[1]

def bind(host):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    threading.Thread(target=drain, args=(sock,), daemon=True).start()
    return sock.getsockname()[1]

def tcp(host, port, size):
    place = host, int(port)
    if place not in connections:
        connections[place] = socket.create_connection(place)
    connections[place].sendall(bytes(int(size)))

def udp(host, port, size, count):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(int(count)):
            sock.sendto(bytes(int(size)), (host, int(port)))

def go_on(kind, *arguments):
    while True:
        globals()[kind](*arguments)
        time.sleep(0.1)

def steady(*arguments):
    threading.Thread(target=go_on, args=arguments, daemon=True).start()

for line in sys.stdin:
    command, *arguments = line.split()
    print(globals()[command](*arguments), flush=True)
"""


@dataclass
class Mover:
    """A process of a known name that sends on request, and drains its input."""

    process: subprocess.Popen[str]
    name: str
    tcp_ports: dict[str, int] = field(default_factory=dict)
    udp_ports: dict[str, int] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        return self.process.pid

    def _do(self, *words: object) -> str:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer, f"{self.name} has died of {words}"
        return answer

    def listen(self, host: str) -> int:
        """Return a port that accepts connections."""
        return int(self._do("listen", host))

    def bind(self, host: str) -> int:
        """Return a port that receives datagrams."""
        return int(self._do("bind", host))

    def tcp(self, host: str, port: int, size: int) -> None:
        """Send over one connection."""
        self._do("tcp", host, port, size)

    def udp(self, host: str, port: int, size: int, count: int) -> None:
        self._do("udp", host, port, size, count)

    def steady(self, host: str, port: int, size: int) -> None:
        """Start to send `amount` ten times a second."""
        self._do("steady", "tcp", host, port, size)

    def end(self) -> None:
        """End the process."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(HANG)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def mover(name: str) -> Mover:
    """Start a process; the kernel keeps 15 bytes of its name."""
    raw = name.encode()
    assert len(raw) <= 15, name
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", _MOVER, raw.hex()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return Mover(process, name)


# What a page looks like.

PIXELS: Final = """
() => {
  const canvas = document.getElementById("chart");
  const { width, height } = canvas;
  const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, width, height);
  const chart = globalThis.Chart?.getChart(canvas);
  const counted = { above: 0, below: 0 };
  if (!chart) return counted; // it comes after the rows
  const axis = chart.scales.y.getPixelForValue(0) * (height / canvas.clientHeight);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = 4 * (y * width + x);
      const [r, g, b, a] = data.slice(at, at + 4);
      const saturated = Math.max(r, g, b) - Math.min(r, g, b) > 60;
      if (a > 200 && saturated) counted[y < axis ? "above" : "below"] += 1;
    }
  }
  return counted;
}
"""
"""Count coloured pixels of the chart on each side of its axis; text, grid and "others" are grey."""

CONTRASTS: Final = """
() => {
  const parse = (text) => {
    const [r, g, b, a] = text.match(/[0-9.]+/g).map(Number);
    return { r, g, b, a: a ?? 1 };
  };
  const linear = (part) => {
    const value = part / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  const light = ({ r, g, b }) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ratio = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const grounds = (element) => {
    const found = [];
    for (let at = element; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      found.push(...(style.backgroundImage.match(/rgba?\\([^)]*\\)/g) ?? []).map(parse));
      const colour = parse(style.backgroundColor);
      if (colour.a > 0) return [...found, colour];
    }
    return [...found, parse("rgb(255, 255, 255)")];
  };
  const texts = [...document.body.querySelectorAll("*")].filter((element) =>
    element.checkVisibility({ visibilityProperty: true })
    && (element.matches("input, select") || [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())));
  return texts.map((element) => {
    const colour = parse(getComputedStyle(element).color);
    const least = Math.min(...grounds(element).map((ground) => ratio(colour, ground)));
    return { what: `${element.tagName} ${element.id} ${element.className}: ${element.textContent.trim().slice(0, 40)}`, ratio: least };
  });
}
"""
"""List every visible text with its contrast to the background (WCAG 2.2, 1.4.3)."""

UNNAMED: Final = """
() => [...document.querySelectorAll("input, select, textarea, button, a, summary, canvas")]
  .filter((element) => element.checkVisibility({ visibilityProperty: true }))
  .filter((element) => ![
    element.getAttribute("aria-label"),
    ...[...(element.matches("button, a, summary") ? [] : element.labels ?? [])].map((label) =>
      [...label.childNodes].filter((node) => node !== element).map((node) => node.textContent).join("")),
    element.matches("button, a, summary") ? element.textContent : "",
  ].some((text) => text?.trim()))
  .map((element) => element.outerHTML)
"""
"""List controls without an accessible name."""
