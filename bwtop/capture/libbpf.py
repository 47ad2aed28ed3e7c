"""The calls of libbpf.so.1 that bwtop needs, through ctypes.

BCC brings in LLVM, more than 100 MB; libbpf is 400 kB, so the main process uses that to read maps.  Names and
structures are those of libbpf 1.x (bpf/bpf.h, bpf/btf.h) and of uapi/linux/bpf.h.  Every call raises OSError with the
kernel's error number.
"""

import contextlib
import ctypes
import errno
import functools
import os
import re
from typing import Final, TypeVar

PROG_TYPE_KPROBE: Final = 2
PROG_TYPE_RAW_TRACEPOINT: Final = 17
PROG_TYPE_CGROUP_SOCK_ADDR: Final = 18
PROG_TYPE_TRACING: Final = 26
ATTACH_INET4_CONNECT: Final = 10
ATTACH_INET6_CONNECT: Final = 11
ATTACH_UDP4_SENDMSG: Final = 14
ATTACH_UDP6_SENDMSG: Final = 15
ATTACH_UDP4_RECVMSG: Final = 19
ATTACH_UDP6_RECVMSG: Final = 20
ATTACH_TRACE_RAW_TP: Final = 23
ATTACH_TRACE_FENTRY: Final = 24
ATTACH_TRACE_FEXIT: Final = 25
ATTACH_TRACE_ITER: Final = 28
MAP_NO_PREALLOC: Final = 1
MAP_MMAPABLE: Final = 1 << 10
MAP_TYPE_ARRAY: Final = 2

_VERIFIER_LOG_SIZE: Final = 1 << 20


class _ProgLoadOpts(ctypes.Structure):
    """struct bpf_prog_load_opts."""

    _fields_ = [
        ("sz", ctypes.c_size_t),
        ("attempts", ctypes.c_int),
        ("expected_attach_type", ctypes.c_uint32),
        ("prog_btf_fd", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_ifindex", ctypes.c_uint32),
        ("kern_version", ctypes.c_uint32),
        ("attach_btf_id", ctypes.c_uint32),
        ("attach_prog_fd", ctypes.c_uint32),
        ("attach_btf_obj_fd", ctypes.c_uint32),
        ("fd_array", ctypes.c_void_p),
        ("func_info", ctypes.c_void_p),
        ("func_info_cnt", ctypes.c_uint32),
        ("func_info_rec_size", ctypes.c_uint32),
        ("line_info", ctypes.c_void_p),
        ("line_info_cnt", ctypes.c_uint32),
        ("line_info_rec_size", ctypes.c_uint32),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_char_p),
    ]


class ProgInfo(ctypes.Structure):
    """struct bpf_prog_info up to recursion_misses (kernel 5.12); the kernel fills what it has of it."""

    _fields_ = [
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("tag", ctypes.c_uint8 * 8),
        ("jited_prog_len", ctypes.c_uint32),
        ("xlated_prog_len", ctypes.c_uint32),
        ("jited_prog_insns", ctypes.c_uint64),
        ("xlated_prog_insns", ctypes.c_uint64),
        ("load_time", ctypes.c_uint64),
        ("created_by_uid", ctypes.c_uint32),
        ("nr_map_ids", ctypes.c_uint32),
        ("map_ids", ctypes.c_uint64),
        ("name", ctypes.c_char * 16),
        ("ifindex", ctypes.c_uint32),
        ("gpl_compatible", ctypes.c_uint32, 1),
        ("netns_dev", ctypes.c_uint64),
        ("netns_ino", ctypes.c_uint64),
        ("nr_jited_ksyms", ctypes.c_uint32),
        ("nr_jited_func_lens", ctypes.c_uint32),
        ("jited_ksyms", ctypes.c_uint64),
        ("jited_func_lens", ctypes.c_uint64),
        ("btf_id", ctypes.c_uint32),
        ("func_info_rec_size", ctypes.c_uint32),
        ("func_info", ctypes.c_uint64),
        ("nr_func_info", ctypes.c_uint32),
        ("nr_line_info", ctypes.c_uint32),
        ("line_info", ctypes.c_uint64),
        ("jited_line_info", ctypes.c_uint64),
        ("nr_jited_line_info", ctypes.c_uint32),
        ("line_info_rec_size", ctypes.c_uint32),
        ("jited_line_info_rec_size", ctypes.c_uint32),
        ("nr_prog_tags", ctypes.c_uint32),
        ("prog_tags", ctypes.c_uint64),
        ("run_time_ns", ctypes.c_uint64),
        ("run_cnt", ctypes.c_uint64),
        ("recursion_misses", ctypes.c_uint64),
    ]


