"""make deb: the package, its contents and what it says of itself.  test_debian.py installs it."""

import re
from pathlib import Path

from bwtop import __version__
from tests.packaging.making import ROOT, STUCK, make, run, sources, tree
from tests.processes import ran

NEEDED = {
    *("libbpf1", "libjs-chart.js", "python3", "python3-bpfcc", "python3-humanize"),
    *("python3-urwid", "systemd"),
}


def field(deb: Path, name: str) -> str:
    return run("dpkg-deb", "--field", deb, name).strip()


def source_field(name: str) -> str:
    """Return a field of debian/control's first paragraph."""
    (found,) = re.findall(rf"^{name}: (.*)$", (ROOT / "debian/control").read_text(), re.MULTILINE)
    return str(found)


def packages(relations: str) -> set[str]:
    """Return the first alternatives, without versions and architectures."""
    return {re.split(r"[\s:|(]", relation.strip())[0] for relation in relations.split(",")}


def as_debian_has_it(version: str) -> str:
    """Convert a version of PEP 440 to deb-version(7): a version before a release has a tilde there."""
    return re.sub(r"\.?(dev|a|b|rc)(\d+)", r"~\1\2", version)


def listed(name: str) -> set[str]:
    """Return a list of packages in the Makefile."""
    (found,) = re.findall(rf"^{name} := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return set(str(found).split())


def test_version_is_the_programs(deb: Path) -> None:
    changelog = run("dpkg-parsechangelog", "--show-field", "Version").strip()
    assert changelog == as_debian_has_it(__version__)
    assert field(deb, "Version") == changelog
    assert deb.name == f"bwtop_{changelog}_all.deb"


def test_dependencies_are_debians_packages(deb: Path) -> None:
    assert packages(field(deb, "Depends")) == NEEDED
    assert listed("RUN_PACKAGES") | {"libjs-chart.js"} <= NEEDED
    assert field(deb, "Architecture") == "all"
    assert not field(deb, "Pre-Depends")


def test_make_installs_what_building_needs() -> None:
    """debhelper-compat is debhelper's; Python is what this runs on."""
    needed = {name.removesuffix("-compat") for name in packages(source_field("Build-Depends"))}
    assert needed - {"python3"} == listed("DEB_PACKAGES")


def test_contents_are_what_make_installs(deb: Path, tmp_path: Path) -> None:
    run("dpkg-deb", "-x", deb, tmp_path / "deb")
    make("install", f"DESTDIR={tmp_path / 'make'}", "PREFIX=/usr", "COMPILE=")
    packaged, installed = files(tmp_path / "deb"), files(tmp_path / "make")
    assert {f"usr/share/bwtop/{name}" for name in sources()} <= packaged
    ours = {name for name in packaged if not name.startswith("usr/share/doc/")}
    debians = {"usr/share/python3/runtime.d/bwtop.rtupdate", "usr/share/lintian/overrides/bwtop"}
    shown = {name for name in installed if name.startswith("usr/share/doc/")}
    assert shown <= packaged, "examples are not compressed"
    assert ours - debians == installed - shown


def files(folder: Path) -> set[str]:
    """Return the files by name, with the `/usr` that Debian 12 leaves out of some, and without the compression of manual pages."""
    return {
        re.sub(r"^lib/", "usr/lib/", name).removesuffix(".gz")
        for name, kind in tree(folder).items()
        if not kind.startswith("folder")
    }


def test_documentation_says_why_the_service_is_off(deb: Path, tmp_path: Path) -> None:
    run("dpkg-deb", "-x", deb, tmp_path)
    folder = tmp_path / "usr/share/doc/bwtop"
    assert "systemctl enable --now bwtop" in (folder / "README.Debian").read_text()
    for name in ("copyright", "changelog.gz", "README.md.gz", "guide/README.md"):
        assert (folder / name).exists(), name
    pages = {path.name.removesuffix(".gz") for path in (folder / "guide").iterdir()}
    assert pages == {path.name for path in (ROOT / "man" / "guide").iterdir()}


def test_lintian_has_no_complaint(deb: Path) -> None:
    lintian = ["lintian", "--no-cfg", "--allow-root", "--display-info", "--pedantic"]
    done = ran([*lintian, deb], timeout=STUCK)
    complaints = done.stdout.splitlines()
    assert (done.returncode, complaints) == (0, []), done.stderr
