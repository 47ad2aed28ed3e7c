"""Test queries in processes of their own: their answers, their limits, and their end."""

import errno
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from bwtop.history.process import Answer, BusyError, QueryError, QueryLimits, QueryServer
from bwtop.rights.privileges import PrivilegeError
from tests.processes import descriptors_of, is_alive, until

MOST: Final = 32 << 20
"""Bytes of memory of queries."""

LONG: Final = 120.0
"""Seconds that no query of the tests takes."""


def answer(question: str) -> Answer:
    """Answer as the first word of a question wants."""
    kind, _, rest = question.partition(" ")
    return _ANSWERS[kind](rest)


def take(mebibytes: str) -> Answer:
    return {}, bytes(int(mebibytes) << 20)


def wait(path: str) -> Answer:
    """Write the process id into a file, and wait."""
    Path(path).write_text(str(os.getpid()))
    time.sleep(LONG)
    return {}, b""


def compute(path: str) -> Answer:
    """Write the process id into a file, and compute for ever in C, without a look at signals or other threads."""
    Path(path).write_text(str(os.getpid()))
    re.fullmatch(r"(a+)+b", "a" * 60)
    return {}, b""


def die(_: str) -> Answer:
    """End as the kernel ends a process when the machine has no memory left."""
    os.kill(os.getpid(), signal.SIGKILL)
    return {}, b""


