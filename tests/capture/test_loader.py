"""A backend whose probes are refused one by one, and the reports about it."""

from pathlib import Path

import pytest

from bwtop.capture import backends, loader
from bwtop.capture.attempt import Attempt
from bwtop.capture.backends import ABSENT, BACKENDS, FEXIT, Backend, Kind, Probe, suited
from bwtop.capture.btf import MissingFieldError
from bwtop.capture.libbpf import RefusedError
from bwtop.capture.loader import MAPS, Limits, try_backend
from bwtop.capture.session import Report

NEEDED = Probe("bwtop_a", Kind.FEXIT, "a")
FIRST = Probe("bwtop_b", Kind.FEXIT, "b", without="b is not counted")
NEW = Probe("bwtop_d", Kind.FENTRY, "d", without="d is not counted", may_be_absent=True)

BACKEND = Backend("fexit", "this and that", (NEEDED, FIRST, NEW))


def tried(attempt: Attempt) -> list[str]:
    return [probe.target for probe in BACKEND.probes if attempt.is_to_be_tried(probe)]


def test_all_are_tried_but_those_that_were_refused() -> None:
    attempt = Attempt(BACKEND)
    assert tried(attempt) == ["a", "b", "d"]
    attempt.refuse(FIRST, RefusedError("EINVAL (Invalid argument)"))
    assert tried(attempt) == ["a", "d"]
    assert attempt.refused() == {"b"}
    assert attempt.refusal == ""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            RefusedError("EINVAL (Invalid argument): R1 !read_ok"),
            "EINVAL (Invalid argument): R1 !read_ok",
        ),
        (MissingFieldError("a"), "this kernel has none"),
        (OSError(1, "Operation not permitted"), "EPERM (Operation not permitted)"),
        (
            OSError(524, "Unknown error 524"),
            "ENOTSUPP (this kernel does not support it on this machine)",
        ),
    ],
)
def test_without_an_indispensable_probe_the_backend_is_refused(
    error: Exception, reason: str
) -> None:
    attempt = Attempt(BACKEND)
    attempt.refuse(NEEDED, error)
    assert attempt.probes == {"a": reason}
    assert attempt.refusal == f"fexit a: {reason}"


def test_what_need_not_be_there_is_no_degradation() -> None:
    attempt = Attempt(FEXIT)
    new = next(p for p in FEXIT.probes if p.may_be_absent)
    old = next(p for p in FEXIT.probes if p.without and not p.may_be_absent)
    attempt.refuse(new, MissingFieldError(new.target))
    assert (attempt.probes[new.target], attempt.refusal) == (ABSENT, "")
    assert Report.from_json(attempt.description()).degradations() == []
    attempt.refuse(new, RefusedError("EPERM"))
    attempt.refuse(old, MissingFieldError(old.target))
    assert attempt.refusal == ""
    # In the order of the probes, whatever was refused first.
    assert sorted(Report.from_json(attempt.description()).degradations()) == sorted(
        [
            f"{new.without} ({new.kind} {new.target}: EPERM)",
            f"{old.without} ({old.kind} {old.target}: this kernel has none)",
        ]
    )


def test_descriptors_are_no_more_than_one_message_takes() -> None:
    """SCM_MAX_FD of include/net/scm.h; session.py asks for as many."""
    for backend in BACKENDS:
        programs = sum(2 if p.kind is Kind.KRETPROBE else 1 for p in backend.probes)
        maps, profile, sweeper = len(MAPS), 1, 1
        assert maps + 2 * programs + profile + sweeper <= 253, backend.name


@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize("name", ["fexit", "kprobe"])
def test_one_layer_only_where_it_sees_all(
    name: str, interrupted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AFS sends past the outer layer: while its module is loaded, all layers are needed."""
    mode = "full" if interrupted else "none"
    monkeypatch.setattr(backends, "_RXRPC", tmp_path / "rxrpc")
    assert suited(name, mode).has_one_layer is not interrupted
    (tmp_path / "rxrpc").mkdir()
    assert not suited(name, mode).has_one_layer


@pytest.mark.parametrize("refusal", ["", "too complex"])
def test_refused_while_it_listens_it_is_tried_without(
    refusal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reason of its own is no reason to listen to nothing."""

    def attempt(backend: Backend, limits: Limits, _: Path | None) -> Attempt:
        names = ["-DNAMES"] if limits.names else []
        return Attempt(backend, refusal="E2BIG" if names else refusal, names=names)

    monkeypatch.setattr(loader, "_try_layers", attempt)
    found = try_backend(FEXIT, Limits(1, 1))
    assert found.refusal == ("E2BIG" if refusal else "")
    assert bool(found.names) == bool(refusal)
    assert any("E2BIG" in note for note in found.notes) != bool(refusal)
