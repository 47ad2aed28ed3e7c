"""apt's sources for other suites, made from those that the machine has."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

Stanza = dict[str, str]
"""One source in the style of deb822, of sources.list(5): its fields, their names in small letters."""

OTHER_NAMES = {"stable", "oldstable", "testing", "unstable", "sid"}
"""What the archive's suites may be called instead of by the machine's code name."""

LONG_NAMES = {"arch": "architectures", "lang": "languages", "target": "targets"}
"""Options of the one-line style that are fields of another name."""

ONE_LINE = re.compile(
    r"deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>[^#]+)"
)


def machine_sources(etc: Path = Path("/etc/apt")) -> list[Stanza]:
    """All sources of packages that the machine's apt has."""
    found: list[Stanza] = []
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        if path.suffix == ".list" and path.exists():
            found += one_line(path.read_text())
        if path.suffix == ".sources":
            found += deb822(path.read_text())
    return found


def one_line(text: str) -> Iterator[Stanza]:
    """Yield the sources of a file with one to a line."""
    for line in text.splitlines():
        if match := ONE_LINE.match(line.strip()):
            stanza = {"types": "deb", "uris": match["uri"], "suites": match["suite"]}
            stanza["components"] = match["components"].strip()
            for option in (match["options"] or "").split():
                name, _, value = option.partition("=")
                stanza[LONG_NAMES.get(name, name)] = value.replace(",", " ")
            yield stanza


def deb822(text: str) -> Iterator[Stanza]:
    """Yield the sources of a file with one to a paragraph."""
    for paragraph in re.split(r"\n\s*\n", text):
        stanza: Stanza = {}
        name = ""
        for line in paragraph.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                stanza[name] += "\n" + line
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.lower()
                stanza[name] = value.strip()
        if "deb" in stanza.get("types", "").split() and stanza.get("enabled", "yes") != "no":
            yield stanza


def for_suite(machine: Iterable[Stanza], codename: str, suite: str) -> str:
    """Return what gives a suite and its security updates, in the style of deb822; empty if nothing does.

    codename: the machine's own suite, by which the Debian archive is told from other sources.  Those may call theirs
    `stable`, so other names count only where this one is not used.
    """
    archive = [
        {name: value for name, value in stanza.items() if name != "architectures"}
        for stanza in machine
        if "main" in stanza.get("components", "").split()
    ]
    usual = {codename} if any(named(stanza, {codename}) for stanza in archive) else OTHER_NAMES
    wanted: list[Stanza] = []
    for stanza in archive:
        if named(stanza, usual):
            wanted.append(stanza | {"suites": suite})
        if named(stanza, {f"{name}-security" for name in usual}) and suite != "sid":
            wanted.append(stanza | {"suites": f"{suite}-security"})
    return "\n".join(render(stanza | {"types": "deb", "components": "main"}) for stanza in wanted)


def named(stanza: Stanza, suites: set[str]) -> bool:
    """Whether a source has one of these suites."""
    return not suites.isdisjoint(stanza["suites"].split())


def render(stanza: Stanza) -> str:
    """Return a source as a paragraph."""
    return "".join(f"{name}: {value}\n" for name, value in stanza.items())
