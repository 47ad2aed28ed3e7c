"""The addresses of this machine, as the kernel and ip(8) tell them."""

import json

from bwtop.identity.addresses import connected_networks, own_addresses
from tests.history.others import needs_root
from tests.processes import ran


def test_addresses_are_those_of_ip() -> None:
    found = ran(["ip", "-json", "addr"], check=True)
    told = {
        info["local"]
        for link in json.loads(found.stdout)
        for info in link["addr_info"]
        if info["scope"] == "global"
    }
    assert own_addresses() == sorted(told)
    assert len(connected_networks()) == len(told)


@needs_root
def test_addresses_of_links_and_of_loopback_are_left_out() -> None:
    """A peer's address is not its own."""
    commands = (
        "ip link set lo up",
        "ip addr add 192.0.2.7/24 dev lo",
        "ip addr add 192.0.2.8 peer 192.0.2.9 dev lo",
        "ip addr add 169.254.1.1/16 scope link dev lo",
        "ip addr add 2001:db8::7/64 dev lo",
        "python3 -c 'from bwtop.identity.addresses import *; print(*own_addresses(), *connected_networks())'",
    )
    found = ran(["unshare", "--net", "sh", "-ec", "\n".join(commands)], check=True)
    assert found.stdout.split() == [
        *("192.0.2.7", "192.0.2.8", "2001:db8::7"),
        *("192.0.2.0/24", "192.0.2.9/32", "2001:db8::/64"),
    ]
