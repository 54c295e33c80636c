"""Refusals in one line: as a page if the client asks for HTML, else as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Scope

__all__ = ["POLICY", "refusal"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>ddfm</title>
<style>
  body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto }}
  body {{ padding: 0 1rem }}
  p {{ overflow-wrap: anywhere }}
</style>
<h1>Not fused</h1>
<p>{}</p>
<p><a href="/">Choose other images</a></p>
</html>
"""


def refusal(
    scope: Scope, status: int, words: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer to a refused request."""
    if "text/html" in Headers(scope=scope).get("accept", ""):
        page = _PAGE.format(escape(words))
        return HTMLResponse(page, status, {"Content-Security-Policy": POLICY, **(headers or {})})
    return JSONResponse({"error": words}, status, headers)
