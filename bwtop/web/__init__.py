"""The browser view: a page and its API, on Python's http.server."""
