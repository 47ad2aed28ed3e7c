"""The users that may look at what --serve and --metrics have, as the flags say it."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bwtop.options import flags
from bwtop.rights import account as accounts
from bwtop.text.stderr import fail, say

if TYPE_CHECKING:
    from bwtop.web.access import Address
    from bwtop.web.trusted import Trusted

OPEN: Final = "everyone on this machine may look (--open)"


def check(options: argparse.Namespace) -> None:
    """End in one line where --open contradicts another setting; a configuration file may have brought them together."""
    if fault := flags.open_fault(options):
        fail(fault)


def trusted(options: argparse.Namespace) -> "Trusted":
    """Return the users that need no token on loopback."""
    from bwtop.web.trusted import Everyone, TrustedUsers

    return (
        Everyone()
        if options.open
        else TrustedUsers(accounts.owner(os.environ), options.trust_user or ())
    )


def tell(address: "Address", trusted: "Trusted", token_file: Path | None, made: str | None) -> None:
    """Say who may look, and the token that was `made`."""
    if not address.ip.is_loopback:
        if made:
            say(f"the token, for programs (Authorization: Bearer ...): {made}")
    elif made or token_file:
        token = f"the token: {made}" if made else f"the token in {token_file}"
        say(f"on this machine {trusted} may look; others need {token}")
    else:
        say(OPEN)
