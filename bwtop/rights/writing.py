"""A process with the rights of the user that bwtop was started for: it writes what the user asks to keep.

It is forked before bwtop drops root and closes its files, and does nothing but a few named actions.  So bwtop itself can
write no file of the user's, whatever becomes of it, and nothing is written as root.  A request is a line of JSON, with the
data in a file in memory (memfd_create(2)); each has a connection of its own for the answer.
"""

import contextlib
import errno
import gc
import json
import os
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from bwtop.rights import landlock, privileges
from bwtop.rights.account import Account
from bwtop.rights.opening import end

SECONDS: Final = 10.0
"""In which a file must have been written: a user's own file system (FUSE) may never answer."""

SUFFIXES: Final = (".csv", ".json", ".txt")
"""The ends of names that are written."""

_LONGEST: Final = 1 << 16
"""Most bytes of a request without its data, and of an answer."""

_PRIVATE: Final = stat.S_IRUSR | stat.S_IWUSR

Action = Callable[[dict[str, Any], bytes], object]
"""Takes the arguments and the data of a request; raises OSError and ValueError."""


class WritingProcess:
    """The client of that process; `ask` may be called from any thread."""

    def __init__(
        self,
        account: Account,
        actions: Mapping[str, Action],
        writable: Callable[[], Iterable[Path]] = tuple,
        close: Callable[[], object] = lambda: None,
    ) -> None:
        """Fork the process, which becomes `account` if this one is root, and can write only in what `writable` returns.

        `close` closes, in the other process, what it inherits.
        """
        self._turn = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._control.close()
                close()
                _serve(theirs, account, actions, writable)
            finally:
                os._exit(0)
        theirs.close()

    def ask(self, action: str, arguments: Mapping[str, Any], data: bytes = b"") -> None:
        """Let the process do something; raise the OSError or ValueError that it raises, and OSError without an answer."""
        try:
            answer = self._ask(action, arguments, data)
        except ConnectionError:
            answer = b""
        if not answer:
            raise OSError(errno.EIO, "the process that writes files has ended; restart bwtop")
        _raise(json.loads(answer))

    def _ask(self, action: str, arguments: Mapping[str, Any], data: bytes) -> bytes:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, self._turn:
            request = json.dumps({"action": action, "arguments": arguments}).encode()
            with theirs, os.fdopen(os.memfd_create("data"), "wb+") as file:
                file.write(data)
                file.flush()
                descriptors = [theirs.fileno(), file.fileno()]
                socket.send_fds(self._control, [request], descriptors)
            ours.settimeout(SECONDS)
            return ours.recv(_LONGEST)

    def close(self) -> None:
        """End the process; it does so by itself when this one ends."""
        self._control.close()
        end(self.pid)


def _raise(answer: Mapping[str, Any]) -> None:
    if "errno" in answer:
        raise OSError(answer["errno"], answer["error"])
    if "error" in answer:
        raise ValueError(answer["error"])


def _serve(
    control: socket.socket,
    account: Account,
    actions: Mapping[str, Action],
    writable: Callable[[], Iterable[Path]],
) -> None:
    """Be the process until the other end is closed, which is also so when its process has ended."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # bwtop may write after it was told to end
    gc.disable()
    privileges.drop(account)
    landlock.restrict(writable=writable())
    while (received := socket.recv_fds(control, _LONGEST, 2))[0]:
        request, descriptors = received[:2]
        if len(descriptors) == 2:
            with (
                socket.socket(fileno=descriptors[0]) as connection,
                os.fdopen(descriptors[1], "rb") as file,
                contextlib.suppress(OSError),  # the client has given up
            ):
                file.seek(0)
                connection.send(
                    json.dumps(_done(actions, json.loads(request), file.read())).encode()
                )


def _done(actions: Mapping[str, Action], request: Mapping[str, Any], data: bytes) -> dict[str, Any]:
    """Do what a request asks; return the error as an answer."""
    try:
        actions[request["action"]](request["arguments"], data)
    except OSError as error:
        return {"errno": error.errno, "error": error.strerror}
    except ValueError as error:
        return {"error": str(error)}
    return {}


def write_here(arguments: dict[str, Any], data: bytes) -> None:
    """Write a file `name` into the current directory; an existing one only with `replace`.

    Raise FileExistsError, another OSError, and ValueError for a name that is not written.
    """
    name = check_name(arguments["name"])
    if not arguments.get("replace"):
        _create(Path(name), data)
        return
    path = Path(name)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise OSError(errno.EINVAL, "not a regular file", name)
    replace(path, data)


def check_name(name: str) -> str:
    """Return the name of a file to write; raise ValueError if it is a path, hidden, or of another kind."""
    if not name.endswith(SUFFIXES):
        raise ValueError(f"expected a name that ends in {', '.join(SUFFIXES)}")
    if "/" in name or name.startswith(".") or not name.isprintable():
        raise ValueError("expected a name in the current directory, without / and a leading .")
    return name


def replace(path: Path, data: bytes, mode: int = _PRIVATE) -> None:
    """Write a file, which appears under its name when it is complete; raise OSError."""
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)  # of a process that was killed
    _create(unfinished, data)
    try:
        unfinished.chmod(mode)
        unfinished.replace(path)
    except OSError:
        unfinished.unlink()
        raise


def _create(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, _PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError:  # no space
        path.unlink()
        raise
