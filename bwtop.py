#!/usr/bin/python3
"""Runs bwtop from a checkout: ./bwtop.py.  It needs the distribution's python3, which is where BCC lives."""

import sys

try:
    from bwtop.cli import main
except ModuleNotFoundError as missing:
    sys.exit(
        f"bwtop: {missing} ({sys.executable}); run it with /usr/bin/python3, after `make install-deps`"
    )

if __name__ == "__main__":
    main()
