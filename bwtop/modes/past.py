"""Query the history for a view, in a separate process with the rights of the history's owner, or of nobody."""

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from bwtop.clickhouse.client import READ_SECONDS, Client
from bwtop.clickhouse.target import Target
from bwtop.history import moments, programs
from bwtop.history.process import LIMITS, Answer, QueryServer
from bwtop.history.programs import ProgramQuery
from bwtop.modes import common
from bwtop.options.flags import Options
from bwtop.rights import account as accounts
from bwtop.rights.confine import confine
from bwtop.sqlite.location import Place

if TYPE_CHECKING:
    from bwtop.web.history import HistoryAccess


def access_of(
    options: Options, place: Place, secret: str
) -> "tuple[HistoryAccess, Callable[[], object]]":
    """Return the history, and what prepares a process to ask it: it drops the rights that this takes no longer."""
    from bwtop.web.history import FleetHistory, LocalHistory

    unprivileged, names = accounts.unprivileged(os.environ), not options.no_names
    if options.origin:
        connect = partial(_connect, options.origin, secret)
        common.need_driver()
        fleet = FleetHistory(options.origin.url(), connect, names=names)
        return fleet, partial(confine, unprivileged)
    local = LocalHistory(place.path, names=names)
    if place.account or os.geteuid() != 0:
        return local, partial(confine, place.account or unprivileged, place.path)

    def prepare() -> None:
        """Open the history, which only root can reach, before dropping root."""
        local.keep()
        confine(unprivileged)

    return local, prepare


def _connect(origin: Target, secret: str) -> Client:
    return Client(origin, secret, patience=READ_SECONDS, longest=LIMITS.seconds)


class MomentAnswers:
    """Answers to the questions of the full screen, in a process that is forked before anything is open."""

    def __init__(self, options: Options, close: Callable[[], object]) -> None:
        """Take the options; `close` closes, in the other process, what it inherits."""
        self._options = options
        self._place = common.history(options)
        self._secret = common.password_of(options) if options.origin else ""
        self._close = close
        self._access: HistoryAccess | None = None

    def server(self) -> QueryServer:
        """Fork the server of the processes; see QueryServer."""
        return QueryServer(self._answer, self._prepare, warm_up=self._close)

    def _prepare(self) -> None:
        """Import what answers need once, for all processes, and drop the rights."""
        self._access, prepare = access_of(self._options, self._place, self._secret)
        prepare()

    def _answer(self, question: str) -> Answer:
        from bwtop.web.answer import HttpError

        assert self._access, "the server was prepared"
        try:
            with self._access.history() as history:
                program = ProgramQuery.parsed(question)
                if program:
                    return programs.answer(history.store, program)
                names = not self._options.no_names
                return moments.answer(history.store, question, names=names)
        except HttpError as refused:
            return {"why": refused.why}, b""
