"""The hosts of remotes: each reports its own addresses."""

from collections.abc import Mapping

from bwtop.clickhouse.client import FleetServer
from bwtop.model.flows import Host, pack_address


def peers_of(server: FleetServer, hosts: Mapping[str, Host]) -> dict[bytes, Host]:
    """Return the hosts by their packed addresses; raise FleetError.

    hosts: known hosts by id, which others are added to.  An address that several hosts have is no host's: private networks
    of containers have one on many.
    """
    owners: dict[bytes, set[Host]] = {}
    for id_, name, addresses in server.query(
        "SELECT toString(host_id), host, addresses FROM host FINAL"
    ):
        for address in filter(None, map(pack_address, addresses)):
            owners.setdefault(address, set()).add(hosts.get(id_) or Host(name, id_))
    return {address: min(own) for address, own in owners.items() if len(own) == 1}