class MapInfo(ctypes.Structure):
    """struct bpf_map_info up to map_extra (kernel 5.16); the kernel fills what it has of it."""

    _fields_ = [
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("name", ctypes.c_char * 16),
        ("ifindex", ctypes.c_uint32),
        ("btf_vmlinux_value_type_id", ctypes.c_uint32),
        ("netns_dev", ctypes.c_uint64),
        ("netns_ino", ctypes.c_uint64),
        ("btf_id", ctypes.c_uint32),
        ("btf_key_type_id", ctypes.c_uint32),
        ("btf_value_type_id", ctypes.c_uint32),
        ("btf_vmlinux_id", ctypes.c_uint32),
        ("map_extra", ctypes.c_uint64),
    ]


class _MapCreateOpts(ctypes.Structure):
    """struct bpf_map_create_opts."""

    _fields_ = [
        ("sz", ctypes.c_size_t),
        ("btf_fd", ctypes.c_uint32),
        ("btf_key_type_id", ctypes.c_uint32),
        ("btf_value_type_id", ctypes.c_uint32),
        ("btf_vmlinux_value_type_id", ctypes.c_uint32),
        ("inner_map_fd", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("map_extra", ctypes.c_uint64),
        ("numa_node", ctypes.c_uint32),
        ("map_ifindex", ctypes.c_uint32),
    ]


class _BtfInfo(ctypes.Structure):
    """struct bpf_btf_info up to its id (kernel 4.18)."""

    _fields_ = [
        ("btf", ctypes.c_uint64),
        ("btf_size", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
    ]


_Info = TypeVar("_Info", ProgInfo, MapInfo, _BtfInfo)


class RefusedError(Exception):
    """The kernel refused a program or its attachment; the text is the kernel's own reason."""


@functools.cache
def library() -> ctypes.CDLL:
    """Return libbpf.so.1, its own messages switched off: they would appear on the screen."""
    lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
    lib.libbpf_set_print(None)
    lib.btf__load_vmlinux_btf.restype = ctypes.c_void_p
    lib.btf__type_by_id.restype = ctypes.c_void_p
    lib.btf__type_by_id.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    lib.btf__name_by_offset.restype = ctypes.c_char_p
    lib.btf__name_by_offset.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    lib.btf__find_by_name_kind.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32]
    lib.bpf_prog_load.argtypes = [
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.POINTER(_ProgLoadOpts),
    ]
    lib.bpf_btf_load.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p]
    return lib


ENOTSUPP: Final = 524
"""An error of the kernel's own (linux/errno.h), which C libraries do not know."""


def error_text(number: int) -> str:
    """Return the name and the text of an error number."""
    if number == ENOTSUPP:
        return "ENOTSUPP (this kernel does not support it on this machine)"
    return f"{errno.errorcode.get(number, number)} ({os.strerror(number)})"


def check(result: int) -> int:
    """Return the result; raises OSError for a negative error number, as libbpf 1.x returns."""
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def _reason(error: int, log: bytes) -> str:
    """Return the error's text, with the last line of the verifier's log if there is one."""
    lines = [
        line
        for line in log.decode(errors="replace").splitlines()
        if line.strip() and not line.startswith("processed ")
    ]
    text = error_text(error)
    return f"{text}: {lines[-1].strip()}" if lines else text


@functools.cache
def _memory() -> ctypes.Array[ctypes.c_char]:
    """Return the room for the verifier's log; making a megabyte for each program takes longer than most programs."""
    return ctypes.create_string_buffer(_VERIFIER_LOG_SIZE)


def _log() -> ctypes.Array[ctypes.c_char]:
    """Return the room, with an empty text in it: the kernel writes none when it refuses a program unread."""
    log = _memory()
    log[0] = b"\0"
    return log


def _version() -> int:
    """Return LINUX_VERSION_CODE, which kernels before 5.0 demand of programs for kprobes.

    Debian's release names no patch level, but its version does: "#1 SMP Debian 4.19.304-1 (2024-01-09)".
    """
    system = os.uname()
    found = re.search(r"Debian (\d+)\.(\d+)\.(\d+)", system.version) or re.match(
        r"(\d+)\.(\d+)\.?(\d*)", system.release
    )
    assert found, system.release
    major, minor, patch = (int(number or 0) for number in found.groups())
    return (major << 16) + (minor << 8) + min(patch, 255)


def prog_load(
    prog_type: int, attach_type: int, name: str, instructions: bytes, attach_btf_id: int = 0
) -> int:
    """Load a program and return its descriptor; raises RefusedError."""
    log = _log()
    opts = _ProgLoadOpts(
        sz=ctypes.sizeof(_ProgLoadOpts),
        expected_attach_type=attach_type,
        kern_version=_version() if prog_type == PROG_TYPE_KPROBE else 0,
        attach_btf_id=attach_btf_id,
        log_size=_VERIFIER_LOG_SIZE,
        log_buf=ctypes.cast(log, ctypes.c_char_p),
    )
    count = len(instructions) // 8
    fd = int(
        library().bpf_prog_load(
            prog_type, name.encode(), b"Dual MIT/GPL", instructions, count, ctypes.byref(opts)
        )
    )
    if fd < 0:
        raise RefusedError(_reason(-fd, log.value))
    return fd


