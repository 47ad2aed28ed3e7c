"""Take the README's pictures of the page, and check what they show."""

import math
import os
import time
from pathlib import Path
from typing import Final

from bwtop.web import files
from tests.history.desktop import a_desktops_day
from tests.web.browser import PIXELS, Visit, mover
from tests.web.page.scenes import Quiet, Visitor, live, midnight
from tests.web.serving import serving

PICTURES = os.environ.get("BWTOP_PICTURES")


BUDGET: Final = 150_000
"""Maximum bytes of a picture."""


def picture(page: Visit, name: str, folder: Path) -> None:
    path = (Path(PICTURES) if PICTURES else folder) / name
    page.page.screenshot(path=path)
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert 20_000 < len(data) < BUDGET, "neither blank nor large"


@live
def test_picture_of_the_live_view(visit: Visitor, tmp_path: Path) -> None:
    """The README's picture, when BWTOP_PICTURES names a directory for it (`make picture`)."""
    seconds = 62 if PICTURES else 1
    with (
        serving("--db", str(tmp_path / "history.db"), "-d", "0.5") as server,
        mover("postgres") as database,
        mover("nginx") as web,
        mover("backupd") as store,
        mover("backup") as backup,
        mover("updater") as updater,
        mover("browser") as reader,
        mover("sensord") as sensor,
    ):
        ports = {
            "127.0.0.5": database.listen("127.0.0.5"),
            "127.0.0.9": web.listen("127.0.0.9"),
            "127.0.0.20": store.listen("127.0.0.20"),
        }
        page = visit(server, viewport={"width": 1280, "height": 800}, color_scheme="light")
        page.has("#status", "measuring")
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            for one, host, most, period in (
                (backup, "127.0.0.20", 200_003, 7.0),
                (updater, "127.0.0.9", 125_003, 3.1),
                (reader, "127.0.0.9", 45_007, 1.7),
                (sensor, "127.0.0.5", 10_007, 5.0),
            ):
                one.tcp(host, ports[host], int(most * (1 + 0.8 * math.sin(passed / period))))
            updater.udp("127.0.0.1", 9, 101, 3)
            page.page.wait_for_timeout(50)
        page.row("backup", backup.pid)
        page.row("updater", updater.pid)
        page.toggle("updater", updater.pid).click()
        page.until(lambda: len(page.children()) == 2)
        page.until(lambda: min(page.run(PIXELS).values()) > 100)
        page.page.mouse.move(1270, 790)
        picture(page, "live.png", tmp_path)


def test_picture_of_the_history(visit: Visitor, tmp_path: Path) -> None:
    a_desktops_day(tmp_path / "history.db", midnight(1))
    with Quiet(tmp_path / "history.db", files=files.load(None, {})) as server:
        page = visit(
            server,
            "?view=history&range=yesterday",
            viewport={"width": 1280, "height": 800},
            color_scheme="light",
        )
        page.row("firefox")
        page.toggle("firefox").click()
        page.until(page.children)
        page.page.mouse.move(1270, 790)
        picture(page, "history.png", tmp_path)
