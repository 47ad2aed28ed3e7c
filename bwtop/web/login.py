"""The login page, for browsers without the token and the cookie."""

import html
from http import HTTPStatus
from typing import Final

from bwtop.web.access import AccessError, HttpRequest
from bwtop.web.answer import HttpResponse

FILES: Final = frozenset({"/login.js", "/style.css", "/icon.svg"})
"""The files of the login page; they need no token."""

HTML: Final = "text/html; charset=utf-8"

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>bwtop: token needed</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="{root}icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="{root}style.css">
<script type="module" src="{root}login.js"></script>
</head>
<body>
<main class="login">
  <h1>bwtop</h1>
  <p>{why}</p>
  <form id="login" data-root="{root}">
    <label class="wide">token
      <input type="password" id="token" autocomplete="current-password" required autofocus></label>
    <button>Open</button>
  </form>
  <p id="wrong" role="alert"></p>
  <noscript>This form needs JavaScript; the link that bwtop prints at startup does not.</noscript>
</main>
</body>
</html>
"""


def is_navigation(request: HttpRequest) -> bool:
    """Return True if a browser requests a page to show, not a program or a script requests data."""
    if request.headers.get("Sec-Fetch-Dest") == "document":
        return True
    return "text/html" in request.headers.get("Accept", "")


def page(request: HttpRequest, refused: AccessError) -> HttpResponse:
    """Return the login page with the status of the refusal.  Its URLs are relative, for proxies with a path prefix."""
    root = "../" * (request.path.count("/") - 1) or "./"
    body = _PAGE.format(root=root, why=html.escape(refused.to_people))
    return HttpResponse(HTTPStatus(refused.status), HTML, body.encode()).plus(*refused.headers)
