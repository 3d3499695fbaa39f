"""The part of Microsoft Graph that tells what was said in a chat or in a thread of a channel."""

import html
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

TEAM = "19:team@thread.tacv2"
GROUP = "77777777-6666-4555-a444-333333333333"
Told = dict[str, Any]


def told(id: str, user: str, text: str, app_id: str) -> Told:
    """A message as Graph shows it; without a user it is the bot's."""
    person = {"user": {"id": f"aad-{user}", "displayName": user.title()}}
    bot = {"application": {"id": app_id, "displayName": "Parley", "applicationIdentityType": "bot"}}
    return {
        "id": id,
        "messageType": "message",
        "deletedDateTime": None,
        "from": person if user else bot,
        "body": {"contentType": "html", "content": f"<p>{html.escape(text)}</p>"},
        "attachments": [],
    }


class Graph:
    """Tells messages where `consents` names the room; everywhere else it answers 403.

    `status` is what it answers in place of anything else; `changes` are fields of messages, by their ids. `starts` are
    the times from which on members of a chat see its history, by room and person; without any it tells no members.
    """

    def __init__(self, received: Callable[[str], list[Told]]) -> None:
        self._said = received
        self.consents: set[str] = set()
        self.changes: dict[str, Told] = {}
        self.starts: dict[str, dict[str, str]] = {}
        self.calls: list[str] = []
        self.status = 200
        self.newest_first = True

    def routes(self) -> Iterable[web.RouteDef]:
        """Its paths, as in version 1.0."""
        thread = f"/graph/v1.0/teams/{GROUP}/channels/{{room}}/messages/{{root}}"
        return [
            web.get(thread, self._on_root),
            web.get(f"{thread}/replies", self._on_replies),
            web.get("/graph/v1.0/chats/{room}/members", self._on_members),
            web.get("/graph/v1.0/chats/{room}/messages", self._on_chat),
            web.get("/graph/v1.0/chats/{room}/messages/{message}", self._on_message),
            web.get(f"{thread}/replies/{{message}}", self._on_message),
        ]

    def token(self, tenant: str) -> str:
        """A token for this organisation."""
        return f"graph token of {tenant}"

    def _messages(self, request: web.Request) -> list[Told]:
        room, root = request.match_info["room"], request.match_info.get("root")
        self.calls.append(request.path)
        if not request.headers.get("Authorization", "").startswith("Bearer graph token of "):
            raise web.HTTPUnauthorized(text='{"error": {"code": "InvalidAuthenticationToken"}}')
        if room not in self.consents:
            words = "Missing role permissions on the request. Resource specific consent grants: ''."
            raise web.HTTPForbidden(text=f'{{"error": {{"code": "Forbidden", "message": "{words}"}}}}')
        if self.status == 404:
            raise web.HTTPNotFound(text='{"error": {"code": "NotFound"}}')
        if self.status != 200:
            raise web.HTTPServiceUnavailable(text="{}")
        received = self._said(f"{room};messageid={root}" if root else room)
        return [{**message, **self.changes.get(message["id"], {})} for message in received]

    async def _on_message(self, request: web.Request) -> web.Response:
        found = [one for one in self._messages(request) if one["id"] == request.match_info["message"]]
        if not found:
            raise web.HTTPNotFound(text='{"error": {"code": "NotFound"}}')
        return web.json_response(found[0])

    async def _on_root(self, request: web.Request) -> web.Response:
        return web.json_response(self._messages(request)[0])

    async def _on_replies(self, request: web.Request) -> web.Response:
        return self._page(request, self._messages(request)[1:])

    async def _on_chat(self, request: web.Request) -> web.Response:
        return self._page(request, self._messages(request))

    async def _on_members(self, request: web.Request) -> web.Response:
        starts = self.starts.get(request.match_info["room"])
        if starts is None:
            raise web.HTTPForbidden(text='{"error": {"code": "Forbidden"}}')
        if self.status != 200:
            raise web.HTTPServiceUnavailable(text="{}")
        members = [
            {"userId": f"aad-{user}", "displayName": user.title(), "visibleHistoryStartDateTime": start}
            for user, start in starts.items()
        ]
        return web.json_response({"value": members})

    def _page(self, request: web.Request, messages: list[Told]) -> web.Response:
        ordered = messages[::-1] if self.newest_first else messages
        begin, size = int(request.query.get("$skip", 0)), min(int(request.query["$top"]), 50)
        page: Told = {"value": list(itertools.islice(ordered, begin, begin + size))}
        if begin + size < len(ordered):
            page["@odata.nextLink"] = str(request.url.update_query({"$skip": begin + size}))
        return web.json_response(page)
