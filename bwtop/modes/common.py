"""Shared by several modes: turn options into filters, stores, clients and measurements."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bwtop.capture import cache, preemption
from bwtop.capture.backends import Backend, in_order, suited
from bwtop.capture.loader import Limits
from bwtop.capture.session import DEFAULT_LIMITS, Loading
from bwtop.clickhouse import client
from bwtop.clickhouse.client import READ_SECONDS, Client
from bwtop.clickhouse.shipper import ShippingOptions
from bwtop.clickhouse.target import Target, password
from bwtop.history.dimensions import lacking
from bwtop.history.tiers import completed
from bwtop.identity import databases
from bwtop.identity.addresses import connected_networks
from bwtop.measure.sources import FOLLOW_SECONDS, Measurement, follow, follow_fleet, measure
from bwtop.model import geography, networks
from bwtop.model.conditions import FilterError
from bwtop.model.filter import Filter
from bwtop.model.filter_fields import made, toggled
from bwtop.model.geography import Geography
from bwtop.model.ledger import CLASSES
from bwtop.model.networks import Networks
from bwtop.options.config import Config
from bwtop.options.flags import Options
from bwtop.rights import account as accounts
from bwtop.rights.confine import confine
from bwtop.sqlite import location
from bwtop.sqlite.location import Place
from bwtop.sqlite.rollup import Policy
from bwtop.sqlite.writer import RecordingOptions
from bwtop.text.stderr import fail


def filter_of(options: Options) -> Filter:
    """Return the filter of all filter flags."""
    toggles = toggled(options.classes or CLASSES, options.loopback)
    return toggles & typed_of(options)


def typed_of(options: Options) -> Filter:
    """Return the filter of the flags that the full screen shows as a typed filter; exit if a name is unknown."""
    try:
        return made(
            {
                "pid": options.pid,
                "user": options.user,
                "process": options.process,
                "remote": options.remote,
                "net": options.net,
                "host": options.host,
            }
        )
    except FilterError as error:
        fail(str(error))


def use_networks(files: Config) -> None:
    """Set the networks of this process: the names of the configuration, and what this machine is connected to."""
    networks.use(Networks(networks.parse_named(files.networks), connected_networks))


def use_databases(options: Options) -> None:
    """Set the databases of this process; exit with one line if one is needed and not named, or cannot be used."""
    named = {"asn": options.asn_db, "country": options.country_db}
    try:
        records = [
            databases.load(path, f"--{name}-db", os.environ) if path else None
            for name, path in named.items()
        ]
    except databases.DatabaseError as error:
        fail(str(error))
    if any(named.values()):
        geography.use(Geography(*records))
    for dimension in options.by:
        if words := lacking(dimension):
            fail(f"--by {words}")


def history(options: Options) -> Place:
    """Return the location of the history; raises OSError."""
    return location.place(options.db, os.environ)


def recording(options: Options) -> RecordingOptions | None:
    """Return the options of the recorder; None: do not record."""
    if options.no_record or options.demo:
        return None
    retention = completed(options.retention or {})
    policy = Policy(retention, options.max_size, options.keep_remotes)
    who = f"bwtop --{mode}" if (mode := _lasting_mode(options)) else "bwtop"
    place = history(options)
    return RecordingOptions(
        place.path, policy, cmdlines=options.store_cmdlines, who=who, account=place.account
    )


def _lasting_mode(options: Options) -> str:
    """Return the name of a recording mode for the status that other processes read; else empty."""
    return "record" if options.record else "serve" if options.serve else ""


def password_of(options: Options) -> str:
    """Return the password for ClickHouse; raises target.PasswordError."""
    return password(options.password_file, os.environ)


def need_driver() -> None:
    """Exit with one line if the ClickHouse driver is missing."""
    if not client.load():
        fail(client.MISSING)


def client_of(options: Options, target: Target, **settings: Any) -> Client:
    """Return a client of the server of --ship or --from; it connects at its first request."""
    need_driver()
    return Client(target, password_of(options), **settings)


def reading(options: Options, origin: Target, patience: float = READ_SECONDS) -> Client:
    """Return a client of the server of --from and drop root, which --from does not need."""
    server = client_of(options, origin, patience=patience)
    confine(accounts.unprivileged(os.environ))
    return server


def shipping(options: Options) -> ShippingOptions | None:
    """Return the options of the shipper; None: do not ship, which is always so with --from."""
    if options.ship is None or options.origin:
        return None
    need_driver()
    return ShippingOptions(options.ship, password_of(options))


def load(options: Options) -> Loading:
    """Start to attach the first backend that this kernel accepts."""
    limits = Limits(options.max_flows, DEFAULT_LIMITS.processes, names=not options.no_names)
    return Loading(backends(options, preemption.mode()), limits, cache_folder(options))


def backends(options: Options, preemption_mode: str) -> Sequence[Backend]:
    """Return the backends to try, in order."""
    if options.backend:
        return (suited(options.backend, preemption_mode),)
    return in_order(preemption_mode)


def cache_folder(options: Options) -> Path | None:
    """Return the folder of compiled programs; None: compile them."""
    return None if options.no_cache else cache.default_folder()


def start_measuring(
    options: Options,
    loading: Loading | None,
    notify: Callable[[str], None],
    *,
    ship: ShippingOptions | None = None,
    keep_kill: bool = False,
) -> Measurement:
    """Start to measure, or follow: ClickHouse with --from, a recorder if `loading` is None (no rights to measure)."""
    if options.origin:
        server = reading(options, options.origin, FOLLOW_SECONDS)
        return follow_fleet(server, filter_of(options), names=not options.no_names)
    if loading is None:
        return follow(history(options).path, names=not options.no_names)
    return measure(
        loading,
        recording(options),
        notify,
        ship=ship,
        keep_kill=keep_kill,
        container_names=not options.no_container_names,
    )
