"""make wheel: what pip and pipx install, beside the distribution's bcc."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bwtop import __version__
from tests.packaging.making import ROOT, copy_of_checkout, make, run, sources, tree
from tests.packaging.modes import Installed, check_batch, check_serving


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with both distributions; check that only they and the environment that builds them are made."""
    checkout = copy_of_checkout(tmp_path_factory.mktemp("wheel") / "checkout")
    before = tree(checkout)
    make("wheel", checkout=checkout)
    after = tree(checkout)
    made = {name for name in after if name.split("/")[0] in ("dist", ".venv-build")}
    assert {name: after[name] for name in after.keys() - made} == before
    return checkout / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return dist / f"bwtop-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def bwtop(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Install the wheel in a new environment, as `pipx install --system-site-packages` does: nothing else is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    environment = folder / "environment"
    run("/usr/bin/python3", "-m", "venv", "--system-site-packages", environment)
    run(environment / "bin/pip", "--isolated", "install", "-q", "--no-index", wheel)
    outside = folder / "outside"
    outside.mkdir()
    command = str(environment / "bin" / "bwtop")
    return Installed(lambda *flags: [command, *flags], str(folder / "history.db"), outside)


def test_wheel_has_all_that_bwtop_is_and_nothing_else(wheel: Path) -> None:
    """A package that is new stands in pyproject.toml, or it is not in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    described = f"bwtop-{__version__}.dist-info/"
    expected = {
        name if name.startswith("bwtop/") else f"bwtop/{name}" for name in sources() - {"bwtop.py"}
    }
    assert {name for name in names if not name.startswith(described)} == expected


def test_source_distribution_is_enough_to_install(dist: Path, tmp_path: Path) -> None:
    run("tar", "-xf", dist / f"bwtop-{__version__}.tar.gz", "-C", tmp_path)
    unpacked = tmp_path / f"bwtop-{__version__}"
    for name, checkout in (("theirs", unpacked), ("ours", ROOT)):
        make("install", f"DESTDIR={tmp_path / name}", "COMPILE=", checkout=checkout)
    assert set(tree(tmp_path / "theirs")) == set(tree(tmp_path / "ours"))
    packaging = {name for name in tree(ROOT / "debian") if not name.startswith("bwtop/")}
    assert packaging == set(tree(unpacked / "debian"))
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        assert (unpacked / name).read_text() == (ROOT / name).read_text()
    assert set(tree(unpacked / "man" / "guide")) == set(tree(ROOT / "man" / "guide"))


@pytest.mark.kernel
@pytest.mark.parametrize("check", [check_batch, check_serving], ids=lambda check: check.__name__)
def test_installed_wheel(bwtop: Installed, check: Callable[[Installed], None]) -> None:
    check(bwtop)
