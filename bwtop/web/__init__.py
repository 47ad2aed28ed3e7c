"""The browser view: a page, and the API behind it, on Python's http.server."""
