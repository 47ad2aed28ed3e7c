"""Both ends of loopback traffic as one row: clients and servers, each byte once."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from bwtop.model.flows import Role, is_loopback, is_v4, protocol_name
from bwtop.model.ledger import CATEGORIES, Flow, Process
from bwtop.model.rates import Counted, rate
from bwtop.view.grouping import common
from bwtop.view.naming import bracketed_name
from bwtop.view.rows import Branch, RowId

Flows = Callable[[Branch], Iterable[Flow]]
"""Return the shown flows of a process."""

Count = Callable[[Iterable[Flow]], Counted]


class Served(NamedTuple):
    """The common key of clients and servers on loopback; addresses may differ, as all of 127.0.0.0/8 is loopback."""

    protocol: int
    port: int
    is_v4: bool
    where: tuple[str | None, str | None]
    """Host, and pod or container: each has a loopback of its own."""


def joined(
    branches: Sequence[Branch],
    flows_of: Flows,
    count: Count,
    seconds: float,
    within: str | None = None,
) -> list[Branch]:
    """Return process rows without the loopback traffic that both ends are known of, and rows for that.

    `within` is the group of the processes; None: they are not grouped.
    """
    ends: dict[Served, list[Flow]] = {}
    owners: dict[Process, Branch] = {}
    for branch in filter(_has_loopback, branches):
        for flow in flows_of(branch):
            if is_loopback(flow.remote.address) and flow.remote.port:
                ends.setdefault(_service(flow), []).append(flow)
                owners[flow.process] = branch
    both = {of: flows for of, flows in ends.items() if len({f.remote.role for f in flows}) > 1}
    taken = {flow for flows in both.values() for flow in flows}
    rest = (_without(branch, taken, flows_of, count, seconds) for branch in branches)
    rows = [_row(pair, owners, count, within) for pair in _by_processes(both)]
    return [*filter(None, rest), *rows]


def _by_processes(both: dict[Served, list[Flow]]) -> list[dict[Served, list[Flow]]]:
    """Return the services together that have the same processes at both ends, by their ports."""
    found: dict[frozenset[tuple[Process, int]], dict[Served, list[Flow]]] = {}
    for of in sorted(both, key=lambda of: (of.protocol, of.port)):
        ends = frozenset((flow.process, flow.remote.role) for flow in both[of])
        found.setdefault(ends, {})[of] = both[of]
    return list(found.values())


def _has_loopback(branch: Branch) -> bool:
    return branch.process is not None and any(CATEGORIES[of][1] for of in branch.process.sums)


def _service(flow: Flow) -> Served:
    identity, remote = flow.process.identity, flow.remote
    where = identity.host and identity.host.id, identity.pod or identity.container
    return Served(remote.protocol, remote.port, is_v4(remote.address), where)


def _without(
    branch: Branch, taken: set[Flow], flows_of: Flows, count: Count, seconds: float
) -> Branch | None:
    """Return a row without some flows; None if no traffic is left. Its totals keep those of forgotten flows."""
    if not taken or not _has_loopback(branch):
        return branch
    flows = list(flows_of(branch))
    left = [flow for flow in flows if flow not in taken]
    if len(left) == len(flows):
        return branch
    of, less = branch.counted, count(flow for flow in flows if flow in taken)
    rx, tx = of.rx - less.rx, of.tx - less.tx
    totals = of.rx_total - less.rx_total, of.tx_total - less.tx_total
    counted = Counted(rx, tx, rate(rx, seconds), rate(tx, seconds), *totals)
    return branch._replace(flows=left, counted=counted) if left and any(counted) else None


def _row(
    services: dict[Served, list[Flow]],
    owners: dict[Process, Branch],
    count: Count,
    within: str | None,
) -> Branch:
    """Return the row of some services of the same processes, with the numbers of the clients."""
    of, flows = next(iter(services)), [flow for flows in services.values() for flow in flows]
    processes = list(dict.fromkeys(flow.process for flow in flows))
    clients = [flow for flow in flows if flow.remote.role == Role.CLIENT]
    servers = [flow for flow in flows if flow.remote.role != Role.CLIENT]
    more = f" +{len(services) - 1}" if len(services) > 1 else ""
    port = f":{of.port} {protocol_name(of.protocol)}{more}"
    label = f"{_names(clients)} to {_names(servers)} {port}"
    rows = [owners[process] for process in processes]
    family = "v4" if of.is_v4 else "v6"
    return Branch(
        id=RowId(f"loopback {of.protocol} {of.port} {family} {of.where}", within=within),
        counted=count(clients),
        identity=common(label, [process.identity for process in processes]),
        size=sum(row.size for row in rows),
        living=sum(row.living for row in rows),
        flows=flows,
        exited=all(row.exited for row in rows),
        joined=True,
    )


def _names(flows: Iterable[Flow]) -> str:
    """Return the name of the process with the most bytes, and the number of other names."""
    amounts: dict[str, int] = {}
    for flow in flows:
        name = bracketed_name(flow.process.identity)
        amounts[name] = amounts.get(name, 0) + flow.rx + flow.tx
    first = max(amounts, key=amounts.__getitem__)
    return f"{first} +{len(amounts) - 1}" if len(amounts) > 1 else first
