"""The API's description (OpenAPI 3.1), made of the tables that answer by it."""

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
    "400": "a parameter is wrong",
    "401": "this user needs the token",
    "403": "a page of another site asked, or a link was used before",
    "404": "there is nothing here",
    "405": "there are only GET and HEAD",
    "414": "the address is too long",
    "421": "this server does not go by that name",
    "431": "the request is too long",
    "503": "not now",
}


def describe(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bwtop",
            "version": version,
            "description": "Which process moves how many bytes. Amounts are bytes, rates bytes per second.",
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
            "303": {"description": "the page, and a cookie for it"},
            "204": {"description": "a cookie, for the token"},
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
