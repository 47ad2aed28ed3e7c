"""Lines are written whole, whatever the reader does."""

import fcntl
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from bwtop.output.lines import LineOutput

LINES = [f"{number} {'x' * 997}\n" for number in range(1000)]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Yield the reading and the writing end of a small pipe."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    yield reader, writer
    for descriptor in (reader, writer):
        os.close(descriptor)


def slowly(reader: int, size: int) -> bytes:
    """Return so many bytes, taken in small pieces."""
    taken = b""
    while len(taken) < size:
        taken += os.read(reader, 3001)
    return taken


@pytest.mark.parametrize("blocking", [True, False])
def test_slow_reader_gets_every_line_whole(pipe: tuple[int, int], blocking: bool) -> None:
    reader, writer = pipe
    os.set_blocking(writer, blocking)
    out = LineOutput(writer)
    ended = threading.Event()

    def write() -> None:
        for line in LINES:
            out.write(line)
            out.flush()
        ended.set()

    threading.Thread(target=write, daemon=True).start()
    text = "".join(LINES)
    assert slowly(reader, len(text)).decode() == text
    assert ended.wait(60)


def test_signal_during_a_write_cuts_no_line(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    came: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: came.append(number))
    found: list[bytes] = []
    text = "".join(LINES)

    def read() -> None:
        for _ in range(3):
            time.sleep(0.05)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        found.append(slowly(reader, len(text)))

    thread = threading.Thread(target=read)
    thread.start()
    out = LineOutput(writer)
    out.write(text)
    out.flush()
    thread.join(60)
    signal.signal(signal.SIGUSR1, before)
    assert found == [text.encode()]
    assert came


def test_closed_pipe_is_an_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    out = LineOutput(writer)
    out.write("line\n")
    with pytest.raises(BrokenPipeError):
        out.flush()
    os.close(writer)


def test_text_that_cannot_be_encoded_is_escaped(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    out = LineOutput(writer, "ascii")
    out.write("é\udcff\n")
    out.flush()
    assert os.read(reader, 100) == b"\\xe9\\udcff\n"
