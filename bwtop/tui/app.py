"""Run the full screen: connect the loader, the reading thread, the terminal and its signals."""

import gc
import os
import queue
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Any, Final

import urwid

from bwtop.capture.session import Loading
from bwtop.history.process import QueryServer
from bwtop.identity.names import Names, PeerNames
from bwtop.measure.background import SampleQueue
from bwtop.measure.intervals import (
    STOP_SIGNALS,
    AbandonedError,
    StopSignals,
    ThreadClock,
    samples,
    with_trouble,
)
from bwtop.measure.sources import Measurement
from bwtop.tui.export import Exporter
from bwtop.tui.input import Input
from bwtop.tui.keymap import Keymap
from bwtop.tui.past import Looking
from bwtop.tui.paste import END_KEY, Event
from bwtop.tui.screen import Screen
from bwtop.tui.settings import Settings
from bwtop.tui.state import ScreenState
from bwtop.tui.terminal import Terminal, glyphs, open_terminal, started_with

CLOCK_PERIOD: Final = 1.1
"""Seconds after a redraw until the next one, unless an interval ends: the shortest usual one does before that."""

PATIENCE: Final = 0.05
"""Seconds to wait for an immediate refusal by the kernel before the screen opens."""

JOIN_SECONDS: Final = 5.0
"""Seconds to wait for the last reading, which waits for the kernel."""

_END: Final = (*STOP_SIGNALS, signal.SIGQUIT)
_JOBS: Final = (signal.SIGTSTP, signal.SIGCONT)


def start(
    loading: Loading | None,
    measure: Callable[[], Measurement],
    settings: Settings,
    keymap: Keymap,
    origin: str = "",
    history: QueryServer | None = None,
    exporter: Exporter | None = None,
    save_settings: Callable[[Mapping[str, Any]], str] | None = None,
    *,
    resolve: bool = True,
) -> None:
    """Open the full screen and return when it is closed.

    `measure` is called when loading is done. `origin` is the URL, without a password, that the rows of several
    hosts come from; it is shown. `history` answers questions for moments of the past, `exporter` writes files,
    `save_settings` the user's configuration. With `resolve`, name servers are asked.

    Raise CaptureError if nothing can be measured; if that is known at once, before the screen opens.

    """
    collect_young_only()
    environment = started_with()
    state = ScreenState(socket.gethostname(), keymap, settings, glyphs(environment), origin=origin)
    state.exporter, state.save_settings = exporter, save_settings
    terminal = open_terminal(settings.theme, environment)
    state.use_theme, state.use_mouse = terminal.use_theme, terminal.set_mouse_tracking
    app = App(state, loading, measure, terminal, history, resolve=resolve)
    if loading is None or select.select([loading.connection], [], [], PATIENCE)[0]:
        app.attach()
    app.run()


def collect_young_only() -> None:
    """Disable full garbage collections, which stop all threads for 0.1 s with 100,000 flows.

    Cyclic long-lived objects (processes and their flows) are taken apart where they are released.

    """
    gc.set_threshold(10_000, 10, 1_000_000_000)


