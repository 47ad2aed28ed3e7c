"""Access to --serve and --metrics, according to the flags."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bwtop.options import rules
from bwtop.options.flags import FLAGS, Options
from bwtop.rights import account as accounts
from bwtop.text.stderr import fail, say

if TYPE_CHECKING:
    from bwtop.web.access import Address
    from bwtop.web.trusted import Trusted

OPEN: Final = "access on this machine: everyone (--open)"


def check(options: Options) -> None:
    """Exit with one line if --open contradicts another setting, from a flag or a configuration file."""
    if fault := rules.fault(FLAGS["open"], options):
        fail(fault)


def trusted(options: Options) -> "Trusted":
    """Return the users who need no token on loopback."""
    from bwtop.web.trusted import Everyone, TrustedUsers

    return (
        Everyone() if options.open else TrustedUsers(accounts.owner(os.environ), options.trust_user)
    )


def tell(address: "Address", trusted: "Trusted", token_file: Path | None, made: str | None) -> None:
    """Report which users have access, and the token if one was `made`."""
    if not address.ip.is_loopback:
        if made:
            say(f"the token, for programs (Authorization: Bearer ...): {made}")
    elif made or token_file:
        token = f"the token: {made}" if made else f"the token in {token_file}"
        say(f"access on this machine: {trusted}; others need {token}")
    else:
        say(OPEN)
