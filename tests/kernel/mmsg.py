"""sendmmsg(2) and recvmmsg(2), which Python does not offer."""

import ctypes
import os
import socket
import struct

_LIBC = ctypes.CDLL(None, use_errno=True)
_WAIT_FOR_ONE = 0x10000


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Header(ctypes.Structure):
    """struct msghdr."""

    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_Vector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = [("header", _Header), ("moved", ctypes.c_uint)]


def address_v4(host: str, port: int) -> bytes:
    """struct sockaddr_in."""
    return (
        struct.pack("=H", socket.AF_INET)
        + struct.pack(">H", port)
        + socket.inet_aton(host)
        + bytes(8)
    )


def send(sock: socket.socket, datagrams: list[tuple[bytes, bytes]]) -> int:
    """Send (payload, packed address) pairs in one call; return how many went."""
    messages, _keep = _messages(
        [(ctypes.create_string_buffer(data, len(data)), to) for data, to in datagrams]
    )
    return _check(_LIBC.sendmmsg(sock.fileno(), messages, len(messages), 0))


class Batch:
    """Datagrams that are made once and sent as often as one likes: (payload, packed address) pairs."""

    def __init__(self, datagrams: list[tuple[bytes, bytes]]) -> None:
        self._messages, self._keep = _messages(
            [(ctypes.create_string_buffer(data, len(data)), to) for data, to in datagrams]
        )

    def send(self, sock: socket.socket, first: int, end: int) -> None:
        """Send those from `first` on, up to `end`, in as few calls as the kernel takes."""
        while first < end:
            place = ctypes.byref(self._messages, first * ctypes.sizeof(_Message))
            first += _check(_LIBC.sendmmsg(sock.fileno(), place, end - first, 0))


def receive(sock: socket.socket, count: int, size: int) -> int:
    """Receive up to `count` datagrams in one call; return their bytes."""
    messages, _keep = _messages(
        [(ctypes.create_string_buffer(size), bytes(128)) for _ in range(count)]
    )
    received = _check(_LIBC.recvmmsg(sock.fileno(), messages, len(messages), _WAIT_FOR_ONE, None))
    return sum(messages[i].moved for i in range(received))


def _messages(
    items: list[tuple["ctypes.Array[ctypes.c_char]", bytes]],
) -> tuple["ctypes.Array[_Message]", list[object]]:
    keep: list[object] = []
    messages = (_Message * len(items))()
    for message, (buffer, address) in zip(messages, items, strict=True):
        vector = _Vector(ctypes.addressof(buffer), len(buffer))
        name = ctypes.create_string_buffer(address, len(address))
        message.header.name = ctypes.addressof(name)
        message.header.name_length = len(address)
        message.header.vectors = ctypes.pointer(vector)
        message.header.vector_count = 1
        keep += [buffer, vector, name]
    return messages, keep


def _check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
