"""Units, containers and pods from cgroup paths."""

import pytest

from bwtop.identity.units import ContainerKey, Placement, container_key, place

ID = "3f1e9a0b7c2d4856" * 4
SHORT = "3f1e9a0b7c2d"
POD = "8a4c1b9e-03d2-4f5e-9a77-1c2b3d4e5f60"
POD_ = POD.replace("-", "_")
STATIC_POD = "0123456789abcdef0123456789abcdef"

BURSTABLE = "/kubepods.slice/kubepods-burstable.slice"


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("/system.slice/nginx.service", "nginx.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
        ("/system.slice/nginx.service/worker", "nginx.service"),
        ("/init.scope", "init.scope"),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-77.scope",
            "user@1000.service",
        ),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", "user@1000.service"),
        ("/user.slice/user-1000.slice", "user-1000.slice"),
        ("/system.slice", "system.slice"),
        ("/made/by/hand", None),
        ("/my.service.d/x", None),
        ("/", None),
        (None, None),
    ],
)
def test_unit_is_the_outermost_service_or_scope_else_the_innermost_slice(
    cgroup: str | None, unit: str | None
) -> None:
    assert place(cgroup) == Placement(unit=unit)


@pytest.mark.parametrize(
    ("cgroup", "container"),
    [
        (f"/system.slice/docker-{ID}.scope", f"docker:{SHORT}"),
        (f"/docker/{ID}", f"docker:{SHORT}"),
        (f"/docker/{ID}/init.scope", f"docker:{SHORT}"),
        (
            f"/user.slice/user-1000.slice/user@1000.service/app.slice/docker-{ID}.scope",
            f"docker:{SHORT}",
        ),
        (f"/machine.slice/libpod-{ID}.scope", f"podman:{SHORT}"),
        (f"/machine.slice/libpod-{ID}.scope/container", f"podman:{SHORT}"),
        (f"/libpod_parent/libpod-{ID}", f"podman:{SHORT}"),
        (
            f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container",
            f"podman:{SHORT}",
        ),
        (f"/system.slice/nerdctl-{ID}.scope", f"containerd:{SHORT}"),
        (f"/default/{ID}", f"containerd:{SHORT}"),
        (f"/k8s.io/{ID}", f"containerd:{SHORT}"),
        ("/lxc.payload.web01", "lxc:web01"),
        ("/lxc.payload.web01/system.slice/nginx.service", "lxc:web01"),
        ("/lxc/101/ns/init.scope", "lxc:101"),
        ("/machine.slice/systemd-nspawn@debian.service/payload", "nspawn:debian"),
        ("/machine.slice/machine-debian.scope/payload", "nspawn:debian"),
        ("/machine.slice/machine-my\\x2dbox.scope", "nspawn:my\\x2dbox"),
        ("/machine.slice/systemd-nspawn@my-box.service/init.scope", "nspawn:my-box"),
    ],
)
def test_container_is_named_by_its_runtime_and_short_id(cgroup: str, container: str) -> None:
    placement = place(cgroup)
    assert placement.container == container
    assert placement.pod is None


@pytest.mark.parametrize(
    ("cgroup", "container"),
    [
        (
            f"{BURSTABLE}/kubepods-burstable-pod{POD_}.slice/cri-containerd-{ID}.scope",
            f"containerd:{SHORT}",
        ),
        (
            f"/kubepods.slice/kubepods-pod{POD_}.slice/cri-containerd-{ID}.scope",
            f"containerd:{SHORT}",
        ),
        (f"{BURSTABLE}/kubepods-burstable-pod{POD_}.slice/crio-{ID}.scope", f"cri-o:{SHORT}"),
        (
            f"{BURSTABLE}/kubepods-burstable-pod{POD_}.slice/crio-{ID}.scope/container",
            f"cri-o:{SHORT}",
        ),
        (f"{BURSTABLE}/kubepods-burstable-pod{POD_}.slice/docker-{ID}.scope", f"docker:{SHORT}"),
        (f"/kubepods/burstable/pod{POD}/crio-{ID}", f"cri-o:{SHORT}"),
        (f"/kubepods/burstable/pod{POD}/{ID}", f"kubernetes:{SHORT}"),
        (f"/kubepods/pod{POD}/{ID}", f"kubernetes:{SHORT}"),
        (f"{BURSTABLE}/kubepods-burstable-pod{POD_}.slice", None),
    ],
)
def test_pod_is_known_by_its_uid(cgroup: str, container: str | None) -> None:
    placement = place(cgroup)
    assert placement.container == container
    assert placement.pod == POD