class App:
    """One run of the full screen."""

    def __init__(
        self,
        state: ScreenState,
        loading: Loading | None,
        measure: Callable[[], Measurement],
        terminal: Terminal,
        history: QueryServer | None = None,
        *,
        resolve: bool = True,
    ) -> None:
        self._state = state
        self._looking = Looking(history, self._deliver, self._in_thread) if history else None
        state.history.look = self._looking.look if self._looking else None
        state.history.look_at_program = self._looking.look_at_program if self._looking else None
        state.in_background = self._make
        state.copy = terminal.copy
        self._loading = loading
        self._measure = measure
        self._resolves = resolve
        self._terminal = terminal
        self._screen = Screen(state, self._leave, self._repaint)
        self._input = Input(self._screen)
        self._loop = urwid.MainLoop(
            self._screen,
            screen=terminal,
            handle_mouse=state.settings.mouse,
            input_filter=lambda keys, _: self._take_input(keys),
        )
        self._wake = self._loop.watch_pipe(self._take_delivered)
        os.set_blocking(self._wake, False)  # the main thread may wait for the terminal
        self._measurement: Measurement | None = None
        self._waiting: list[threading.Thread] = []
        """Threads that start once the probes are attached."""
        self._reader: threading.Thread | None = None
        self._clock = ThreadClock()
        self._delivered: queue.SimpleQueue[Callable[[], None] | BaseException] = queue.SimpleQueue()
        self._samples = SampleQueue()
        self._drawn = 0.0

    def run(self) -> None:
        """Show the screen until the user quits.

        Raise CaptureError if nothing can be measured, and terminal.TerminalLostError if the terminal is gone: SIGHUP
        reports that too, but may be ignored; AbandonedError if it takes no output. The terminal is always restored.

        """
        self._take_signals()
        try:
            if self._loading:
                self._loading_watch = self._loop.watch_file(
                    self._loading.connection.fileno(), self._loaded
                )
            self._loop.set_alarm_in(0, self._begun)
            self._loop.run()
        except AbandonedError:
            self._terminal.stop()  # the loop may not have come to the end of that
            raise
        finally:
            self._end()

    def _end(self) -> None:
        signal.signal(signal.SIGQUIT, _note)  # only STOP_SIGNALS give up what is not stored
        self._clock.stop()
        if self._loading:
            self._loading.abandon()
        is_ours = self._measurement is not None and not self._measurement.following
        if self._reader and is_ours:  # do not wait for an interval of another recorder
            self._reader.join(JOIN_SECONDS)

    # Measurement.

    def _loaded(self) -> None:
        self._loop.remove_watch_file(self._loading_watch)
        self.attach()
        self._changed()

    def attach(self) -> None:
        """Take the result of the loader and start reading; raise CaptureError."""
        self._loading = None
        found = self._measurement = self._measure()
        names = Names() if self._resolves else None
        self._state.attached(
            found.backend,
            found.degradations,
            PeerNames(names, found.peers),
            with_trouble(found.status, names),
            found.passed_over,
            found.peers,
        )
        if self._looking:
            self._looking.start()
        self._reader = threading.Thread(
            target=self._read, args=[found], name="bwtop-reader", daemon=True
        )
        self._reader.start()
        for thread in self._waiting:
            thread.start()
        self._waiting.clear()

    def _in_thread(self, work: Callable[[], None], name: str) -> None:
        """Work in another thread; before the probes are attached that waits: dropping root reaches only its own thread."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        if self._measurement:
            thread.start()
        else:
            self._waiting.append(thread)

    def _read(self, measurement: Measurement) -> None:
        """Read samples in a thread of its own, so that keys do not wait for the kernel."""
        try:
            for sample in samples(measurement, self._interval, self._clock):
                if self._samples.add(sample):
                    self._deliver(self._advance)
        except BaseException as error:
            self._deliver(error)

    def _interval(self) -> float:
        return self._state.settings.interval

    def _advance(self) -> None:
        """Take the samples that wait."""
        while sample := self._samples.take():
            self._state.advance(sample)

    def _deliver(self, what: Callable[[], None] | BaseException) -> None:
        self._delivered.put(what)
        with suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._wake, b".")

    def _take_delivered(self, _: bytes) -> bool:
        """Run in the main thread what other threads delivered; raise their exceptions."""
        while not self._delivered.empty():
            delivered = self._delivered.get()
            if isinstance(delivered, BaseException):
                raise delivered
            delivered()
        wait = self._state.seconds_to_calm()
        if wait is not None:
            self._loop.set_alarm_in(wait, self._catch_up)
        self._changed()
        return True

    def _catch_up(self, *_: Any) -> None:
        self._state.catch_up()
        wait = self._state.seconds_to_calm()
        if wait is not None:
            self._loop.set_alarm_in(wait + 0.01, self._catch_up)
        self._changed()

    def _make(self, make: Callable[[], Any], take: Callable[[Any], None]) -> None:
        """Make something in another thread and take it; see state.Background."""

        def work() -> None:
            try:
                made = make()
                self._deliver(lambda: take(made))
            except BaseException as error:
                self._deliver(error)

        self._in_thread(work, "bwtop-rows")

    # The terminal.

    def _changed(self) -> None:
        self._drawn = time.monotonic()
        self._screen.changed()

    def _tick(self, *_: Any) -> None:
        """Redraw the clock if no interval has done so."""
        if time.monotonic() - self._drawn >= CLOCK_PERIOD:
            self._changed()
        if self._terminal.brackets.give_up():
            self._take_input([END_KEY])
        wait = self._drawn + CLOCK_PERIOD - time.monotonic()
        self._loop.set_alarm_in(max(wait, PATIENCE), self._tick)

    def _take_input(self, keys: list[Event]) -> list[Event]:
        """Handle the keys of one read; return those for urwid: a new size, and Ctrl-L where it is unbound."""
        size = self._loop.screen_size or self._terminal.get_cols_rows()
        return self._input.take(size, self._terminal.brackets.put_back(keys))

    def _begun(self, *_: Any) -> None:
        """Install the job signal handlers over those of urwid, which vary by release, and start the clock."""
        self._take_job_signals()
        self._tick()

    def _leave(self) -> None:
        raise urwid.ExitMainLoop

    def _repaint(self) -> None:
        self._terminal.clear()
        self._screen.changed()

    def _take_signals(self) -> None:
        """Write signals into a pipe, so that they are handled between two redraws, or end one that is stuck."""
        pipe, write = os.pipe()
        os.set_blocking(write, False)
        os.set_blocking(pipe, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        self._loop.watch_file(pipe, lambda: self._take_signal_bytes(os.read(pipe, 64)))
        # Reading goes on in a thread of its own, whose CPU time says nothing of the terminal.
        StopSignals(lambda: None, self._terminal.discard_output, _END, time.thread_time)

    def _take_job_signals(self) -> None:
        for number in _JOBS:
            signal.signal(number, _note)

    def _take_signal_bytes(self, numbers: bytes) -> None:
        if any(number in numbers for number in _END):
            raise urwid.ExitMainLoop
        if signal.SIGTSTP in numbers:
            self._suspend()
        elif signal.SIGCONT in numbers:  # after a SIGSTOP, which cannot be caught
            self._restart()

    def _suspend(self) -> None:
        """Restore the terminal, stop, and take the terminal again on SIGCONT."""
        self._terminal.stop()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.signal(signal.SIGCONT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        self._start_again()

    def _restart(self) -> None:
        self._terminal.stop()
        self._start_again()

    def _start_again(self) -> None:
        self._terminal.start()
        if self._state.settings.mouse:
            self._terminal.set_mouse_tracking()
        self._take_job_signals()
        self._loop.screen_size = None
        self._repaint()


def _note(_: int, __: FrameType | None) -> None:
    """Do nothing: the byte that Python writes to the pipe is enough."""
