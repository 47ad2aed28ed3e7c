"""bwtop --demo: the full screen with demo traffic."""

import os

from bwtop.modes import common, demo_traffic
from bwtop.modes.screen import has_terminal, run_screen
from bwtop.options.config import Config
from bwtop.options.flags import Options
from bwtop.rights import account as accounts
from bwtop.text.stderr import fail


def run_demo(options: Options, files: Config) -> None:
    """Run the full screen with demo processes, which are forked first so that they inherit nothing created later."""
    if not has_terminal():
        fail("--demo needs a terminal")
    with demo_traffic.Demo(accounts.unprivileged(os.environ), demo_traffic.SECONDS) as running:
        run_screen(options, files, common.load(options), running.status)
