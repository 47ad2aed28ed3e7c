"""The compiler's arguments with which each file of bpf/ compiles alone, as the loader would give them.

`python -m tests.capture.flags > compile_flags.txt` writes them for clangd and other indexers.
"""

import sys
from collections.abc import Iterator

from bwtop.capture import features, functions
from bwtop.capture.backends import HOOKS
from bwtop.capture.fields import FIELDS
from bwtop.capture.listening import CALLS
from tests.capture.kernels import MadeUp

CONSTANTS = (
    *("CHARGE_CALL", "FLOWS_FLAGS", "PROCESSES_FLAGS", "MAX_IDS", "IDS_PER_BLOCK", "MAX_PROCESSES"),
    "TCP_REPAIR_MASK",
)
"""Macros that the loader defines beside places of fields, functions and features; `repair` is a bit-field in every kernel."""


KERNEL = MadeUp(**{hook.function: ("sk", "msg", "len", "flags") for hook in HOOKS})
"""A kernel with all hooked functions; places in memory do not matter here."""


def flags() -> Iterator[str]:
    """Yield the arguments for a kernel with all that the programs know of."""
    yield "-xc"
    yield from (f"-D{macro}={8 * place}" for place, macro in enumerate(FIELDS))
    yield from (f"-D{macro}=1" for macro in CONSTANTS)
    yield from functions.definitions(KERNEL, ())
    yield f"-D{features.TRIALS[0].macro}"
    yield from ("-DNAMES", "-DLISTEN_CALL=2", "-DHEARD_PAGES=1")
    yield from (f"-DREGS_{place}=8" for place in ("NUMBER", "SECOND", "THIRD"))
    yield from (f"-DNR_{call}={number}" for number, call in enumerate(CALLS))


if __name__ == "__main__":
    sys.stdout.writelines(f"{word}\n" for word in flags())