def test_static_pod_is_known_by_the_hash_that_is_its_uid() -> None:
    """The API server, etcd and their like: the kubelet itself makes their uid, 32 digits without dashes."""
    scope = f"{BURSTABLE}/kubepods-burstable-pod{STATIC_POD}.slice/cri-containerd-{ID}.scope"
    for cgroup, runtime in (
        (scope, "containerd"),
        (f"/kubepods/burstable/pod{STATIC_POD}/{ID}", "kubernetes"),
    ):
        assert (place(cgroup).pod, place(cgroup).container) == (STATIC_POD, f"{runtime}:{SHORT}")


@pytest.mark.parametrize(
    "cgroup",
    [
        f"/machine.slice/libpod-conmon-{ID}.scope",
        f"{BURSTABLE}/crio-conmon-{ID}.scope",
        "/lxc.monitor.web01",
        "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope",
        "/system.slice/docker.service",
        "/system.slice/containerd.service",
        f"/system.slice/docker-{ID[:-1]}.scope",
        f"/system.slice/docker-{ID}0.scope",
        f"/system.slice/my-docker-{ID}.scope",
        "/docker",
    ],
)
def test_what_runs_beside_a_container_is_not_in_it(cgroup: str) -> None:
    assert place(cgroup).container is None


def test_unit_of_a_container_is_its_scope() -> None:
    assert place(f"/system.slice/docker-{ID}.scope").unit == f"docker-{ID}.scope"


NAMELESS = f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"


@pytest.mark.parametrize(
    ("cgroup", "found"),
    [
        (f"/system.slice/docker-{ID}.scope", ContainerKey(0, ID)),
        (f"/kubepods/pod{POD}/{ID}", ContainerKey(0, ID, POD)),
        (NAMELESS, ContainerKey(1000, ID)),
        (f"/system.slice/web.service/libpod-payload-{ID}", ContainerKey(0, ID)),
        (f"/docker/{ID}{NAMELESS}", ContainerKey(0, ID)),  # made by who is root in the container
        (f"/docker{NAMELESS}", ContainerKey(0, ID)),
        ("/lxc.payload.web01", None),
        ("/system.slice/ssh.service", None),
    ],
)
def test_only_the_cgroups_of_a_user_have_that_users_containers(
    cgroup: str, found: ContainerKey | None
) -> None:
    assert container_key(cgroup) == found


INNER = "0" * 64


@pytest.mark.parametrize(
    ("cgroup", "container"),
    [
        (f"/docker/{ID}/docker/{INNER}", f"docker:{SHORT}"),
        (f"/docker/{ID}/kubepods/pod{POD}/{INNER}", f"docker:{SHORT}"),
        (f"/kubepods/pod{POD}/{ID}/docker/{INNER}", f"kubernetes:{SHORT}"),
        (f"/kubepods/pod{POD}/{ID}/pod0/{INNER}", f"kubernetes:{SHORT}"),
        (f"/kubepods/burstable/pod{POD}/crio-{ID}/pod0/{INNER}", f"cri-o:{SHORT}"),
        (
            f"{BURSTABLE}/kubepods-burstable-pod{POD_}.slice/cri-containerd-{ID}.scope/kubepods/pod0/{INNER}",
            f"containerd:{SHORT}",
        ),
        (f"/machine.slice/libpod-{ID}.scope/docker/{INNER}", f"podman:{SHORT}"),
        (f"/lxc.payload.web01/system.slice/docker-{INNER}.scope", "lxc:web01"),
        (f"/lxc.payload.web01/kubepods/pod{POD}/{INNER}", "lxc:web01"),
        (f"/machine.slice/machine-debian.scope/payload/docker/{INNER}", "nspawn:debian"),
    ],
)
def test_outermost_of_nested_containers_counts(cgroup: str, container: str) -> None:
    """A user with root in a container can make cgroups in it with the id of another container of the host."""
    assert place(cgroup).container == container
    found = container_key(cgroup)
    assert found is None or found.id == ID


@pytest.mark.parametrize(
    "outer", ["/lxc.payload.web01", f"/docker/{ID}", f"/system.slice/docker-{ID}.scope"]
)
def test_pod_in_a_container_is_none_of_the_host(outer: str) -> None:
    cgroup = f"{outer}/kubepods/pod{POD}/{INNER}"
    assert place(cgroup).pod is None
    found = container_key(cgroup)
    assert found is None or found.pod is None
