"""Something that may be asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bwtop.web.access import Request
from bwtop.web.answer import JSON, Answer
from bwtop.web.params import Param, Values


@dataclass(frozen=True)
class Route:
    """A path, what may be said with it, and what answers."""

    path: str
    help: str
    answer: Callable[[Any, Request, Values], Answer]
    """A method of api.Api."""
    params: tuple[Param, ...] = ()
    type: str = JSON
    is_open: bool = False
    """Whether it needs no token."""
