#!/usr/bin/python3 -s
"""Runs bwtop from a checkout: ./bwtop.py.  It needs the distribution's python3, which is where BCC lives.

-s: as root, no package of the user whose home HOME may still name is imported.
"""

import os
import sys

if os.geteuid() == 0 and os.stat(__file__).st_uid != 0:  # noqa: PTH116 - pathlib takes 10 ms to import
    sys.dont_write_bytecode = True  # root's files in a user's checkout would be in the user's way

try:
    from bwtop.cli import main
except ModuleNotFoundError as missing:
    sys.exit(
        f"bwtop: {missing} ({sys.executable}); run it with /usr/bin/python3, after `make install-deps`"
    )

if __name__ == "__main__":
    main()
