"""What a page of the studio is: one class, from which its menu entry, routes and permissions are made."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from aiohttp import web

from adapters.studio.auth.guard import Handler, person_of
from adapters.studio.auth.session import Role
from adapters.studio.web.rendering import draw, html_page


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

    @property
    def is_html(self) -> bool:
        """Whether errors are shown as a page, and strangers sent to the sign-in."""
        return self.kind in ("page", "form")

    def mounted(self, handler: Handler) -> web.RouteDef:
        """The route of the server, answered by this handler."""
        return (web.get if self.kind in ("page", "get") else web.post)(self.path, handler)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFrame:
    """What surrounds a page: the menu as this person may see it, and the page that is current in it."""

    menu: tuple[Page, ...]
    current: str
    can_sign_out: bool


PAGE_FRAME = web.RequestKey("page_frame", PageFrame)


def render_html(request: web.Request, template: str, /, **values: Any) -> str:
    """A template inside the frame of the page."""
    frame, person = request[PAGE_FRAME], person_of(request)
    return draw(
        template,
        menu=frame.menu,
        here=frame.current,
        signed=frame.can_sign_out,
        person=person,
        role=person.role,
        **values,
    )


def render(request: web.Request, template: str, /, **values: Any) -> web.Response:
    """The same as a response."""
    return html_page(render_html(request, template, **values))