def raw_tracepoint_open(prog_fd: int, name: str | None = None) -> int:
    """Attach a program that was loaded for its target, or an untyped one to the tracepoint of that name.

    The link lasts as long as the returned descriptor.
    """
    return check(library().bpf_raw_tracepoint_open(name and name.encode(), prog_fd))


def cgroup_link_create(prog_fd: int, cgroup_fd: int, attach_type: int) -> int:
    """Attach a program to a cgroup and return the link, which ends with its descriptor (5.7+)."""
    return check(library().bpf_link_create(prog_fd, cgroup_fd, attach_type, None))


def run_iterator(prog_fd: int) -> None:
    """Run an iterator program once, over everything; nothing stays attached (kernel 5.8+)."""
    link = check(library().bpf_link_create(prog_fd, 0, ATTACH_TRACE_ITER, None))
    try:
        iterator = check(library().bpf_iter_create(link))
        try:
            read_out(iterator)
        finally:
            os.close(iterator)
    finally:
        os.close(link)


def read_out(iterator: int) -> None:
    """Read an iterator to its end, and discard what it prints.

    Where its program prints nothing, EAGAIN comes after each million objects (bpf_seq_read() in kernel/bpf/bpf_iter.c).
    """
    while True:
        with contextlib.suppress(BlockingIOError):
            if not os.read(iterator, 4096):
                return


def prog_info(prog_fd: int) -> ProgInfo:
    """Return the kernel's information about a program."""
    return _describe(prog_fd, ProgInfo())


def map_info(map_fd: int) -> MapInfo:
    """Return the kernel's information about a map."""
    return _describe(map_fd, MapInfo())


def btf_content(btf_fd: int) -> tuple[int, bytes]:
    """Return the id and the content of type information that was loaded with btf_load()."""
    size = _describe(btf_fd, _BtfInfo()).btf_size
    content = ctypes.create_string_buffer(size)
    info = _describe(btf_fd, _BtfInfo(ctypes.addressof(content), size))
    return info.id, content.raw


def _describe(fd: int, info: _Info) -> _Info:
    """Have the kernel fill in its information about a descriptor."""
    size = ctypes.c_uint32(ctypes.sizeof(info))
    check(library().bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(size)))
    return info


def btf_load(content: bytes) -> int:
    """Load type information and return its descriptor."""
    return check(library().bpf_btf_load(content, len(content), None))


def map_create(shape: MapInfo, *, btf_fd: int = 0, inner_map_fd: int = 0) -> int:
    """Create an empty map that is like the one described, and return its descriptor.

    btf_fd: the type information that `shape` refers to.  inner_map_fd: a map like those that a map of maps holds.
    """
    opts = _MapCreateOpts(
        sz=ctypes.sizeof(_MapCreateOpts),
        btf_fd=btf_fd,
        btf_key_type_id=shape.btf_key_type_id,
        btf_value_type_id=shape.btf_value_type_id,
        inner_map_fd=inner_map_fd,
        map_flags=shape.map_flags,
        map_extra=shape.map_extra,
    )
    return check(
        library().bpf_map_create(
            shape.type,
            shape.name,
            shape.key_size,
            shape.value_size,
            shape.max_entries,
            ctypes.byref(opts),
        )
    )


def map_update(fd: int, key: bytes, value: bytes) -> None:
    """Insert or replace one entry.

    On a map of maps (the value is the inner map's descriptor) the kernel returns only when every program that could
    still see the old inner map has finished: maybe_wait_bpf_programs() in kernel/bpf/syscall.c.
    """
    check(library().bpf_map_update_elem(fd, key, value, ctypes.c_uint64(0)))


def map_lookup(fd: int, key: bytes, value_size: int) -> bytes | None:
    """Return the value of an entry, or None if there is none."""
    value = ctypes.create_string_buffer(value_size)
    result = library().bpf_map_lookup_elem(fd, key, value)
    if result == -errno.ENOENT:
        return None
    check(result)
    return value.raw


def map_next_key(fd: int, key: bytes | None, key_size: int) -> bytes | None:
    """Return the key that follows another one, or the first; None if there is none."""
    following = ctypes.create_string_buffer(key_size)
    result = library().bpf_map_get_next_key(fd, key, following)
    if result == -errno.ENOENT:
        return None
    check(result)
    return following.raw


def map_delete(fd: int, key: bytes) -> None:
    """Delete one entry, if there is one."""
    result = library().bpf_map_delete_elem(fd, key)
    if result != -errno.ENOENT:
        check(result)


def push(fd: int, value: bytes) -> None:
    """Put a value on top of a stack."""
    check(library().bpf_map_update_elem(fd, None, value, ctypes.c_uint64(0)))
