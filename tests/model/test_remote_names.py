"""The best name of a remote, and how long names are kept."""

from bwtop.model.flows import ProcessKey, Remote, Role, Traffic
from bwtop.model.named import Learned, NameSource, RemoteName
from bwtop.model.remote_names import ALTERNATIVES, KNOWN, RemoteNames, others
from tests.build import NOW, key, remote, sample

FAR = remote("192.0.2.1", 443)
ME = key(1)


def seen(
    name: str,
    source: NameSource = NameSource.DNS,
    process: ProcessKey = ME,
    far: Remote = FAR,
    seconds: int = 3600,
) -> Learned:
    port = far.port if source in (NameSource.SNI, NameSource.HOST) else None
    return Learned(process, far.address, port, name, source, seconds)


def texts(names: RemoteNames, process: ProcessKey | None = ME, far: Remote = FAR) -> list[str]:
    return [f"{one.name} {one.source}" for one in names.of(process, far)]


def test_the_best_name_comes_first() -> None:
    names = RemoteNames(lambda _: "reverse.example")
    assert texts(names) == ["reverse.example reverse"]
    names.learn([seen("asked.example", process=key(2))], 0)
    assert texts(names) == ["asked.example dns-host"]
    assert texts(names, None) == ["asked.example dns-host"]
    names.learn([seen("mine.example")], 0)
    assert texts(names) == ["mine.example dns", "asked.example dns-host"]
    names.learn([seen("sent.example", NameSource.SNI)], 0)
    names.learn([seen("later.example", NameSource.HOST), seen("late.example", NameSource.SNI)], 0)
    found = names.of(key(1), FAR)
    assert [one.name for one in found][:3] == ["late.example", "later.example", "sent.example"]
    assert others(found) == 2


def test_each_process_keeps_its_own_name_of_one_address() -> None:
    names = RemoteNames()
    names.learn([seen("one.example", process=key(1)), seen("two.example", process=key(2))], 0)
    assert texts(names, key(1))[0] == "one.example dns"
    assert texts(names, key(2))[0] == "two.example dns"


def test_a_name_sent_to_a_port_is_that_port_s() -> None:
    names = RemoteNames()
    names.learn([seen("sent.example", NameSource.SNI)], 0)
    assert texts(names, far=FAR._replace(port=8443)) == []
    assert texts(names, key(2)) == []
    assert texts(names, far=FAR._replace(role=Role.SERVER)) == []


def test_names_expire_and_the_least_recently_used_make_room() -> None:
    names = RemoteNames()
    names.learn([seen("short.example"), seen("long.example", seconds=7200)], 0)
    assert len(texts(names)) == 2
    names.learn([], 3600)
    assert texts(names) == ["long.example dns"]
    names = RemoteNames()
    for number in range(KNOWN):
        far = remote(f"10.1.{number >> 8}.{number & 255}")
        names.learn([seen("x.example", NameSource.SNI, far=far)], 0)
        if number == 1:
            first = far
        texts(names, far=remote("10.1.0.0"))
    names.learn([seen("x.example", NameSource.SNI)], 0)
    assert texts(names, far=remote("10.1.0.0")), "it was used"
    assert not texts(names, far=first)


def test_names_of_one_remote_are_bounded_and_told_once() -> None:
    names = RemoteNames()
    names.learn([seen(f"{n}.example", NameSource.SNI) for n in range(50)] * 2, 0)
    assert texts(names)[0] == "49.example sni"
    assert len(texts(names)) == ALTERNATIVES


def test_no_names_while_they_are_not_wanted() -> None:
    names = RemoteNames(lambda _: "reverse.example", lambda: False)
    names.learn([seen("mine.example")], 0)
    assert texts(names) == []
    assert names.seen(key(1), FAR) == (RemoteName("mine.example", NameSource.DNS),)


RECORDED = (
    RemoteName("recorded.example", NameSource.HOST),
    RemoteName("b.example", NameSource.DNS),
)


def test_recorded_names_of_a_flow_hold_in_place_of_what_was_known() -> None:
    names = RemoteNames(lambda _: "reverse.example")
    names.learn([seen("mine.example")], NOW.timestamp())
    given = sample({ME: {FAR: Traffic(1)}})
    given.named[ME, FAR] = RECORDED
    names.advance(given)
    assert texts(names) == ["recorded.example host", "b.example dns"]
    assert names.seen(ME, FAR) == RECORDED
    assert texts(names, far=FAR._replace(port=80)) == ["mine.example dns"]
    names.record({(ME, FAR): RECORDED[1:]})
    assert texts(names) == ["b.example dns"]


def test_recorded_names_are_bounded_by_use() -> None:
    names = RemoteNames(most=3)
    names.record({(key(pid), FAR): RECORDED for pid in (1, 2, 3)})
    assert texts(names, key(1))
    names.record({(key(4), FAR): RECORDED})
    assert [pid for pid in (1, 2, 3, 4) if texts(names, key(pid))] == [1, 3, 4]


def test_a_moment_of_the_past_has_only_the_names_of_then() -> None:
    wanted = True
    names = RemoteNames(lambda _: "reverse.example", lambda: wanted)
    names.learn([seen("now.example")], 0)
    past = names.of_past({(key(2), FAR): RECORDED})
    assert texts(past) == ["reverse.example reverse"]
    assert texts(past, key(2)) == ["recorded.example host", "b.example dns"]
    assert texts(names)[0] == "now.example dns"
    wanted = False
    assert texts(past, key(2)) == []
