"""Renders the studio's HTML on the server."""

from hashlib import sha256
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

_jinja = Environment(
    loader=FileSystemLoader(Path(__file__).parents[1] / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_jinja.policies["json.dumps_kwargs"] = {"sort_keys": False}  # the page keeps the order that we chose


def draw(name: str, /, **values: Any) -> str:
    """A template's HTML. Every value is escaped, except what the template marks as safe."""
    return _jinja.get_template(name).render(values)


def html_page(html: str, *, status: int = 200) -> web.Response:
    """The HTML as a response that is not cached."""
    return web.Response(text=html, content_type="text/html", status=status)


def cached(request: web.Request, body: bytes, mime: str, cache: str = "no-cache") -> web.Response:
    """A response that the browser asks for at each visit, and is sent only when it changed."""
    tag = sha256(body).hexdigest()[:16]
    headers = {"Cache-Control": cache, "ETag": f'"{tag}"'}
    if any(each.value == tag for each in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type=mime, charset="utf-8", headers=headers)
