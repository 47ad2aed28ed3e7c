"""The DaemonSet: valid by the API's schemas, and its container, run by podman as it says, records, sends and serves."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from kubernetes_validate.utils import resources_from_file

from tests.clickhouse.servers import PASSWORD, ClickHouse, free_port
from tests.packaging.container import LIMITS, Podman
from tests.packaging.making import ROOT
from tests.packaging.modes import SIZE, question, recording, send, sent
from tests.processes import until
from tests.web.serving import ask

MANIFEST = ROOT / "share" / "kubernetes" / "bwtop.yaml"
TOKEN = "0123456789abcdef0123456789abcdef"
OLDEST = "1.25"

Document = dict[str, Any]


def daemon_set() -> Document:
    (found,) = resources_from_file(str(MANIFEST))
    return dict(found)


def pod() -> Document:
    return dict(daemon_set()["spec"]["template"]["spec"])


def container() -> Document:
    (found,) = pod()["containers"]
    return dict(found)


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
def test_every_field_is_the_apis(version: str) -> None:
    kubernetes_validate.validate(daemon_set(), version, strict=True)
    wrong = copy.deepcopy(daemon_set())
    wrong["spec"]["template"]["spec"]["hostPIDs"] = True
    with pytest.raises(kubernetes_validate.ValidationError, match="hostPIDs"):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_names_fit_together() -> None:
    labels = daemon_set()["spec"]["template"]["metadata"]["labels"]
    assert daemon_set()["spec"]["selector"]["matchLabels"] == labels
    volumes = {volume["name"] for volume in pod()["volumes"]}
    everyone = [container(), *pod()["initContainers"]]
    assert {mount["name"] for one in everyone for mount in one["volumeMounts"]} == volumes
    (port,) = container()["ports"]
    assert f"--metrics=0.0.0.0:{port['containerPort']}" in container()["args"]


def options(sources: dict[str, Path]) -> list[str]:
    """Return podman's options for the container, with folders of the test in the place of the node's and of the secret."""
    assert pod()["hostPID"]
    assert pod()["hostNetwork"]
    context = container()["securityContext"]
    assert context["seccompProfile"] == {"type": "Unconfined"}
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    capabilities = context["capabilities"]
    return [
        *("--pid=host", "--net=host", "--read-only", "--read-only-tmpfs=false"),
        *("--security-opt=seccomp=unconfined", "--security-opt=no-new-privileges"),
        *(f"--cap-drop={name}" for name in capabilities["drop"]),
        *(f"--cap-add={name}" for name in capabilities["add"]),
        *volumes(container(), sources),
    ]


def volumes(one: Document, sources: dict[str, Path]) -> Iterator[str]:
    for mount in one["volumeMounts"]:
        source = sources[mount["name"]] / mount.get("subPath", "")
        yield f"--volume={source}:{mount['mountPath']}:{'ro' if mount.get('readOnly') else 'rw'}"


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    """Return the path that stands for each volume."""
    node = {volume["name"]: volume.get("hostPath", {}).get("path") for volume in pod()["volumes"]}
    found = {name: Path(path) for name, path in node.items() if path}
    folders = ("history", "secret", "container-logs", "pod-logs")
    found |= {name: tmp_path / name for name in folders}
    found["machine-id"] = tmp_path / "machine-id"
    found["machine-id"].write_text("0123456789abcdef0123456789abcdef\n")
    for name in folders:
        found[name].mkdir()
    for name, text in (("token", TOKEN), ("clickhouse-password", PASSWORD)):
        file = found["secret"] / name
        file.write_text(text)
        file.chmod(0o400)
    assert found.keys() == node.keys()
    return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClickHouse]:
    server = ClickHouse(tmp_path / "clickhouse")
    server.start()
    server.init()
    yield server
    server.stop()


def shipped(metrics: bytes) -> float:
    """Return the rows that were sent to the server."""
    (value,) = re.findall(rb"^bwtop_ship_rows_total (\S+)", metrics, re.MULTILINE)
    return float(value)


@pytest.mark.kernel
def test_container_records_sends_and_serves(
    podman: Podman, sources: dict[str, Path], server: ClickHouse, tmp_path: Path
) -> None:
    (first,) = pod()["initContainers"]
    program, *arguments = first["command"]
    prepared = [
        "run",
        "--rm",
        "--network=none",
        *LIMITS,
        *volumes(first, sources),
        f"--entrypoint={program}",
    ]
    podman.run(*prepared, "bwtop", *arguments)
    port = free_port()
    target = f"clickhouse://writer@127.0.0.1:{server.port}/{server.target.database}"
    changed = {"--ship": target, "--metrics": f"0.0.0.0:{port}"}
    names = [argument.split("=")[0] for argument in container()["args"]]
    assert changed.keys() <= set(names)
    flags = [
        f"{name}={changed[name]}" if name in changed else argument
        for name, argument in zip(names, container()["args"], strict=True)
    ]
    shown = options(sources)
    command = podman.command("run", "--rm", *LIMITS, *shown, "bwtop", *flags)
    with recording(command, tmp_path):
        sender = send()
        allowing = [("Authorization", f"Bearer {TOKEN}")]
        allowed = ask(port, "/metrics", headers=allowing)
        assert b"\nbwtop_recording 1.0\n" in allowed.body
        assert ask(port, "/metrics").status == 401
        until(lambda: shipped(ask(port, "/metrics", headers=allowing).body) > 0)
        password = container()["args"][names.index("--password-file")]
        ask_history = ("bwtop", *question(sender), f"--from={target}", password)
        until(lambda: sent(podman.run("run", "--rm", *LIMITS, *shown, *ask_history)) == SIZE)
