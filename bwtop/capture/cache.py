"""Compiled programs that are kept from one start to the next: a start from them needs no compiler.

The cache has one file for each backend: the line of a checksum, then JSON.  It is used only if everything that went
into the programs is the same, and the kernel verifies the programs again at each start.  BTF ids are either resolved at
each start (of what programs attach to) or among the definitions that are compared (of casts).
"""

import base64
import contextlib
import errno
import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bwtop import __version__
from bwtop.capture import libbpf, linking
from bwtop.capture.libbpf import MapInfo
from bwtop.capture.sources import BPF_SOURCES
from bwtop.rights import landlock, private

ROOT_FOLDER: Final = Path("/var/cache/bwtop")

SERVICE_FOLDER: Final = Path("/var/cache/bwtop-service")
"""CacheDirectory= of share/bwtop.service; root believes nothing of what the service's user writes."""

_MOST: Final = 1 << 23
"""The size of the largest file that is read, in bytes; the largest known one has 1 MB."""

_NOTES: Final = Path("/sys/kernel/notes")
"""Holds the kernel's build id."""

_MAPS_OF_MAPS: Final = (12, 13)  # BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS

_SHAPE: Final = tuple(
    name
    for name, *_ in MapInfo._fields_
    if name not in {"id", "name", "ifindex", "netns_dev", "netns_ino", "btf_vmlinux_id"}
)
"""The members of MapInfo that describe a map, its id and place left out."""


class UnusableError(Exception):
    """The cached programs cannot be used; the text has the reason."""


def default_folder() -> Path:
    """Return the folder of the cache for the user that this process runs as."""
    return ROOT_FOLDER if os.geteuid() == 0 else SERVICE_FOLDER


@dataclass
class Built:
    """Maps, and programs that are ready to be loaded."""

    maps: dict[str, int]
    """Descriptors by name."""
    programs: dict[str, bytes]
    """Linked instructions by name, with the descriptors of the maps in them."""
    owner: Any = None
    """The object that closes the descriptors when it goes, if there is one."""

    def close(self) -> None:
        """Close the maps."""
        for descriptor in self.maps.values():
            os.close(descriptor)


def inputs(
    backend: str,
    limits: Sequence[int],
    refused: Iterable[str],
    cast: int,
    definitions: Sequence[str] | None,
) -> dict[str, Any]:
    """Return all that the programs depend on, by names for the user; raises UnusableError.

    refused: targets of probes.  cast: the BTF id of bpf_rdonly_cast().  definitions: the compiler's arguments; None where
    finding them out takes the compiler, on kernels without BTF.
    """
    try:
        build = hashlib.sha256(_NOTES.read_bytes()).hexdigest()
    except OSError as error:
        raise UnusableError(f"cannot identify the kernel: {_NOTES}: {error.strerror}") from None
    system = os.uname()
    return {
        "kernel": [system.release, system.version, system.machine, build],
        "bwtop": [__version__, _code()],
        "compiler": _compiler(),
        "backend": backend,
        "limits": [*limits],
        "refused probes": sorted(refused),
        "BTF ids": [cast],
        "definitions": _headers(system.release) if definitions is None else [*definitions],
    }


def _code() -> str:
    """Return a hash of the C code, and of the Python code that shapes it."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for folder, pattern in ((BPF_SOURCES, "**/*.[ch]"), (here, "*.py")):
        for path in sorted(folder.glob(pattern)):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(folder)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _compiler() -> str:
    """Return the version of BCC, which is not imported."""
    found = importlib.util.find_spec("bcc")
    if found is None or found.origin is None:
        return ""
    with contextlib.suppress(OSError):
        return Path(found.origin).with_name("version.py").read_text(errors="replace")
    return ""


def _headers(release: str) -> list[int]:
    """Return what tells one installation of the kernel's headers from another."""
    with contextlib.suppress(OSError):
        found = Path(f"/lib/modules/{release}/build/include/generated/autoconf.h").stat()
        return [found.st_size, found.st_mtime_ns]
    return []


@dataclass(frozen=True)
class Kept:
    """The content of the cache, made of the same inputs."""

    refused: frozenset[str]
    """Targets of probes that the kernel refused when these programs were attached."""
    _content: dict[str, Any] = field(repr=False)

    def build(self) -> Built:
        """Create the maps and put them into the programs; raises UnusableError if the kernel refuses."""
        made: dict[str, int] = {}
        try:
            with _loaded(self._content["types"]) as types:
                for name, described in _inner_first(self._content["maps"]):
                    made[name] = libbpf.map_create(
                        _shape(described),
                        btf_fd=types.get(described["btf_id"], 0),
                        inner_map_fd=made.get(described["inner"], 0),
                    )
            programs = {
                name: _resolved(program, made)
                for name, program in self._content["programs"].items()
            }
        except OSError as error:
            Built(made, {}).close()
            raise UnusableError(
                f"the kernel refuses a map of the cached programs: {error.strerror}"
            ) from None
        return Built(made, programs)


