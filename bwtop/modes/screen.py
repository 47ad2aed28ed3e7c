"""The full screen: bwtop without a mode flag."""

import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bwtop.capture.session import Loading
from bwtop.clickhouse.shipper import ShippingOptions
from bwtop.history.process import QueryServer
from bwtop.measure.intervals import Status
from bwtop.measure.sources import Measurement
from bwtop.measure.stopping import finishing
from bwtop.model.ledger import CLASSES
from bwtop.modes import common
from bwtop.modes.past import MomentAnswers
from bwtop.options import config
from bwtop.options.config import Config
from bwtop.options.flags import Options
from bwtop.rights import account as accounts
from bwtop.rights.writing import WritingProcess, write_here
from bwtop.text.stderr import discard_output, fail, say
from bwtop.tui.settings import Settings
from bwtop.view.interval import Interval

if TYPE_CHECKING:
    from bwtop.tui.export import Exporter


def has_terminal() -> bool:
    """Return whether standard input and output are a terminal; a closed descriptor has no stream."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def settings_of(options: Options, files: Config) -> Settings:
    """Return flags and configuration as settings that the screen's keys can change."""
    return Settings(
        **files.settings(),
        classes=options.classes or frozenset(CLASSES),
        loopback=options.loopback,
        filter=common.typed_of(options).spell(),
        order=options.sort,
        bits=options.bits,
        interval=options.interval,
        theme=options.theme,
    )


def _history(options: Options, close: Callable[[], object]) -> QueryServer:
    """Fork the process that asks the history; it closes the loader's socket, which it inherits."""
    return MomentAnswers(options, close).server()


class Files:
    """The writer of the screen's files, through a process that has the rights of the user and is forked before others are dropped."""

    def __init__(self, options: Options, close: Callable[[], object]) -> None:
        """Take the options; `close` closes, in the other process, what it inherits."""
        self._origin = options.origin.url() if options.origin else ""
        self._bits = options.bits
        self._config = options.config or config.user_path(os.environ)
        account = accounts.unprivileged(os.environ)
        actions = {"write": write_here, "settings": self._save}
        self._process = WritingProcess(account, actions, self._writable, close)
        self.close = self._process.close

    def _writable(self) -> Iterator[Path]:
        """Yield the folders to write in; called in the other process, with the rights of the user."""
        with suppress(OSError):  # it has been deleted
            yield Path.cwd()
        folder = Path(os.path.realpath(self._config)).parent
        yield next(above for above in (folder, *folder.parents) if os.path.isdir(above))  # noqa: PTH112 - see confine

    def _save(self, arguments: dict[str, Any], _: bytes) -> None:
        from bwtop.options import saving

        saving.save(self._config, arguments)

    def save(self, values: Mapping[str, Any]) -> str:
        """Save settings in the configuration file; return its name. See bwtop.options.saving."""
        self._process.ask("settings", values)
        return str(self._config)

    def exporter(self) -> "Exporter":
        """Return what the screen writes with."""
        from bwtop.tui.export import Exporter

        return Exporter(self._write, partial(formatted, bits=self._bits, origin=self._origin))

    def _write(self, name: str, data: bytes, replace: bool) -> None:  # noqa: FBT001 - see Exporter
        self._process.ask("write", {"name": name, "replace": replace}, data)


def formatted(
    form: str, interval: Interval, backend: str, *, bits: bool = False, origin: str = ""
) -> str:
    """Return an interval as --batch writes it."""
    from bwtop.output.intervals import WRITERS, Layout

    out = io.StringIO()
    WRITERS[form](out, Layout(backend, bits, origin)).write(interval)
    return out.getvalue()


class Notices:
    """Messages of the recorder: not printed over the screen, which shows its status itself."""

    def __init__(self) -> None:
        self._is_withheld = False

    def __call__(self, text: str) -> None:
        """Print a message unless the screen is open."""
        if not self._is_withheld:
            say(text)

    @contextmanager
    def withheld(self) -> Iterator[None]:
        """Print no messages within the block."""
        self._is_withheld = True
        try:
            yield
        finally:
            self._is_withheld = False


def run_screen(
    options: Options,
    files: Config,
    loading: Loading | None,
    status: Callable[[], Status] | None = None,
    *,
    ship: ShippingOptions | None = None,
) -> None:
    """Run the full screen; `status` replaces the status of the recorder."""
    try:
        from bwtop.tui import keys
        from bwtop.tui.app import start
        from bwtop.tui.terminal import TerminalLostError
    except ImportError as error:
        if loading:
            loading.abandon()
        fail(f"urwid is missing ({error}): apt install python3-urwid, or use --batch")
    notices = Notices()
    keymap = files.keymap or keys.DEFAULT
    origin = options.origin.url() if options.origin else ""
    with ExitStack() as stack:
        close = loading.connection.close if loading else lambda: None
        files_of_user = Files(options, close)
        stack.callback(files_of_user.close)
        history = None if options.demo else _history(options, close)
        if history:
            stack.callback(history.close)

        def begin() -> Measurement:
            measurement = common.start_measuring(
                options, loading, notices, ship=ship, keep_kill=True
            )
            if not measurement.following:  # a follower may still be read by its thread
                stack.enter_context(finishing(measurement))
            return replace(measurement, status=status) if status else measurement

        try:
            with notices.withheld():
                start(
                    *(loading, begin, settings_of(options, files), keymap),
                    origin=origin,
                    history=history,
                    exporter=files_of_user.exporter(),
                    resolve=not options.no_resolve,
                    save_settings=None if options.no_config else files_of_user.save,
                )
        except TerminalLostError:
            discard_output()
    try:
        sys.stdout.flush()
    except OSError:  # the terminal was lost, detected at the flush
        discard_output()
