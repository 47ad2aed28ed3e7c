"""apt with lists and packages of its own, for any suite and machine of Debian, which knows of no installed package."""

import os
import platform
import re
import subprocess
from pathlib import Path

from tests.vm.cache import NotFetchedError, cache_folder, reason
from tests.vm.sources import for_suite, machine_sources

STUCK = 1200
"""Seconds after which apt is ended: more than it needs on a slow line."""


class Apt:
    """It."""

    def __init__(self, suite: str, machine: str) -> None:
        self.suite = suite
        self.machine = machine
        self.folder = (
            cache_folder() / "apt" / (suite if machine == "amd64" else f"{suite}-{machine}")
        )

    def update(self) -> str:
        """Read the lists of the suite anew.  Return why not all of them, which may still be enough."""
        self._configure()
        try:
            self.run("apt-get", "update", "-q")
        except subprocess.CalledProcessError as error:
            return reason(error)
        return ""

    def _configure(self) -> None:
        for name in ("lists/partial", "archives/partial", "state"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
        sources = for_suite(machine_sources(), codename, self.suite)
        if not sources:
            raise NotFetchedError("this machine's apt has no source of Debian's packages")
        (self.folder / "debian.sources").write_text(sources)
        (self.folder / "state/status").touch()
        (self.folder / "apt.conf").write_text(configuration(self.folder, self.machine))

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """Run one of apt's programs; return what it prints."""
        program, *arguments = command
        return subprocess.run(
            [program, "-c", str(self.folder / "apt.conf"), *arguments],
            cwd=cwd,
            env=os.environ | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=STUCK,
        ).stdout

    def field(self, package: str, name: str) -> str:
        """Return a field of the newest version of a package; empty if it does not say so, or there is no such package."""
        try:
            shown = self.run("apt-cache", "show", "--no-all-versions", package)
        except subprocess.CalledProcessError:
            return ""
        match = re.search(rf"^{name}: (.*)$", shown, re.MULTILINE)
        return match[1] if match else ""


def configuration(folder: Path, machine: str) -> str:
    """apt.conf(5) for a state of its own.  The machine's settings for the network stay, its hooks do not."""
    return f"""
Dir::State "{folder}/state";
Dir::State::status "{folder}/state/status";
Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}";
Dir::Cache::archives "{folder}/archives";
Dir::Etc::sourcelist "{folder}/debian.sources";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Update::Error-Mode "any";
APT::Architecture "{machine}";
APT::Architectures {{ "{machine}"; }};
APT::Sandbox::User "root";
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::CNF;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""