_ANSWERS: Final[dict[str, Callable[[str], Answer]]] = {
    "who": lambda rest: ({"pid": os.getpid(), "nice": os.nice(0), "rest": rest}, b"body"),
    "take": take,
    "wait": wait,
    "compute": compute,
    "fail": lambda rest: ({}, bytes(1 // int(rest))),
    "die": die,
}


@contextmanager
def serving(limits: QueryLimits) -> Iterator[QueryServer]:
    made = QueryServer(answer, limits=limits)
    made.start()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def server() -> Iterator[QueryServer]:
    with serving(QueryLimits(memory=MOST)) as made:
        yield made


def ask(server: QueryServer, question: str, **options: Any) -> dict[str, Any]:
    """Return the head of an answer."""
    head, body = server.ask(question, **options)
    body.close()
    return head


def begun(path: Path) -> int:
    """Return the process id that a query has written."""
    until(lambda: path.exists() and path.read_text())
    return int(path.read_text())


# Answers.


def test_system_without_room_for_a_process_is_named() -> None:
    """It was reported as too little memory for the question."""

    def no_room() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    server = QueryServer(answer, warm_up=lambda: setattr(os, "fork", no_room))
    server.start()
    with pytest.raises(
        QueryError, match=r"could not be started .Resource temporarily unavailable.; try"
    ):
        server.ask("who")
    server.close()


def test_answer_comes_from_a_process_that_then_ends(server: QueryServer) -> None:
    pids = set()
    for _ in range(5):
        head, body = server.ask("who is it")
        with body:
            assert body.read() == b"body"
        assert head["rest"] == "is it"
        assert head["nice"] > os.nice(0)
        pids.add(head["pid"])
    assert os.getpid() not in pids
    until(lambda: not any(map(is_alive, pids)))


def test_answer_may_be_large(server: QueryServer) -> None:
    _, body = server.ask("take 8")
    with body:
        assert os.fstat(body.fileno()).st_size == 8 << 20
        assert body.read() == bytes(8 << 20)


def test_answers_take_no_descriptors(server: QueryServer) -> None:
    kinds = "socket:|pipe:|/memfd:"
    ask(server, "who")
    before = descriptors_of(kinds)
    assert before
    for question in ("who", "take 1000", "who"):
        for _ in range(10):
            try:
                ask(server, question)
            except QueryError:
                assert question == "take 1000"
    assert descriptors_of(kinds) == before


def test_unexpected_error_is_not_the_query_s(server: QueryServer) -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        ask(server, "fail 0")
    assert ask(server, "who")["pid"]


# QueryLimits.


@pytest.mark.parametrize("question", ["take 1000", "die"])
def test_query_without_memory_ends_with_advice(server: QueryServer, question: str) -> None:
    for _ in range(3):
        with pytest.raises(QueryError, match="stopped at 32 MiB of memory; choose a shorter range"):
            ask(server, question)
    assert ask(server, "who")["pid"]


@pytest.mark.parametrize("question", ["wait", "compute"])
def test_query_is_killed_when_its_time_is_over(question: str, tmp_path: Path) -> None:
    with serving(QueryLimits(seconds=5.0)) as server:
        with pytest.raises(QueryError, match="stopped after 5 seconds; choose a shorter"):
            ask(server, f"{question} {tmp_path / 'pid'}")
        pid = begun(tmp_path / "pid")
        until(lambda: not is_alive(pid))
        assert ask(server, "who")["pid"]


@pytest.mark.parametrize("question", ["wait", "compute"])
def test_query_is_killed_when_its_client_has_left(
    server: QueryServer, question: str, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(1) as pool:
        is_gone = threading.Event()
        asking = pool.submit(ask, server, f"{question} {tmp_path / 'pid'}", is_gone=is_gone.is_set)
        pid = begun(tmp_path / "pid")
        assert is_alive(pid)
        is_gone.set()
        with pytest.raises(QueryError, match="the client has left"):
            asking.result(LONG / 2)
        until(lambda: not is_alive(pid))


def test_further_queries_wait_for_their_turn(tmp_path: Path) -> None:
    with serving(QueryLimits(at_once=1, patience=0.5)) as server, ThreadPoolExecutor(2) as pool:
        is_gone = threading.Event()
        first = pool.submit(ask, server, f"wait {tmp_path / 'pid'}", is_gone=is_gone.is_set)
        begun(tmp_path / "pid")
        with pytest.raises(BusyError, match="too many queries at once; try again"):
            ask(server, "who")
        with pytest.raises(BusyError):
            ask(server, "who", patience=0)
        with pytest.raises(QueryError, match="the client has left"):
            ask(server, "who", is_gone=lambda: True)
        waiting = pool.submit(ask, server, "who", patience=LONG)
        is_gone.set()
        assert waiting.result(LONG / 2)["pid"]
        assert isinstance(first.exception(LONG / 2), QueryError)


def test_many_clients_all_get_answers() -> None:
    with serving(QueryLimits()) as server, ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(ask, server, f"who {n}") for n in range(64)]
        assert {future.result(LONG)["rest"] for future in asked} == set(map(str, range(64)))


# The server.


def test_server_that_cannot_drop_its_rights_is_an_error() -> None:
    def prepare() -> None:
        raise PrivilegeError("something is left")

    server = QueryServer(answer, prepare)
    with pytest.raises(PrivilegeError, match="something is left"):
        server.start()
    server.close()


def test_lost_server_is_said(server: QueryServer) -> None:
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: not is_alive(server.pid))
    with pytest.raises(QueryError, match="restart bwtop"):
        ask(server, "who")


def test_stopped_server_holds_up_no_end() -> None:
    server = QueryServer(answer)
    server.start()
    os.kill(server.pid, signal.SIGSTOP)
    closing = threading.Thread(target=server.close, daemon=True)
    closing.start()
    until(lambda: not closing.is_alive())
    until(lambda: not is_alive(server.pid))


def test_ctrl_z_stops_no_server(server: QueryServer) -> None:
    """It goes to all processes of a terminal, and a SIGCONT may be for bwtop alone."""
    os.kill(server.pid, signal.SIGTSTP)
    assert ask(server, "who", patience=0)["pid"]


def test_processes_end_with_the_one_that_asks(tmp_path: Path) -> None:
    """A kill of bwtop leaves neither server nor query."""
    child = os.fork()
    if child == 0:
        try:
            with serving(QueryLimits()) as server:
                (tmp_path / "server").write_text(str(server.pid))
                ask(server, f"compute {tmp_path / 'query'}")
        finally:
            os._exit(1)
    pids = [begun(tmp_path / "query"), begun(tmp_path / "server")]
    assert all(map(is_alive, pids))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    until(lambda: not any(map(is_alive, pids)))
