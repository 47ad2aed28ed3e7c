"""Rows of groups: of processes that have a property in common, and of flows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from bwtop.model.conversations import Peers
from bwtop.model.flows import format_address
from bwtop.model.ledger import Flow, Process
from bwtop.model.rates import summed
from bwtop.view.conversations import conversations
from bwtop.view.grouping import LABELS, OF_FLOW, Grouping, common
from bwtop.view.rows import Branch, RowId
from bwtop.view.shown import Shown

Join = Callable[[Sequence[Branch], str], Sequence[Branch]]
"""Returns rows of processes of a group, with rows for what they exchange with each other."""


class Groups:
    """The maker of the rows of groups."""

    def __init__(self, shown: Shown, grouping: Grouping, peers: Peers, join: Join | None) -> None:
        """Without `join`, no row stands for both ends of the same bytes."""
        self._shown = shown
        self._grouping = grouping
        self._peers = peers
        self._join = join

    def of(self, branches: Iterable[Branch]) -> Iterable[Branch]:
        """Return the groups of processes; the processes themselves if they are not grouped."""
        if self._grouping is Grouping.PROCESS:
            return branches
        if self._grouping is Grouping.REMOTE:
            return self._by_remote(branches)
        if of_flow := OF_FLOW.get(self._grouping):
            return self._by_flow(branches, of_flow)
        if self._grouping is Grouping.CONVERSATION:
            return self._by_conversation(branches)
        return self._by_property(branches)

    def parts(self, group: Branch) -> list[Branch]:
        """Return the processes of a group of flows, with their traffic in it only."""
        found: dict[Process, list[Flow]] = {}
        for flow in group.flows or ():
            found.setdefault(flow.process, []).append(flow)
        return [
            self._shown.row(process, self._shown.counted(flows), group.id, flows)
            for process, flows in found.items()
        ]

    def _by_property(self, branches: Iterable[Branch]) -> Iterator[Branch]:
        groups: dict[str, list[Branch]] = {}
        for branch in branches:
            groups.setdefault(branch.id.group or "", []).append(branch)
        for group, processes in groups.items():
            members = self._join(processes, group) if self._join else processes
            yield Branch(
                id=RowId(group),
                counted=summed(member.counted for member in members),
                identity=common(
                    LABELS[self._grouping](processes[0].identity),
                    [process.identity for process in processes],
                ),
                size=sum(process.size for process in processes),
                living=sum(process.living for process in processes),
                members=members,
                exited=all(process.exited for process in processes),
            )

    def _by_remote(self, branches: Iterable[Branch]) -> Iterator[Branch]:
        """Yield a group for each remote address; the processes in it are made on demand."""
        found: dict[bytes, list[Flow]] = {}
        for branch in branches:
            for flow in self._shown.flows(branch):
                found.setdefault(flow.remote.address, []).append(flow)
        for address, flows in found.items():
            yield self._of_flows(format_address(address), flows, address)

    def _by_flow(
        self, branches: Iterable[Branch], label_of: Callable[[Flow], str]
    ) -> Iterator[Branch]:
        """Yield a group for each label of flows."""
        found: dict[str, list[Flow]] = {}
        for branch in branches:
            for flow in self._shown.flows(branch):
                found.setdefault(label_of(flow), []).append(flow)
        for label, flows in found.items():
            yield self._of_flows(label, flows)

    def _of_flows(self, label: str, flows: Sequence[Flow], address: bytes | None = None) -> Branch:
        """Return the group of flows, of which a process may have others elsewhere."""
        processes = {flow.process for flow in flows}
        living = [process for process in processes if not self._shown.is_gone(process)]
        return Branch(
            id=RowId(f"{self._grouping.value} {label}"),
            counted=self._shown.counted(flows),
            identity=common(label, [process.identity for process in processes]),
            size=sum(process.count for process in processes),
            living=sum(process.count for process in living),
            flows=flows,
            address=address,
            exited=not living,
        )

    def _by_conversation(self, branches: Iterable[Branch]) -> Iterator[Branch]:
        """Yield a group for each conversation, with the bytes of one end, and the processes of both."""
        flows = chain.from_iterable(map(self._shown.flows, branches))

        def make(process: Process, own: Sequence[Flow]) -> Branch:
            return self._shown.row(process, self._shown.counted(own), RowId(), own)

        for found in conversations(flows, self._peers, make):
            group = f"{self._grouping.value} {found.key}"
            members = [one._replace(id=one.id._replace(group=group)) for one in found.members]
            yield Branch(
                id=RowId(group),
                counted=self._shown.counted(found.counted),
                identity=common(found.label, [member.identity for member in members]),
                size=sum(member.size for member in members),
                living=sum(member.living for member in members),
                flows=found.counted,
                members=members,
                exited=all(member.exited for member in members),
            )
