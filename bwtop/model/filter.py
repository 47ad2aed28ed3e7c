"""The filter language: terms that a flow must all meet, such as `curl port:443 -remote:10.0.0.0/8`.

Typed filters and filter flags make the same terms: `--process NAME` is `process:NAME`, `--tcp` is `proto:tcp`.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Final

from bwtop.model import conditions, networks
from bwtop.model.conditions import (
    HostNames,
    LiveNumbers,
    NamesOf,
    OnCategory,
    OnHost,
    OnLive,
    OnProcess,
    OnRemote,
    network_names,
    no_names,
)
from bwtop.model.flows import UNKNOWN_IDENTITY, Host, Identity, ProcessKey, Remote
from bwtop.model.ledger import CATEGORIES, Category, Process
from bwtop.model.named import REMOTE_NAME
from bwtop.model.sample import Sample


@dataclass(frozen=True)
class FilterField:
    """A word before a colon. Its functions make conditions of alternative values; they raise FilterError."""

    name: str
    help: str
    process: Callable[[Sequence[str]], OnProcess] | None = None
    remote: Callable[[Sequence[str]], OnRemote] | None = None
    by_host: Callable[[Sequence[str]], OnHost] | None = None
    """Makes, in place of `remote`, conditions that depend on the host of the process, too."""
    category: Callable[[Sequence[str]], OnCategory | None] | None = None
    """Makes the same condition as `remote` by category; None if a value needs more than that."""
    live: Callable[[Sequence[str]], OnLive] | None = None
    """Makes a condition on the numbers of a process, which only live views have."""
    needs: tuple[str, ...] = ()
    """Properties in history.dimensions.ENDS that it depends on, NET and REMOTE_NAME; empty: no recorded flow has it."""
    words: tuple[str, ...] = ()
    """All values, if they are a fixed set of words."""
    seen: Callable[[Process], Iterable[str]] | None = None
    """Returns the values of a process, to complete what is typed."""

    def term(self, values: Iterable[object], *, negated: bool = False) -> "Term":
        """Return the term of alternative values; raise FilterError."""
        texts = tuple(map(str, values))
        by_host = self.by_host(texts) if self.by_host else None
        remote = self.remote(texts) if self.remote else None
        return Term(
            self,
            texts,
            negated,
            self.process(texts) if self.process else None,
            by_host(None) if by_host else remote,
            self.category(texts) if self.category else None,
            self.live(texts) if self.live else None,
            by_host,
        )


@dataclass(frozen=True)
class Term:
    """One condition. A flow meets it if its process or its remote does; the reverse if negated."""

    field: FilterField
    values: tuple[str, ...]
    negated: bool
    process: OnProcess | None = dataclasses.field(compare=False, repr=False)
    remote: OnRemote | None = dataclasses.field(compare=False, repr=False)
    category: OnCategory | None = dataclasses.field(compare=False, repr=False)
    live: OnLive | None = dataclasses.field(compare=False, repr=False)
    by_host: OnHost | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def needs(self) -> frozenset[str]:
        """Return the properties in history.dimensions.ENDS that it depends on, and REMOTE_NAME."""
        needs = frozenset(self.field.needs)
        is_of_address = self.field.name == "remote" and all(map(conditions.is_address, self.values))
        return needs - {REMOTE_NAME} if is_of_address else needs

    @property
    def is_live(self) -> bool:
        """Return True if it depends on numbers that only live views have."""
        return self.live is not None

    @property
    def is_of_category(self) -> bool:
        """Return True if it passes all flows of a category or none."""
        return self.category is not None

    def rest(
        self, key: ProcessKey | None, identity: Identity, live: LiveNumbers | None = None
    ) -> "bool | Term":
        """Return True if all flows of a process meet it, False if none does, itself if it depends on the remote."""
        if self.process and self.process(key, identity):
            return not self.negated
        if self.live and live and self.live(live):
            return not self.negated
        if self.by_host and identity.host:
            return replace(self, remote=self.by_host(identity.host))
        return self if self.remote else self.negated

    def of_remote(self, remote: Remote, names: HostNames) -> bool:
        """Return True if a remote meets a term that depends on it."""
        return (self.remote is not None and self.remote(remote, names)) != self.negated

    def of_category(self, name: str, *, loopback: bool) -> bool:
        """Return True if flows of a category may meet it."""
        return self.category is None or self.category(name, loopback) != self.negated

    def takes(self, identity: Identity, remote: Remote, names: HostNames = no_names) -> bool:
        """Return True if a recorded flow meets it; its pid is unknown."""
        if self.process and self.process(None, identity):
            return not self.negated
        on_remote = self.by_host(identity.host) if self.by_host else self.remote
        return (on_remote is not None and on_remote(remote, names)) != self.negated

    def spellings(self) -> list[str]:
        """Return the term as it is typed; `?` stands for a quote, which cannot be typed."""
        joined = ",".join(self.values).replace('"', "?")
        sign = "-" if self.negated else ""
        if not self.field.name:
            return [f'{sign}"{joined}"']
        quote = '"' if re.search(r"[\s|']", joined) else ""
        return [f"{sign}{self.field.name}:{quote}{joined}{quote}"]


@dataclass(frozen=True)
class Either:
    """Alternatives: a flow meets them if one of the filters passes it."""

    filters: "tuple[Filter, ...]"

    @property
    def needs(self) -> frozenset[str]:
        """Return the properties in history.dimensions.ENDS that they depend on."""
        return frozenset().union(*(one.needs() for one in self.filters))

    @property
    def is_live(self) -> bool:
        """Return True if one depends on numbers that only live views have."""
        return any(one.is_live for one in self.filters)

    @property
    def is_of_category(self) -> bool:
        """Return True if they pass all flows of a category or none."""
        return all(one.is_of_categories for one in self.filters)

    def rest(
        self, key: ProcessKey | None, identity: Identity, live: LiveNumbers | None = None
    ) -> "bool | Either":
        """Return True if all flows of a process meet one, False if none can; else what depends on the remote."""
        rests = [one.undecided(key, identity, live) for one in self.filters]
        possible = [Filter(terms) for terms in rests if terms is not None]
        if not all(one.terms for one in possible):
            return True
        return Either(tuple(possible)) if possible else False

    def of_remote(self, remote: Remote, names: HostNames) -> bool:
        """Return True if a remote meets the terms of one that depend on it."""
        return any(all(term.of_remote(remote, names) for term in one.terms) for one in self.filters)

    def of_category(self, name: str, *, loopback: bool) -> bool:
        """Return True if flows of a category may meet one."""
        return any(
            all(term.of_category(name, loopback=loopback) for term in one.terms)
            for one in self.filters
        )

    def takes(self, identity: Identity, remote: Remote, names: HostNames = no_names) -> bool:
        """Return True if a recorded flow meets one; its pid is unknown."""
        return any(one.takes(identity, remote, names) for one in self.filters)

    def spellings(self) -> list[str]:
        """Return the alternatives as they are typed."""
        return [text for one in self.filters for text in one.spellings()]


@dataclass(frozen=True)
class Filter:
    """Terms that a flow must all meet; an empty filter passes every flow."""

    terms: tuple[Term | Either, ...] = ()

    def __and__(self, other: "Filter") -> "Filter":
        """Return the filter that passes what both pass."""
        return Filter(self.terms + other.terms)

    def only(self, *names: str) -> "Filter":
        """Return the filter of the terms of some fields that have no alternatives."""
        return Filter(self.plain(*names))

    def without(self, *names: str) -> "Filter":
        """Return the filter of the terms of all other fields."""
        dropped = self.plain(*names)
        return Filter(tuple(term for term in self.terms if term not in dropped))

    def plain(self, *names: str) -> tuple[Term, ...]:
        """Return the terms of some fields that have no alternatives."""
        plain = (term for term in self.terms if isinstance(term, Term))
        return tuple(term for term in plain if term.field.name in names)

    def spell(self) -> str:
        """Return the filter as it is typed."""
        return " | ".join(self.spellings())

    def spellings(self) -> list[str]:
        """Return its alternatives as they are typed, each without `|`."""
        return [" ".join(one) for one in product(*(term.spellings() for term in self.terms))]

    def needs(self) -> frozenset[str]:
        """Return the properties in history.dimensions.ENDS that it depends on."""
        return frozenset().union(*(term.needs for term in self.terms))

    @property
    def is_live(self) -> bool:
        """True if it depends on numbers that only live views have."""
        return any(term.is_live for term in self.terms)

    def mentions(self, name: str) -> bool:
        """Return True if a term of the field is anywhere in it."""
        return any(
            term.field.name == name
            if isinstance(term, Term)
            else any(one.mentions(name) for one in term.filters)
            for term in self.terms
        )

    def categories(self) -> frozenset[Category]:
        """Return the categories whose flows may pass."""
        return frozenset(
            of
            for of, (name, loopback) in CATEGORIES.items()
            if all(term.of_category(name, loopback=loopback) for term in self.terms)
        )

    def networks(self) -> tuple[str, ...]:
        """Return the networks that its terms on them name together, as they are listed; empty: it has no such terms."""
        terms = self.plain("net")
        return tuple(
            name
            for name in networks.current().names
            if terms and all((name in network_names(t.values)) != t.negated for t in terms)
        )

    @property
    def is_of_categories(self) -> bool:
        """True if all flows of its categories pass."""
        return all(term.is_of_category for term in self.terms)

    def undecided(
        self, key: ProcessKey | None, identity: Identity, live: LiveNumbers | None = None
    ) -> tuple[Term | Either, ...] | None:
        """Return what depends on the remotes of a process; None if none of its flows can pass."""
        open_terms: list[Term | Either] = []
        for term in self.terms:
            rest = term.rest(key, identity, live)
            if rest is False:
                return None
            if rest is not True:
                open_terms.append(rest)
        return tuple(open_terms)

    def takes(self, identity: Identity, remote: Remote, names: HostNames = no_names) -> bool:
        """Return True if a recorded flow passes; its pid is unknown."""
        return all(term.takes(identity, remote, names) for term in self.terms)

    def takes_host(self, host: Host) -> bool:
        """Return True if the terms on hosts pass flows of a host."""
        identity = Identity("", host=host)
        return self.only("host").undecided(None, identity) is not None

    def apply(self, sample: Sample, names: NamesOf = lambda *_: ()) -> Sample:
        """Return the sample with the flows that pass; losses stay, because they belong to no single flow."""
        if not self.terms:
            return sample
        kept = {}
        for key, remotes in sample.traffic.items():
            terms = self.undecided(key, sample.identities.get(key, UNKNOWN_IDENTITY))
            if terms is None:
                continue
            passing, known = remotes, partial(names, key)
            for term in terms:
                meets = term.of_remote
                passing = {r: t for r, t in passing.items() if meets(r, known)}
            if passing:
                kept[key] = passing
        return replace(sample, traffic=kept)


EVERYTHING: Final = Filter()
"""The filter that passes every flow."""
