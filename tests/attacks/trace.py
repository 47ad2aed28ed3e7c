"""Paths that processes name to the kernel, and as which users, by strace(1).

One file for each thread, so that no line is cut in two by another's.  A thread begins with the user of the one that made
it, as it was then.  strace's -y says where descriptors lead, so that no path has to be resolved here.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CALLS: Final = "%file,%process,%creds,bind,connect,fchmod,fchown,fchdir"

_LINE: Final = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)(?:<(.*)>)?.*")
_NAMED: Final = re.compile(r'(?:(AT_FDCWD|\d+)<([^>]*)>, )?(?:NULL|"((?:[^"\\]|\\.)*)")')
_BY_DESCRIPTOR: Final = re.compile(r"\d+<([^>]*)>")
_SOCKET: Final = re.compile(r'sun_path="([^"]*)"')
_OPENING: Final = frozenset({"open", "openat", "openat2", "creat"})
_TWO_PATHS: Final = ("rename", "link", "symlink", "mount")
_MAKING: Final = frozenset({"fork", "vfork", "clone", "clone3"})


@dataclass(frozen=True)
class Named:
    """A path that a call named, absolute."""

    call: str
    path: str
    uid: int
    """The user for whom the kernel looked it up."""
    worked: bool
    opened: bool

    def is_in(self, directory: str) -> bool:
        """Say whether it is that directory or in it."""
        return f"{self.path}/".startswith(f"{directory}/")


def named(prefix: Path, program: str, uid: int = 0, cwd: str = "/") -> list[Named]:
    """Return all paths that a program and its children named, from where a process of this user became it."""
    texts = {
        int(path.suffix[1:]): path.read_text(errors="backslashreplace").splitlines()
        for path in prefix.parent.glob(f"{prefix.name}.*")
    }
    begins = {
        pid: number
        for pid, lines in texts.items()
        for number, line in enumerate(lines)
        if line.startswith(f'execve("{program}", ') and line.endswith(" = 0")
    }
    assert begins, f"nothing became {program}"
    found: list[Named] = []
    waiting = [(pid, uid, cwd, number) for pid, number in begins.items()]
    while waiting:
        pid, uid, cwd, number = waiting.pop()
        thread = _Thread(uid, cwd)
        found.extend(thread.read(texts.get(pid, [])[number:]))
        waiting.extend((child, *then, 0) for child, then in thread.made.items())
    return found


class _Thread:
    def __init__(self, uid: int, cwd: str) -> None:
        self._uid = uid
        self._cwd = cwd
        self.made: dict[int, tuple[int, str]] = {}
        """Threads and processes that it made, with its user and directory then."""

    def read(self, lines: list[str]) -> Iterator[Named]:
        for line in lines:
            match = _LINE.fullmatch(line)
            if match:
                yield from self._call(*match.groups())

    def _call(self, call: str, arguments: str, result: str, leads: str | None) -> Iterator[Named]:
        worked = result != "?" and int(result) >= 0
        if call in _MAKING and worked:
            self.made[int(result)] = (self._uid, self._cwd)
            return
        opened = call in _OPENING and worked
        paths = [leads] if opened and leads else self._paths(call, arguments)
        for path in paths:
            yield Named(call, path, self._uid, worked, opened)
        if worked:
            self._follow(call, arguments, paths)

    def _follow(self, call: str, arguments: str, paths: list[str]) -> None:
        """Keep up with who it is and where."""
        if call in ("chdir", "fchdir"):
            self._cwd = paths[0]
        numbers = [int(n) for n in re.findall(r"-?\d+", arguments)]
        uid = {"setuid": 0, "setreuid": 1, "setresuid": 1, "setfsuid": 0}.get(call)
        if uid is not None and numbers[uid] != -1:
            self._uid = numbers[uid]

    def _paths(self, call: str, arguments: str) -> list[str]:
        if call == "getcwd":
            return []
        if call in ("bind", "connect"):
            return _SOCKET.findall(arguments)
        if call.startswith("f") and (match := _BY_DESCRIPTOR.match(arguments)):
            return [match[1]] if '"' not in arguments else self._by_name(call, arguments)
        return self._by_name(call, arguments)

    def _by_name(self, call: str, arguments: str) -> list[str]:
        """Return the path, or both of rename(2) and link(2)."""
        found: list[str] = []
        position = 0
        while match := _NAMED.match(arguments, position):
            if found and not call.startswith(_TWO_PATHS):
                break
            _, directory, name = match.groups()
            if name or directory:
                found.append(os.path.join(directory or self._cwd, name or ""))
            position = match.end() + len(", ")
        return [os.path.normpath(path) for path in found]
