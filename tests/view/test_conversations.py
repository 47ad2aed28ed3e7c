"""Conversations of hosts: each is one row, with the bytes of one end, and what both ends recorded below."""

from collections import Counter
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from bwtop.model.conversations import paired, several
from bwtop.model.flows import TCP, UDP, Host, Identity, Remote, Role, Traffic
from bwtop.model.live import LiveModel
from bwtop.model.remote_names import RemoteNames
from bwtop.model.sample import FlowTraffic
from bwtop.view.grouping import Grouping
from bwtop.view.order import Order
from bwtop.view.rows import Branch, Expansion
from bwtop.view.tree import Tree, View
from tests.build import key, packed, remote, sample

WEB, DB, TWIN = Host("web1", "w"), Host("db1", "d"), Host("db1", "e")
PEERS: Final = {packed("192.0.2.1"): WEB, packed("192.0.2.7"): DB, packed("192.0.2.8"): DB}

NGINX, PHP, POSTGRES, REDIS = (key(number) for number in range(4))
IDENTITIES: Final = {
    NGINX: Identity("nginx", host=WEB),
    PHP: Identity("php-fpm", host=WEB),
    POSTGRES: Identity("postgres", host=DB),
    REDIS: Identity("redis", host=TWIN),
}


def tree(*readings: FlowTraffic) -> Tree:
    model = LiveModel()
    for traffic in readings:
        model.advance(sample(traffic, identities=IDENTITIES))
    view = View(grouping=Grouping.CONVERSATION, order=Order(), peers=PEERS)
    made = Tree(model, view, Expansion(), RemoteNames())
    made.sort()
    return made


def told(made: Tree) -> dict[str, tuple[tuple[int, int], dict[str, tuple[int, int]]]]:
    """Return the bytes of the conversations, and of the processes at their ends."""

    def moved(row: Branch) -> tuple[int, int]:
        return row.counted.rx_total, row.counted.tx_total

    return {
        top.identity.name: (
            moved(top),
            {
                f"{row.identity.host.name if row.identity.host else '-'} {row.identity.name}": moved(
                    row
                )
                for row in made.children(top)
                if isinstance(row, Branch)
            },
        )
        for top in made.tops
    }


def test_conversation_is_counted_once_and_both_ends_are_compared() -> None:
    """Two programs share a service; one of its addresses is another than the one that others use."""
    made = tree(
        {
            NGINX: {
                remote("192.0.2.7", 5432): Traffic(1000, 50),
                remote("192.0.2.8", 5432): Traffic(100, 5),
                remote("203.0.113.9", 443, TCP, Role.SERVER): Traffic(1, 2),
            },
            PHP: {remote("192.0.2.7", 5432): Traffic(10, 7)},
            POSTGRES: {remote("192.0.2.1", 5432, TCP, Role.SERVER): Traffic(62, 1109)},
        }
    )
    assert told(made) == {
        "web1 nginx, php-fpm → db1 postgres :5432 tcp": (
            (1110, 62),
            {"web1 nginx": (1100, 55), "web1 php-fpm": (10, 7), "db1 postgres": (62, 1109)},
        ),
        "203.0.113.9 → web1 nginx :443 tcp": ((1, 2), {"web1 nginx": (1, 2)}),
    }
    assert len({row.id for top in made.tops for row in made.children(top)}) == 4


def test_one_end_that_recorded_is_enough() -> None:
    made = tree({POSTGRES: {remote("192.0.2.1", 5432, TCP, Role.SERVER): Traffic(62, 1109)}})
    assert list(told(made)) == ["web1 → db1 postgres :5432 tcp"]
    assert made.tops[0].counted.rx_total == 62


def test_ends_without_ports_are_one_conversation() -> None:
    made = tree(
        {
            NGINX: {remote("192.0.2.7", 0, 1): Traffic(64, 64)},
            POSTGRES: {remote("192.0.2.1", 0, 1): Traffic(64, 64)},
        }
    )
    assert list(told(made)) == ["db1 postgres → web1 nginx icmp"]


def test_loopback_is_a_conversation_of_the_host_with_itself() -> None:
    made = tree(
        {
            NGINX: {remote("127.0.0.1", 9000): Traffic(3, 4)},
            PHP: {remote("127.0.0.1", 9000, TCP, Role.SERVER): Traffic(4, 3)},
            REDIS: {remote("127.0.0.1", 9000): Traffic(1, 1)},
        }
    )
    assert told(made) == {
        "web1 nginx → web1 php-fpm :9000 tcp": (
            (3, 4),
            {"web1 nginx": (3, 4), "web1 php-fpm": (4, 3)},
        ),
        "db1 redis → db1 :9000 tcp": ((1, 1), {"db1 redis": (1, 1)}),
    }


flows = st.tuples(
    st.integers(),
    st.sampled_from([WEB, DB, TWIN, None]),
    st.builds(
        Remote,
        st.sampled_from([TCP, UDP, 1]),
        st.sampled_from(Role),
        st.sampled_from([0, 53, 5432]),
        st.sampled_from([*PEERS, packed("127.0.0.1"), packed("203.0.113.9"), bytes(16)]),
    ),
)


@given(st.lists(flows))
def test_no_flow_is_lost_or_doubled(known: list[tuple[int, Host | None, Remote]]) -> None:
    found = paired(known, PEERS).values()
    assert Counter(flow for ends in found for flow in (*ends.client, *ends.server)) == Counter(
        flow for flow, _, _ in known
    )
    for ends in found:
        assert ends.counted, "each has an end that counts"
        assert Counter([*ends.counted, *ends.compared]) == Counter([*ends.client, *ends.server])


def test_many_programs_of_an_end_are_counted() -> None:
    assert several({"b": 1, "a": 1, "c": 5, "d": 0, "e": 0}) == "c, a, b +2"
    assert several({}) == ""
