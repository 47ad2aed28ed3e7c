"""`make` as a user types it, and what it leaves behind."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

from tests.processes import ran

ROOT = Path(__file__).resolve().parents[2]

STUCK = 900
"""Seconds after which a command never ends: several times what the slowest needs on a busy machine."""

Tree = dict[str, str]
"""The contents of a folder by path: a folder with its mode, a link with its target, or a file with its mode, size and time."""


def run(
    *command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None, umask: int = -1
) -> str:
    """Run a command, which must succeed; return its standard output.  It inherits nothing that make tells the makes it starts."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    done = ran(
        command,
        timeout=STUCK,
        cwd=cwd,
        env=inherited | (env or {}),
        umask=umask,
        stdin=subprocess.DEVNULL,
    )
    said = f"{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{said}"
    return done.stdout


def make(target: str, *variables: str, checkout: Path = ROOT, umask: int = -1) -> None:
    run("make", target, *variables, cwd=checkout, umask=umask)


def tree(folder: Path) -> Tree:
    return {str(path.relative_to(folder)): kind(path) for path in sorted(folder.rglob("*"))}


def kind(path: Path) -> str:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return f"-> {path.readlink()}"
    mode = f"{stat.S_IMODE(found.st_mode):o}"
    if stat.S_ISDIR(found.st_mode):
        return f"folder {mode}"
    return f"{mode} {found.st_size} {found.st_mtime_ns}"


def sources() -> set[str]:
    """Return the files that bwtop consists of, as a checkout names them."""
    found = {"bwtop.py"}
    for name in ("bwtop", "bpf"):
        for path in (ROOT / name).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                found.add(str(path.relative_to(ROOT)))
    return found


def copy_of_checkout(target: Path) -> Path:
    """Return a copy of this checkout that a test may change."""
    made = shutil.ignore_patterns(
        ".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "dist"
    )
    return Path(shutil.copytree(ROOT, target, ignore=made, symlinks=True))


def built_deb(checkout: Path) -> Path:
    """Return the package that `make deb` makes of a checkout; check that nothing else changes there."""
    before = tree(checkout)
    make("deb", checkout=checkout)
    after = tree(checkout)
    made = {name: after.pop(name) for name in tree(checkout) if name.split("/")[0] == "dist"}
    assert after == before
    (name,) = (name for name in made if name != "dist")
    return checkout / name
