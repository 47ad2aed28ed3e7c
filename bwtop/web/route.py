"""Routes of the API."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bwtop.web.access import HttpRequest
from bwtop.web.answer import JSON, HttpResponse
from bwtop.web.params import Param, Values


@dataclass(frozen=True)
class Route:
    """A path with its parameters and the method that answers."""

    path: str
    help: str
    answer: Callable[[Any, HttpRequest, Values], HttpResponse]
    """A method of api.Api."""
    params: tuple[Param, ...] = ()
    type: str = JSON
    is_open: bool = False
    """True if it needs no token."""
