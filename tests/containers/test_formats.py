"""Files of container engines: their usual content, and content that they may have instead."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.containers.formats import Named, name_of, of_docker, of_link, of_pod, of_podman

ID = "0b190b0d9e42" + "f" * 52
UID = "8a4c1b9e-03d2-4f5e-9a77-1c2b3d4e5f60"
STATIC = "0123456789abcdef" * 2

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(("id", "names", "metadata", "Name", "Config", "Image")) | st.text(), inner),
)  # fmt: skip

HOSTILE = (
    "",
    "/",
    "a/",
    "//",
    "a\nb",
    "\x1b[2J",
    "-rf",
    ".",
    "é",
    "a" * 254,
    "a/b/c/d",
    None,
    5,
    ["a"],
)


def config(name: Any = "/nginx-proxy", image: Any = "nginx:1.25") -> bytes:
    """Return a config.v2.json as dockerd writes it, shortened."""
    return json.dumps({
        "StreamConfig": {}, "State": {"Running": True, "Pid": 4242}, "ID": ID, "Managed": False,
        "Config": {"Hostname": ID[:12], "Env": ["PATH=/bin"], "Image": image, "Labels": {}},
        "Image": "sha256:" + ID, "Driver": "overlay2", "Name": name, "RestartCount": 0,
    }).encode()  # fmt: skip


def storage(*rows: dict[str, Any]) -> bytes:
    return json.dumps(rows).encode()


def row(name: Any = "web", image: Any = "docker.io/library/nginx:latest") -> dict[str, Any]:
    metadata = json.dumps({"image-name": image, "image-id": ID, "name": name})
    return {"id": ID, "names": [name], "image": ID, "metadata": metadata, "flags": {}}


def test_docker_has_the_name_without_its_slash_and_the_image_as_it_was_asked_for() -> None:
    assert of_docker(config()) == Named("nginx-proxy", "nginx:1.25")
    assert of_docker(config(image="a b")) == Named("nginx-proxy")


def test_podman_has_the_names_of_all_containers_of_a_storage() -> None:
    other = row("db") | {"id": "a" * 64, "metadata": "no JSON"}
    assert of_podman(storage(row(), other)) == {
        ID: Named("web", "docker.io/library/nginx:latest"),
        "a" * 64: Named("db"),
    }
    assert of_podman(storage(5, row() | {"id": "../" + ID[3:]}, row() | {"names": []})) == {}  # type: ignore[arg-type]  # hostile


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_what_no_engine_accepts_is_no_name(name: Any) -> None:
    assert name_of(name) is None
    assert of_podman(storage(row(name))) == {}
    assert of_docker(config(name)) in (None, Named("a/", "nginx:1.25"))


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"{", b"[" * 100_000, b'{"a":' * 100_000, b"[" * 500 + b"]" * 500, b"NaN"],
    ids=lambda content: repr(content[:9]),
)
def test_broken_and_deep_files_have_no_names(content: bytes) -> None:
    assert of_docker(content) is None
    assert of_podman(content) == {}
    assert of_podman(storage(row() | {"metadata": content.decode(errors="replace")})) == {
        ID: Named("web")
    }


@given(JSON)
def test_any_json_is_survived(value: Any) -> None:
    content = json.dumps(value).encode()
    found = [of_docker(content), *of_podman(content).values()]
    assert all(named is None or name_of(named.name) for named in found)


@pytest.mark.parametrize(
    ("link", "name"),
    [
        (f"web-7d9_shop_nginx-{ID}.log", "shop/web-7d9/nginx"),
        (f"etcd-node1.example_kube-system_etcd-{ID}.log", "kube-system/etcd-node1.example/etcd"),
        (f"web_shop_nginx-{ID[1:]}.log", None),
        (f"web_shop_nginx-{ID}.log.1", None),
        (f"_shop_nginx-{ID}.log", None),
        (f"WEB_shop_\x1b-{ID}.log", None),
    ],
)
def test_kubelet_names_containers_by_links(link: str, name: str | None) -> None:
    assert of_link(link) == (name and (ID, Named(name)))


@pytest.mark.parametrize(
    ("folder", "found"),
    [
        (f"shop_web-7d9_{UID}", (UID, Named("shop/web-7d9"))),
        (f"kube-system_etcd-node1_{STATIC}", (STATIC, Named("kube-system/etcd-node1"))),
        (f"shop_web_{UID}0", None),
        (f"shop_{UID}", None),
    ],
)
def test_kubelet_names_pods_by_folders(folder: str, found: object) -> None:
    assert of_pod(folder) == found