@dataclass(frozen=True)
class Entry:
    """The programs of one backend in the cache."""

    folder: Path
    backend: str
    inputs: Mapping[str, Any]

    def load(self) -> Kept:
        """Return the cached programs; raises UnusableError."""
        try:
            with self._opened() as folder:
                content = _parse(private.read(folder, self.backend, _MOST))
        except FileNotFoundError:
            raise UnusableError(f"no programs in {self.folder}") from None
        except OSError as error:
            raise UnusableError(self._text(error)) from None
        differing = [
            name for name, value in self.inputs.items() if content["inputs"].get(name) != value
        ]
        if differing:
            raise UnusableError(f"the programs in {self.folder} differ in {', '.join(differing)}")
        return Kept(frozenset(content["refused"]), content)

    def save(self, built: Built, refused: Iterable[str]) -> None:
        """Keep programs whose maps are in use; raises UnusableError if that is not possible."""
        try:
            content = {"inputs": self.inputs, "refused": sorted(refused), **_described(built)}
            with self._opened(create=True) as folder:
                private.replace(folder, self.backend, _text(content))
        except OSError as error:
            raise UnusableError(self._text(error)) from None

    @contextlib.contextmanager
    def _opened(self, *, create: bool = False) -> Iterator[int]:
        """Open the folder, which this process's user can write: root, or one whom Landlock keeps from it after the start."""
        if os.geteuid() != 0 and not landlock.abi():
            raise UnusableError("without root the cache needs Landlock (Linux 5.13)")
        with private.opened(self.folder, create=create) as folder:
            yield folder

    def _text(self, error: OSError) -> str:
        return f"{self.folder / (error.filename or '')}: {error.strerror or error}"


# The content of a file.


def _text(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content).encode()
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text


def _parse(data: bytes) -> dict[str, Any]:
    """Return the content of a file; raises UnusableError for a damaged or foreign one."""
    checksum, _, text = data.partition(b"\n")
    if checksum != hashlib.sha256(text).hexdigest().encode():
        raise UnusableError("the file is damaged")
    try:
        content: dict[str, Any] = json.loads(text)
        content["inputs"].keys()
    except (ValueError, TypeError, LookupError, AttributeError):
        raise UnusableError("the file is not bwtop's") from None
    return content


def _described(built: Built) -> dict[str, Any]:
    """Return programs, maps and their types as JSON has them; raises OSError."""
    infos = {name: libbpf.map_info(descriptor) for name, descriptor in built.maps.items()}
    ids = {info.id: name for name, info in infos.items()}
    names = {descriptor: name for name, descriptor in built.maps.items()}
    return {
        "types": _types({info.btf_id for info in infos.values() if info.btf_id}),
        "maps": {
            name: {
                **{member: getattr(info, member) for member in _SHAPE},
                "name": info.name.decode(),
                "inner": _inner(built.maps[name], info, ids),
            }
            for name, info in infos.items()
        },
        "programs": {name: _unresolved(program, names) for name, program in built.programs.items()},
    }


def _inner(descriptor: int, info: MapInfo, ids: Mapping[int, str]) -> str:
    """Return the name of a map that a map of maps holds, which is like all that it may hold; empty for other maps.

    User space reads the ids of the maps in it.
    """
    if info.type not in _MAPS_OF_MAPS:
        return ""
    key = libbpf.map_next_key(descriptor, None, info.key_size)
    held = key and libbpf.map_lookup(descriptor, key, info.value_size)
    name = ids.get(int.from_bytes(held or b"", sys.byteorder))
    if name is None:
        raise OSError(errno.ENOENT, f"nothing is in {info.name.decode()}")
    return name


def _types(wanted: set[int]) -> dict[str, str]:
    """Return type information by its id, encoded; the compiler has left it open in this process.

    To open it by id would take CAP_SYS_ADMIN.
    """
    found: dict[str, str] = {}
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()) == "anon_inode:btf":
                number, content = libbpf.btf_content(int(descriptor.name))
                found[str(number)] = _encoded(content)
    if missing := wanted - {*map(int, found)}:
        raise OSError(errno.ENOENT, f"the types of maps are not open: {missing}")
    return {number: content for number, content in found.items() if int(number) in wanted}


@contextlib.contextmanager
def _loaded(types: Mapping[str, str]) -> Iterator[Mapping[int, int]]:
    """Load type information, and keep the descriptors open for the body; return them by id."""
    with contextlib.ExitStack() as stack:
        loaded: dict[int, int] = {}
        for number, content in types.items():
            descriptor = libbpf.btf_load(_decoded(content))
            stack.callback(os.close, descriptor)
            loaded[int(number)] = descriptor
        yield loaded


def _inner_first(maps: Mapping[str, dict[str, Any]]) -> Iterable[tuple[str, dict[str, Any]]]:
    return sorted(maps.items(), key=lambda item: bool(item[1]["inner"]))


def _shape(described: Mapping[str, Any]) -> MapInfo:
    members = {member: described[member] for member in _SHAPE}
    return MapInfo(name=described["name"].encode(), **members)


def _unresolved(program: bytes, names: Mapping[int, str]) -> dict[str, Any]:
    """Return a program as JSON has it, its maps by name."""
    loads = [(place, names.get(fd, "")) for place, fd in linking.map_loads(program)]
    if not all(name for _, name in loads):
        raise OSError(errno.ENOENT, "a program has a map without a name")
    return {"code": _encoded(program), "maps": loads}


def _resolved(program: Mapping[str, Any], maps: Mapping[str, int]) -> bytes:
    loads = ((place, maps[name]) for place, name in program["maps"])
    return linking.with_maps(_decoded(program["code"]), loads)


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text)
