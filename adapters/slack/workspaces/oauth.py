"""The pages that install the app in a workspace or an organisation."""

import html
import logging
import secrets
from urllib.parse import urlencode, urljoin

from aiohttp import web

from adapters.slack.api.web_api import SlackRejected
from adapters.slack.manifest import INSTALL_PATH, SCOPES
from adapters.slack.workspaces.installations import Installations, NotServed
from bot.domain.adapter import Secrets
from bot.domain.errors import ConfigError, PlatformUnavailable, StateUnavailable

log = logging.getLogger(__name__)

STATE_LIFE_S = 600
COOKIE = "parley_slack_install"
STATE = "slack:state:"
NOT_SERVED = (
    "The people who run this Parley serve only certain workspaces, and yours is not among them. Nothing was installed. "
    "Ask them to add your workspace, then start again."
)

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Parley in Slack</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}}</style>
<h1>{title}</h1><p>{words}</p></html>"""


class InstallPages:
    """The install page and the redirect URL. Each attempt has a one-time state, bound to the browser by a cookie."""

    def __init__(self, installations: Installations, secrets: Secrets, api_url: str) -> None:
        self._installations, self._secrets = installations, secrets
        self._authorize = urljoin(api_url, "/oauth/v2/authorize")

    async def install(self, request: web.Request) -> web.StreamResponse:
        """Send the browser to Slack, which asks for consent."""
        state = secrets.token_urlsafe(32)
        try:
            await self._secrets.put(f"{STATE}{state}", b"1", STATE_LIFE_S)
        except (ConfigError, StateUnavailable) as error:
            log.warning("Can't start an installation: %s", error)
            return _page(503, "Temporarily unavailable", "Please try again in a moment.")
        scope = ",".join(sorted(SCOPES))
        query = {"client_id": self._installations.client_id, "scope": scope, "state": state}
        response = web.Response(status=302, headers={"Location": f"{self._authorize}?{urlencode(query)}"})
        secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(
            COOKIE, state, max_age=STATE_LIFE_S, path="/slack", httponly=True, secure=secure, samesite="Lax"
        )
        return response

    async def redirect(self, request: web.Request) -> web.StreamResponse:
        """Exchange the code with which Slack sends the browser back."""
        state, code = request.query.get("state", ""), request.query.get("code", "")
        ours = request.cookies.get(COOKIE, "")
        try:
            given, kept = (value.encode(errors="replace") for value in (state, ours))
            known = bool(state) and secrets.compare_digest(given, kept)
            if not known or await self._secrets.take(f"{STATE}{state}") is None:
                return _page(400, "Link expired", f"Please start again at {INSTALL_PATH}.")
            if not code:
                return _page(200, "Not installed", "You declined the installation. Nothing was changed.")
            installed = await self._installations.add(await self._installations.exchange(code=code))
        except NotServed as error:
            log.warning("An installation was refused: %s", error)
            return _page(403, "Not available for your workspace", NOT_SERVED)
        except SlackRejected as error:
            log.warning("The app could not be installed: %s", error)
            return _page(400, "Not installed", f"Slack rejected it ({error.code}). Please try again.")
        except (ConfigError, PlatformUnavailable, StateUnavailable) as error:
            log.warning("The app could not be installed: %s", error)
            return _page(503, "Temporarily unavailable", "Please try again in a moment.")
        log.info("The app was installed in %s", installed.team or installed.enterprise)
        return _page(200, "Parley is installed", "Send it a message in Slack, or mention it in a channel.")


def _page(status: int, title: str, words: str) -> web.Response:
    body = PAGE.format(title=html.escape(title), words=html.escape(words))
    response = web.Response(status=status, text=body, content_type="text/html")
    response.headers["Cache-Control"] = "no-store"
    response.del_cookie(COOKIE, path="/slack")
    return response
