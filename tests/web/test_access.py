"""Test access on loopback: root, the user that bwtop runs for, group members, named users, and the token."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from bwtop.model.flows import Traffic
from bwtop.web import files, login, peer, trusted
from bwtop.web.api import ROUTES
from bwtop.web.trusted import Everyone, TrustedUsers, is_member
from tests.build import key, remote, sample
from tests.history.others import needs_root
from tests.processes import ran, until
from tests.web.serving import TOKEN, Exposing, Stream, Web, bearer

pytestmark = needs_root

OWNER: Final = 12345
FRIEND: Final = 12346
STRANGER: Final = 23456

STATIC: Final = files.load(None, {})
ROUTES_CLOSED: Final = [route.path for route in ROUTES if not route.is_open]
CLOSED: Final = [*ROUTES_CLOSED, *sorted(set(STATIC) - login.FILES), "/nothing/of/the/kind"]
BROWSER: Final = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Run --serve on loopback for OWNER with --trust-user FRIEND."""
    users = TrustedUsers(OWNER, [FRIEND])
    place = tmp_path_factory.mktemp("access")
    with Web(place / "none.db", TOKEN, files=STATIC, trusted=users) as running:
        running.put(sample({key(7): {remote(): Traffic(1009, 2003)}}))
        until(lambda: running.ask("/api/v1/live").status == 200)
        yield running


@pytest.mark.parametrize("path", CLOSED)
def test_another_user_is_refused(web: Web, path: str) -> None:
    for method in ("GET", "HEAD"):
        refused = web.ask(path, method, uid=STRANGER)
        assert refused.status == 401
        assert refused.headers["www-authenticate"].startswith("Bearer ")
        assert refused.headers["cache-control"] == "no-store"
        if method == "GET":
            assert "token" in refused.error
            assert "--trust-user" in refused.error
            assert b"2003" not in refused.body
    page = web.ask(path, headers=BROWSER, uid=STRANGER)
    assert page.status == 401
    assert b'id="login"' in page.body
    assert path not in STATIC or STATIC[path].body not in page.body


@pytest.mark.parametrize("path", [path for path in CLOSED if not path.startswith("/nothing")])
def test_another_user_gets_an_answer_with_the_token(web: Web, path: str) -> None:
    assert web.ask(path, headers=bearer("wrong"), uid=STRANGER).status == 401
    if path in STATIC:
        assert web.ask(path, headers=bearer(), uid=STRANGER).body == STATIC[path].body
    else:
        with Stream(web.port, path, bearer()) as own:
            status = own.status
        assert status not in (401, 403)
        assert web.ask(path, "HEAD", bearer(), uid=STRANGER).status == status


@pytest.mark.parametrize("uid", [0, OWNER, FRIEND])
def test_root_owner_and_named_users_need_no_token(web: Web, uid: int) -> None:
    assert web.ask("/", uid=uid).body == STATIC["/"].body
    assert web.ask("/api/v1/live", uid=uid).document["total"] == {"rx": 1009, "tx": 2003}
    assert web.ask("/api/v1/link", uid=uid).status == 403, "that takes the token itself"


def test_form_needs_no_token(web: Web) -> None:
    for path in login.FILES:
        assert web.ask(path, uid=STRANGER).body == STATIC[path].body
    assert web.ask("/healthz", uid=STRANGER).status in (200, 503), "healthy or not"


def test_cookie_of_the_token_lets_another_user_in(web: Web) -> None:
    given = web.ask("/login", headers=bearer(), uid=STRANGER)
    assert (given.status, given.body) == (204, b"")
    assert "content-length" not in given.headers
    cookie = {"Cookie": given.headers["set-cookie"].partition(";")[0]}
    assert web.ask("/", headers=cookie, uid=STRANGER).body == STATIC["/"].body
    wrong = web.ask("/login", headers=bearer("wrong"), uid=STRANGER)
    assert (wrong.status, wrong.error) == (401, "wrong token")
    assert "set-cookie" not in wrong.headers
    assert "set-cookie" not in web.ask("/login", "HEAD", bearer(), uid=STRANGER).headers


def test_used_link_gets_its_own_error(web: Web) -> None:
    path = f"/login?key={web.policy.new_key()}"
    assert web.ask(path, headers=BROWSER, uid=STRANGER).headers["location"] == "./"
    used = web.ask(path, headers=BROWSER, uid=STRANGER)
    assert used.status == 403
    assert b"This link was already used" in used.body
    assert b'id="login"' in used.body
    assert web.ask(path, uid=STRANGER).error == "this link was already used"
    other = web.ask("/login?key=never-was", headers=BROWSER, uid=STRANGER)
    assert other.status == 403
    assert b"already used" not in other.body


def test_used_link_opens_the_page_for_those_who_have_access(web: Web) -> None:
    """Such as with the button Reload, or from the scrollback of the terminal."""
    path = f"/login?key={web.policy.new_key()}"
    given = web.ask(path, uid=STRANGER).headers["set-cookie"].partition(";")[0]
    has_access: tuple[tuple[int, dict[str, str]], ...] = (
        *((uid, {}) for uid in (0, OWNER, FRIEND)),
        (STRANGER, {"Cookie": given}),
    )
    for uid, headers in has_access:
        again = web.ask(path, headers={**BROWSER, **headers}, uid=uid)
        assert (again.status, again.headers["location"]) == (303, "./"), uid
        assert "set-cookie" not in again.headers, "the link gives nothing any more"
    assert web.ask(path, headers=BROWSER, uid=STRANGER).status == 403


