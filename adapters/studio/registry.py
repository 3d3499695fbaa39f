"""The pages of the studio in the order of its menu; the menu, the routes and the guard are made from them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from aiohttp import web

from adapters.studio.auth.guard import Guard, Handler, find_person
from adapters.studio.auth.session import Role, allowed
from adapters.studio.page import PAGE_FRAME, Page, PageFrame
from adapters.studio.web.rendering import cached

STATIC = Path(__file__).parent / "static"
MIMES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class PageRegistry:
    """A new page is a class and an entry in the sequence that this is made of."""

    def __init__(self, guard: Guard, pages: Sequence[Page]) -> None:
        self._guard = guard
        self._pages = pages

    def menu(self, role: Role) -> tuple[Page, ...]:
        """The entries that this role sees."""
        return tuple(
            page for page in self._pages if page.listed and page.role is not None and allowed(role, page.role)
        )

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """Every address of every page, and the static files, behind the guard."""
        for page in self._pages:
            for route in page.routes():
                framed, need = self._framed(page, route.handler), route.role or page.role
                yield route.mounted(self._guard.guard(framed, need=need, page=route.is_html))
        for path in sorted(STATIC.iterdir()):
            if path.suffix in MIMES:
                yield web.get(f"/studio/static/{path.name}", self._guard.guard(_file(path), need=None))

    def _framed(self, page: Page, handler: Handler) -> Handler:
        async def framed(request: web.Request) -> web.StreamResponse:
            person = find_person(request)
            request[PAGE_FRAME] = PageFrame(
                menu=self.menu(person.role) if person is not None else (),
                current=page.name,
                can_sign_out=not self._guard.open_here,
            )
            return await handler(request)

        return framed


def _file(path: Path) -> Handler:
    """A static file, read once."""
    body, mime = path.read_bytes(), MIMES[path.suffix]

    async def serve(request: web.Request) -> web.Response:
        return cached(request, body, mime)

    return serve
