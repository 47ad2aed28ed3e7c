"""Run a real Prometheus on a free port of loopback, with its data in the test's directory."""

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.kernel.running import HANG
from tests.processes import until

ROOT: Final = Path(__file__).parents[2]
EXAMPLE: Final = ROOT / "share/prometheus/bwtop.yml"
RULES: Final = ROOT / "share/prometheus/rules.yml"
DASHBOARD: Final = ROOT / "share/grafana/bwtop.json"

COMMENTED: Final = re.compile(r"^  # (- job_name: (\S+)\n(?:  #   .*\n)+)", re.MULTILINE)
"""A job of the example configuration."""


def example(job: str, target: str, *, interval: str = "1s") -> str:
    """Return the example with one job, which scrapes `target` at the given interval."""
    text = EXAMPLE.read_text()
    jobs = {found[2]: found[1].replace("\n  # ", "\n  ") for found in COMMENTED.finditer(text)}
    head, _, first = text.partition("  - job_name: bwtop\n")
    jobs["bwtop"] = "- job_name: bwtop\n" + first.partition("\n\n")[0] + "\n"
    text = f"{head}  {jobs[job]}".replace("_interval: 15s", f"_interval: {interval}")
    changed, count = re.subn(r'targets: \[".*"\]', f'targets: ["{target}"]', text)
    assert count == 1, text
    return changed


class Prometheus:
    """A running Prometheus."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self.port = 0
        self._process = process
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        until(lambda: self.port or process.poll() is not None)
        until(self.is_ready, lambda: f"it does not start: {self.lines}")

    def _read(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self.lines.append(line)
            if found := re.search(r'msg="Listening on" address=127\.0\.0\.1:([0-9]+)', line):
                self.port = int(found[1])

    def is_ready(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=HANG) as answer:
                return bool(answer.status == 200)
        except HTTPError:
            return False

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the API's answer; a mistake in a query raises an error."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(parameters)}"
        try:
            with urlopen(url, timeout=HANG) as answer:
                found = json.load(answer)
        except HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None
        assert found["status"] == "success", found
        return found["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return an instant vector: labels without the name, and values."""
        rows = self.ask("query", query=expression)["result"]
        return [
            ({k: v for k, v in row["metric"].items() if k != "__name__"}, float(row["value"][1]))
            for row in rows
        ]

    def value(self, expression: str) -> float | None:
        """Return the only value; None if there is none."""
        rows = self.query(expression)
        assert len(rows) <= 1, rows
        return rows[0][1] if rows else None

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(HANG)
        self._reader.join(HANG)
        assert self._process.stderr
        self._process.stderr.close()


@contextmanager
def prometheus(folder: Path, configuration: str) -> Iterator[Prometheus]:
    """Start Prometheus with the rules of the example."""
    path = folder / "prometheus.yml"
    path.write_text(configuration)
    (folder / RULES.name).write_text(RULES.read_text())
    process = subprocess.Popen(
        [
            *("prometheus", f"--config.file={path}", f"--storage.tsdb.path={folder / 'data'}"),
            *("--web.listen-address=127.0.0.1:0", "--log.level=info"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    running = None
    try:
        running = Prometheus(process)
        yield running
    finally:
        if running:
            running.stop()
        else:
            process.kill()
            process.wait(HANG)