@pytest.mark.parametrize(
    "headers", [BROWSER, {"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"}]
)
def test_browser_gets_a_form_whose_addresses_are_relative(
    web: Web, headers: dict[str, str]
) -> None:
    for path, root in (("/", "./"), ("/api/v1/live", "../../"), ("/a//b/", "../../../")):
        page = web.ask(path, headers=headers, uid=STRANGER)
        assert (page.status, page.headers["content-type"]) == (401, login.HTML)
        assert f'src="{root}login.js"'.encode() in page.body
        assert f'data-root="{root}"'.encode() in page.body
    assert web.ask("/", headers={"Accept": "*/*"}, uid=STRANGER).error


def test_beyond_loopback_no_user_is_trusted(tmp_path: Path) -> None:
    users = TrustedUsers(OWNER)
    for trusts in (users, Everyone()):
        with Web(tmp_path / "none.db", TOKEN, bound="0.0.0.0", trusted=trusts) as beyond:
            for uid in (0, OWNER):
                assert beyond.ask("/api/v1/about", uid=uid).status == 401
            assert beyond.ask("/api/v1/about", headers=bearer(), uid=STRANGER).status == 200


def test_open_gives_every_user_access(tmp_path: Path) -> None:
    with Web(tmp_path / "none.db", trusted=Everyone()) as web:
        assert web.ask("/", uid=STRANGER).status == 200
        entered = web.ask("/login?key=x", uid=STRANGER).headers
        assert entered["location"] == "./"
        assert "set-cookie" not in entered
        assert web.ask("/api/v1/link", uid=STRANGER).status == 404


@pytest.mark.parametrize("token", [None, TOKEN])
def test_metrics_are_for_trusted_users(token: str | None) -> None:
    with Exposing(token, trusted=TrustedUsers(OWNER, [FRIEND])) as metrics:
        for uid in (0, OWNER, FRIEND):
            assert b"bwtop_bytes_total" in metrics.ask("/metrics", uid=uid).body
        for path in ("/metrics", "/", "/nothing"):
            for headers in ({}, BROWSER, bearer("wrong")):
                refused = metrics.ask(path, headers=headers, uid=STRANGER)
                assert refused.status == 401
                assert "--trust-user" in refused.error
                assert f"uid {STRANGER}" in refused.error
        assert metrics.ask("/healthz", uid=STRANGER).status == 200
        answer = metrics.ask("/metrics", headers=bearer(), uid=STRANGER)
        assert answer.status == (200 if token else 401)
        assert token or "--token-file" in answer.error


# The group.

MEMBERS: Final = """
from bwtop.web.trusted import TrustedUsers, is_member
users = TrustedUsers(None)
print(*(int(users.include(uid)) for uid in (12345, 12346, 12347, 12348)))
print(users)
print(TrustedUsers(12345, [12347]))
"""


def with_accounts(place: Path, script: str, *, group: bool = True) -> str:
    """Return the output of a Python script with prepared /etc/passwd and /etc/group."""
    (place / "passwd").write_text(
        "root:x:0:0::/:/bin/sh\n"
        "listed:x:12345:12345::/:/bin/sh\n"
        "primary:x:12346:990::/:/bin/sh\n"
        "other:x:12347:12347::/:/bin/sh\n"
    )
    (place / "group").write_text("bwtop:x:990:root,listed\n" if group else "root:x:0:\n")
    mounts = [f"mount --bind {place}/{name} /etc/{name}" for name in ("passwd", "group")]
    command = [
        *("unshare", "--mount", "--propagation", "private", "sh", "-ec"),
        "; ".join([*mounts, 'exec "$0" -c "$1"']),
        *(sys.executable, script),
    ]
    done = ran(command)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("group", "members"),
    [
        (True, ["1 1 0 0", "root and members of group bwtop", "root, listed, other and members of group bwtop"]),
        (False, ["0 0 0 0", "root", "root, listed and other"]),
    ],
)  # fmt: skip
def test_members_of_the_group_are_trusted(tmp_path: Path, group: bool, members: list[str]) -> None:
    """Test listed members, the primary group, and a uid without an account."""
    assert with_accounts(tmp_path, MEMBERS, group=group).splitlines() == members


def test_membership_is_cached_for_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def member(uid: int, group: str) -> bool:
        asked.append(uid)
        return len(asked) == 1

    monkeypatch.setattr(trusted, "is_member", member)
    now = [100.0]
    users = TrustedUsers(None, now=lambda: now[0])
    assert users.include(OWNER)
    assert users.include(OWNER)
    assert asked == [OWNER]
    now[0] += trusted.KNOWN_SECONDS
    assert not users.include(OWNER)
    for uid in range(20_000, 20_000 + 2 * trusted.MAX_KNOWN):
        users.include(uid)
    users.include(OWNER)
    assert asked.count(OWNER) == 3, "not all are kept"
    assert users.include(0)
    assert not users.include(None)


def test_uid_without_an_account_is_not_a_member() -> None:
    assert not is_member(STRANGER, "root")
    assert is_member(0, "root")
    assert not is_member(0, "no-such-group")


def test_without_netlink_users_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "NETLINK_SOCK_DIAG", 99)  # there is none
    with Web(tmp_path / "none.db", TOKEN, trusted=TrustedUsers(OWNER)) as web:
        for uid, status in ((0, 200), (OWNER, 200), (STRANGER, 401)):
            assert web.ask("/api/v1/about", uid=uid).status == status, uid
