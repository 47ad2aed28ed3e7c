"""No module opens files but those listed here, so that no path of a user's is opened past bwtop.rights."""

import ast
from pathlib import Path
from typing import Final

import bwtop

PACKAGE: Final = Path(bwtop.__file__).parent

OPENERS: Final = {
    "rights/opening.py": "with the user's rights",
    "rights/writing.py": "in the current directory, with the user's rights",
    "rights/private.py": "a folder that only this user can change",
    "rights/landlock.py": "directories, without reading them",
    "rights/privileges.py": "/proc",
    "sqlite/lock.py": "the history's, with its account's rights",
    "sqlite/connections.py": "the history, with its account's rights",
    "history/process.py": "/proc/self/statm",
    "identity/machine.py": "/etc/machine-id",
    "identity/names.py": "/etc/resolv.conf",
    "containers/folders.py": "folders of container engines, as the helper",
    "containers/places.py": "the configuration of container engines, as the helper",
    "containers/helper.py": "/dev/null",
    "capture/attach.py": "the root of the cgroups",
    "capture/cache.py": "/sys/kernel/notes, and bwtop's and BCC's own code",
    "capture/cgroups.py": "/proc",
    "capture/mounts.py": "/proc/PID/mountinfo",
    "capture/namespaces.py": "namespaces of the network",
    "capture/kprobes.py": "tracefs and /proc/kallsyms",
    "capture/preemption.py": "debugfs",
    "capture/selftest.py": "/proc/self/stat",
    "capture/sources.py": "bpf/",
    "cli.py": "/dev/null",
    "metrics/own.py": "/proc/self",
    "modes/demo_traffic.py": "/dev/null and /proc/self/fd",
    "text/domains.py": "the public suffix list",
    "text/stderr.py": "/dev/null",
    "tui/procfs.py": "/proc",
    "tui/terminal.py": "/proc/self/environ",
    "web/files.py": "bwtop's own page",
    "web/peer.py": "/proc/net and /proc/sys",
}
"""Modules that open files, and which."""

_CALLS: Final = {
    "open",
    "read_text",
    "read_bytes",
    "write_text",
    "write_bytes",
    "fopen",
    "copyfile",
}


_OURS: Final = {"recorder", "sender", "self", "_writer"}
"""Objects whose open() opens the history."""


def opens(source: str) -> bool:
    return any(
        isinstance(node, ast.Call) and _name(node.func) in _CALLS and not _is_method_of_ours(node)
        for node in ast.walk(ast.parse(source))
    )


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""


def _is_method_of_ours(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and _name(call.func.value) in _OURS


def modules() -> dict[str, str]:
    return {
        str(path.relative_to(PACKAGE)): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))
    }


def test_only_these_modules_open_files() -> None:
    assert {name for name, source in modules().items() if opens(source)} == set(OPENERS)


def test_only_the_database_modules_connect_to_sqlite() -> None:
    connecting = {name for name, source in modules().items() if "sqlite3.connect(" in source}
    assert connecting == {"sqlite/connections.py", "sqlite/schema.py"}
