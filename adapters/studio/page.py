"""The pages of the studio: each is one class, from which its menu entry, routes and permissions are made."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from aiohttp import web

from adapters.shared.client_address import Handler
from adapters.studio.auth.guard import Guard, find_person, person_of
from adapters.studio.auth.session import Role, allowed
from adapters.studio.web.rendering import cached, draw, html_page
from bot.domain.events import Role as PlatformRole

STATIC = Path(__file__).parent / "static"
MIMES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Route:
    """An address of a page, and what answers it.

    `page` is a GET that answers with HTML, `form` the POST of an HTML form; `get` and `post` come from a script
    and answer with JSON. `role` is what it takes, where that is not the role of the page. A handler may raise
    HttpError, and NotAllowed and TemplateError, which are answered as 409 with their text.
    """

    kind: Literal["page", "form", "get", "post"]
    path: str
    handler: Handler
    role: Role | None = None


class Page(ABC):
    """A page of the studio. Its constructor takes the few objects that it shows and changes.

    `name` is its entry in the menu, which leads to `path`; `icon` is a symbol of `templates/symbols.html`. A page
    that is not `listed` has no entry, and marks the one of its name as current. `role` is what it takes to see the
    page, None for a page that strangers see.
    """

    name: ClassVar[str]
    path: ClassVar[str]
    icon: ClassVar[str] = ""
    role: ClassVar[Role | None] = "viewer"
    listed: ClassVar[bool] = True

    @abstractmethod
    def routes(self) -> Iterable[Route]:
        """Its addresses; none is mounted without the guard."""


def acts_as(role: Role) -> PlatformRole:
    """The role in the table of permissions: an editor is what an administrator of a workspace is on a platform."""
    return "operator" if role == "operator" else "admin" if role == "editor" else "member"


PAGE_FRAME = web.RequestKey("page_frame", dict[str, Any])
"""What the templates need around a page: the menu as this person may see it, and its current entry."""


def render_html(request: web.Request, template: str, /, **values: Any) -> str:
    """A template inside the frame of the page."""
    person = person_of(request)
    return draw(template, **request[PAGE_FRAME], person=person, role=person.role, **values)


def render(request: web.Request, template: str, /, **values: Any) -> web.Response:
    """The same as a response."""
    return html_page(render_html(request, template, **values))


class PageRegistry:
    """The pages in the order of the menu. A new page is a class and an entry in this sequence."""

    def __init__(self, guard: Guard, pages: Sequence[Page]) -> None:
        self._guard = guard
        self._pages = pages

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Every address of every page, and the static files, behind the guard."""
        for page in self._pages:
            for route in page.routes():
                framed, need = self._framed(page, route.handler), route.role or page.role
                # Errors of a page and a form are shown as HTML, and strangers are sent to the sign-in.
                handler = self._guard.guard(framed, need=need, page=route.kind in ("page", "form"))
                yield (web.get if route.kind in ("page", "get") else web.post)(route.path, handler)
        for path in sorted(STATIC.iterdir()):
            if path.suffix in MIMES:
                file = partial(_static, path.read_bytes(), MIMES[path.suffix])
                yield web.get(f"/studio/static/{path.name}", self._guard.guard(file, need=None))

    def _framed(self, page: Page, handler: Handler) -> Handler:
        async def framed(request: web.Request) -> web.StreamResponse:
            person = find_person(request)
            listed = [each for each in self._pages if each.listed] if person else []
            menu = [each for each in listed if person and each.role and allowed(person.role, each.role)]
            signed = not self._guard.open_here
            request[PAGE_FRAME] = {"menu": menu, "here": page.name, "signed": signed}
            return await handler(request)

        return framed


async def _static(body: bytes, mime: str, request: web.Request) -> web.Response:
    return cached(request, body, mime)
