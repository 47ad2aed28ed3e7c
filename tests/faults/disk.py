"""A file system of the test's own that can stand still."""

import subprocess
from pathlib import Path

from tests.kernel.running import HANG

SIZE = 32 << 20
"""Bytes of the file system of the test."""


class Disk:
    """A file system of the test's own that can stand still (fsfreeze(8))."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "disk"
        self.path.mkdir()
        image = folder / "image"
        with image.open("wb") as file:
            file.truncate(SIZE)
        self._run("mkfs.ext4", "-q", image)
        self._run("mount", "-o", "loop", image, self.path)
        self._is_frozen = False

    def freeze(self) -> None:
        """Let every write wait."""
        self._run("fsfreeze", "--freeze", self.path)
        self._is_frozen = True

    def thaw(self) -> None:
        """Let the writes go on."""
        if self._is_frozen:
            self._run("fsfreeze", "--unfreeze", self.path)
            self._is_frozen = False

    def close(self) -> None:
        """Unmount it."""
        self.thaw()
        self._run("umount", self.path)

    def _run(self, *command: str | Path) -> None:
        subprocess.run(command, check=True, timeout=HANG)
