"""Draws the studio's pages on the server, and says which there are and for whom."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Protocol

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

Role = Literal["viewer", "editor", "operator"]
ROLES: tuple[Role, ...] = ("viewer", "editor", "operator")
"""Each may do what the ones before it may. Viewers read no words of others; editors change the bot."""


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """A page that the menu leads to."""

    path: str
    name: str
    icon: str
    need: Role


MENU = (
    MenuEntry("/", "Chat", "chat", "viewer"),
    MenuEntry("/studio/playground", "Playground", "flask", "editor"),
    MenuEntry("/studio/images", "Images", "picture", "editor"),
    MenuEntry("/studio/embeddings", "Embeddings", "dots", "editor"),
    MenuEntry("/studio/log", "Conversations", "log", "operator"),
    MenuEntry("/studio/feedback", "Feedback", "star", "operator"),
    MenuEntry("/studio/prompts", "Prompts", "prompt", "viewer"),
    MenuEntry("/studio/evaluations", "Evaluations", "done", "viewer"),
    MenuEntry("/studio/usage", "Usage", "chart", "viewer"),
    MenuEntry("/studio/deployments", "Deployments", "server", "viewer"),
)

_jinja = Environment(
    loader=FileSystemLoader(Path(__file__).parents[1] / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_jinja.policies["json.dumps_kwargs"] = {"sort_keys": False}  # the page keeps the order that we chose


class Renderer(Protocol):
    """Draws a page with the menu, as the person who asks may see it."""

    def __call__(self, request: web.Request, name: str, here: str, **values: Any) -> str: ...


def allowed(role: Role, need: Role) -> bool:
    """Whether a role may do what another may."""
    return ROLES.index(role) >= ROLES.index(need)


def menu(role: Role, whole: bool) -> tuple[MenuEntry, ...]:
    """The pages for a role; the chat alone where nothing stands behind the others."""
    return tuple(place for place in MENU if allowed(role, place.need)) if whole else MENU[:1]


def draw(name: str, **values: Any) -> str:
    """A page's HTML. Every value is escaped, but for what its template says is safe: HTML made safe here."""
    return _jinja.get_template(name).render(values)


def page(html: str, *, status: int = 200) -> web.Response:
    """The page as a response that nobody keeps."""
    return web.Response(text=html, content_type="text/html", status=status)


def kept_page(request: web.Request, html: str) -> web.Response:
    """The same for a page without anybody's words: asked for at each visit, sent only when it changed."""
    tag = sha256(html.encode()).hexdigest()[:16]
    headers = {"Cache-Control": "private, no-cache", "ETag": f'"{tag}"'}
    if any(each.value == tag for each in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(text=html, content_type="text/html", headers=headers)
