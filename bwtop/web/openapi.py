"""The description of the API (OpenAPI 3.1), made from the tables of routes and parameters."""

from collections.abc import Iterable
from typing import Any, Final

from bwtop.web.answer import JSON
from bwtop.web.params import LONGEST, Param
from bwtop.web.route import Route

_ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
}

_REFUSALS: Final = {
    "400": "invalid parameter",
    "401": "token required",
    "403": "request from a page of another site, or one-time link already used",
    "404": "not found",
    "405": "method not allowed; use GET or HEAD",
    "414": "URL too long",
    "421": "unknown Host name",
    "431": "request too long",
    "503": "not available now",
}


def describe(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """Return the OpenAPI document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bwtop",
            "version": version,
            "description": "Network traffic by process. Amounts are in bytes, rates in bytes per second.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "paths": {route.path: {"get": _operation(route)} for route in routes},
    }


def _operation(route: Route) -> dict[str, Any]:
    return {
        "summary": route.help,
        "security": [{}] if route.is_open else [{"token": []}, {}],
        "parameters": [_parameter(param) for param in route.params],
        "responses": {**_found(route), **{code: _refusal(code) for code in _REFUSALS}},
    }


def _found(route: Route) -> dict[str, Any]:
    if route.path == "/login":
        return {
            "303": {"description": "redirect to the page, with the login cookie"},
            "204": {"description": "the login cookie, for the token"},
        }
    schema = {"type": "object"} if route.type == JSON else {"type": "string"}
    kind = route.type.partition(";")[0]
    return {"200": {"description": route.help, "content": {kind: {"schema": schema}}}}


def _refusal(code: str) -> dict[str, Any]:
    return {"description": _REFUSALS[code], "content": {JSON: {"schema": _ERROR}}}


def _parameter(param: Param) -> dict[str, Any]:
    schema = {"type": "string", "maxLength": LONGEST, **param.schema}
    if param.default:
        schema["default"] = param.default
    return {
        "name": param.name,
        "in": "query",
        "description": param.help,
        "schema": schema,
        "example": param.example,
    }
