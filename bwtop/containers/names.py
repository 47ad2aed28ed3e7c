"""The names of containers, asked of the helper in the background."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterable
from typing import Final

from bwtop.containers import helper
from bwtop.containers.formats import Named, image_of, name_of
from bwtop.containers.helper import LONGEST, Hello
from bwtop.identity.lookup import Lookup, Unanswered
from bwtop.identity.units import ContainerKey
from bwtop.rights.account import Account

PATIENCE: Final = 2.0
"""Seconds for an answer."""

AGE: Final = 5.0
"""Seconds after which a name is asked for again: containers can be renamed."""

KNOWN: Final = 4096
"""Largest number of containers whose names are kept."""


class ContainerNames:
    """Names of containers; one that is not known yet is None.  A container that has gone keeps its last name."""

    def __init__(self, account: Account) -> None:
        """Start the helper, which becomes `account`; call it before root is dropped."""
        self._helper = helper.start(account)
        self._helper.socket.settimeout(PATIENCE)
        self._lookup = Lookup(self._ask, "bwtop-containers", 1, known=KNOWN, age=AGE)
        self._last: dict[ContainerKey, Named] = {}
        self._asked = 0
        self._hello: Hello | None = None
        self._is_over = False
        self._is_reaped = False
        self._mutex = threading.Lock()

    def get(self, key: ContainerKey) -> Named | None:
        """Return the name if it is known; else ask for it."""
        return None if self._is_over and key not in self._last else self._lookup.get(key)

    def is_known(self, key: ContainerKey) -> bool:
        """Return whether the helper has answered for a container, or there is none to ask."""
        return self._is_over or self._lookup.is_known(key)

    def wait(self, keys: Iterable[ContainerKey], seconds: float) -> None:
        """Wait until the names are known, but at most so many seconds."""
        if not self._is_over:
            self._lookup.wait(keys, seconds)

    @property
    def pid(self) -> int:
        """Return the process id of the helper."""
        return self._helper.pid

    def hello(self) -> Hello | None:
        """Return what the helper says of itself; None: it has no folder to read, or does not answer."""
        with self._mutex, contextlib.suppress(OSError, Unanswered):
            if self._hello is None and not self._is_over:
                self._answer(0)
        return self._hello

    def greet(self) -> None:
        """Ask for the greeting in the background, which reaps a helper without folders; call it once root is dropped."""
        threading.Thread(target=self.hello, name="bwtop-containers", daemon=True).start()

    def close(self) -> None:
        """End the helper, and with it a question that waits for its answer."""
        self._is_over = True
        with contextlib.suppress(OSError):  # it has ended
            self._helper.socket.shutdown(socket.SHUT_RDWR)
        with self._mutex:
            self._end()

    def _end(self) -> None:
        """End and reap the helper, once: its pid may be another process's afterwards."""
        self._is_over = True
        if not self._is_reaped:
            self._is_reaped = True
            self._helper.close()

    def _ask(self, key: ContainerKey) -> Named | None:
        """Return the name of a container; raise Unanswered."""
        with self._mutex:
            try:
                found = None if self._is_over else self._exchange(key)
            except OSError:
                raise Unanswered from None
        if found is None:
            return self._last.get(key)
        self._last.pop(key, None)
        self._last[key] = found
        if len(self._last) > KNOWN:
            del self._last[next(iter(self._last))]
        return found

    def _exchange(self, key: ContainerKey) -> Named | None:
        self._asked += 1
        try:
            self._helper.socket.send(json.dumps([self._asked, *key]).encode())
        except (BrokenPipeError, ConnectionError):
            self._end()
            return None
        name, image = (*self._answer(self._asked), None, None)[:2]
        named = name_of(name)
        return Named(named, image_of(image)) if named else None

    def _answer(self, number: int) -> list[object]:
        """Return the answer of a number; skip those that came too late, and keep the greeting."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            received = self._helper.socket.recv(LONGEST)
            if not received:
                self._end()
                return []
            answered, *found = json.loads(received)
            if answered == 0:
                self._hello = Hello(*found)
            if answered == number:
                return list(found)
        raise Unanswered
