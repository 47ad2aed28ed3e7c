"""make release: what is published, the same bytes each time, and only if all places name one version and one date."""

import hashlib
import tarfile
from pathlib import Path

import pytest

from tests.packaging.making import STUCK, copy_of_checkout, make, run
from tests.processes import ran

VERSION = "7.8.9"
DATE = "2026-02-03"

PLACES = {
    "bwtop/__init__.py": (r's/^__version__ = .*/__version__ = "7.8.9"/'),
    "man/bwtop.1": r"s/^\.Dd .*/.Dd February 3, 2026/",
    "CHANGELOG.md": r"0,/^## /s/^## .*/## 7.8.9 (2026-02-03)/",
    "debian/changelog": "1s/(.*)/(7.8.9)/; s/^ -- \\(.*>\\)  .*/ -- \\1  Tue, 03 Feb 2026 08:00:00 +0000/",
}
"""Files that name a release, and the sed command that names one there."""

GIT = ("git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout in which a release is committed."""
    folder = copy_of_checkout(tmp_path_factory.mktemp("release") / "checkout")
    for name, change in PLACES.items():
        run("sed", "-i", change, folder / name)
    run("git", "init", "-q", cwd=folder)
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    run("git", "add", "--all", cwd=folder)
    run(*GIT, "commit", "-q", "-m", "release", cwd=folder)


def clone(checkout: Path, folder: Path) -> Path:
    run("git", "clone", "-q", checkout, folder)
    return folder


@pytest.fixture(scope="module")
def dist(checkout: Path) -> Path:
    make("release", checkout=checkout)
    return checkout / "dist"


def test_everything_is_there_with_checksums(dist: Path) -> None:
    names = {path.name for path in dist.iterdir()}
    packages = {
        f"bwtop_{VERSION}_all.deb",
        f"bwtop-{VERSION}-1.noarch.rpm",
        f"bwtop-{VERSION}-py3-none-any.whl",
    }
    sources = {f"bwtop-{VERSION}.tar.gz", f"bwtop-{VERSION}.tar.xz"}
    assert names == packages | sources | {"SHA256SUMS"}
    lines = (dist / "SHA256SUMS").read_text().splitlines()
    assert set(lines) == {f"{sha256(dist / name)}  {name}" for name in packages | sources}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_second_release_is_equal_to_the_bit(checkout: Path, dist: Path, tmp_path: Path) -> None:
    """Later, elsewhere, with another umask, time zone and language."""
    again = clone(checkout, tmp_path / "elsewhere")
    variables = {"TZ": "Pacific/Auckland", "LC_ALL": "C"}
    run("make", "release", f"VENV={checkout}/.venv", cwd=again, env=variables, umask=0o077)
    assert (again / "dist/SHA256SUMS").read_text() == (dist / "SHA256SUMS").read_text()


def test_sources_are_the_commit(checkout: Path, dist: Path) -> None:
    """With the tests, so that `make test` works there; the source distribution is for pip."""
    with tarfile.open(dist / f"bwtop-{VERSION}.tar.xz") as archive:
        files = {member.name for member in archive if not member.isdir()}
    committed = run("git", "ls-files", cwd=checkout).splitlines()
    assert files == {f"bwtop-{VERSION}/{name}" for name in committed}


@pytest.mark.parametrize("place", PLACES)
def test_places_that_disagree_are_one_line(checkout: Path, tmp_path: Path, place: str) -> None:
    folder = clone(checkout, tmp_path / "wrong")
    text = (folder / place).read_text()
    changed = text.replace("7.8.9", "7.8.8").replace("February 3", "February 4")
    assert changed != text
    (folder / place).write_text(changed)
    commit(folder)
    said = refused(folder)
    assert said.startswith("release: versions or dates differ: ")
    assert f"CHANGELOG.md: {'7.8.8' if place == 'CHANGELOG.md' else '7.8.9'} ({DATE})" in said


def refused(folder: Path) -> str:
    """Return the line that says why no release is made."""
    done = ran(["make", "-s", "release"], cwd=folder, timeout=STUCK)
    said, failed = done.stderr.splitlines()
    assert failed.startswith("make: *** ")
    assert not (folder / "dist").exists()
    return said


def test_unreleased_changes_are_not_released(checkout: Path, tmp_path: Path) -> None:
    folder = clone(checkout, tmp_path / "unreleased")
    run("sed", "-i", "0,/^## /s/^## .*/## Unreleased/", folder / "CHANGELOG.md")
    commit(folder)
    assert "; CHANGELOG.md: Unreleased; " in refused(folder)


def test_what_is_not_committed_is_not_released(checkout: Path, tmp_path: Path) -> None:
    folder = clone(checkout, tmp_path / "changed")
    (folder / "README.md").write_text("changed")
    assert (
        refused(folder)
        == "release: commit your changes first; a release is made from the last commit"
    )
