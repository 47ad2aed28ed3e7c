"""bwtop --demo: the full screen beside traffic of its own."""

import argparse
import os

from bwtop.modes import common, demo_traffic
from bwtop.modes.screen import has_terminal, run_screen
from bwtop.options.config import Config
from bwtop.rights import account as accounts
from bwtop.text.stderr import fail


def run_demo(options: argparse.Namespace, files: Config) -> None:
    """The screen beside processes that move bytes: forked first, so that they have nothing of what comes later."""
    if not has_terminal():
        fail("--demo shows the full screen, and there is no terminal here")
    with demo_traffic.Demo(accounts.unprivileged(os.environ), demo_traffic.SECONDS) as running:
        run_screen(options, files, common.load(options), running.status)
