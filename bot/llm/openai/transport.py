"""Requests to one deployment through the SDK: without refused parameters, with size limits and timeouts."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, TypeVar, cast
from urllib.parse import quote

import httpx2
import msgspec

from bot.domain.errors import BotError, ConfigError, ModelUnavailable
from bot.domain.turns import Deployment
from bot.llm.failures.lessons import TOOL, Lesson
from bot.llm.failures.waits import spent_for_s
from bot.llm.openai.errors import judge, mapped, refusal
from bot.llm.openai_sdk import openai
from bot.llm.protocol import AnswerTimeout, RequestRejected

log = logging.getLogger(__name__)

Files = list[tuple[str, tuple[str, bytes, str]]]
"""The files of a form: field, and name, bytes, MIME type."""

T = TypeVar("T")

# A model that refuses more parameters than this in sequence is given up.
MAX_LESSONS = 8

_CHECK_S = 30.0


class Transport:
    """Sends requests to a deployment. `refused` are parameters that it has refused; `on_spent` is called with the
    seconds until its rate limit resets, when a response says that it is used up; `on_unauthorized` before a request
    that was answered with 401 is repeated.

    `client` is an AsyncAzureOpenAI for classic paths, an AsyncOpenAI for v1, with `max_retries=0`; `http`
    fetches image URLs. Every method raises only BotErrors.
    """

    def __init__(
        self, deployment: Deployment, client: openai.AsyncOpenAI, http: httpx2.AsyncClient | None
    ) -> None:
        self.refused: set[str] = set()
        self.on_spent: Callable[[float], None] | None = None
        self.on_unauthorized: Callable[[], None] | None = None
        self._deployment = deployment
        self._client = client
        self._http = http
        classic = deployment.wire == "azure"
        self._prefix = f"/deployments/{quote(deployment.name, safe='')}" if classic else ""

    async def ask(
        self,
        path: str,
        body: Callable[[Collection[str]], dict[str, Any]],
        within_s: float,
        files: Files | None = None,
    ) -> httpx2.Response:
        """Send `body(refused)`; after a refusal of a parameter again without it, after a 401 once more with a new
        token. Returns an open response.
        """
        once: set[str] = set()
        renewed = False
        for _ in range(MAX_LESSONS):
            known = self.refused | once
            sent = body(known)
            try:
                async with asyncio.timeout(within_s):
                    response = await self._post(path, sent, files or [])
                if self.on_spent and (wait_s := spent_for_s(response.headers)):
                    self.on_spent(wait_s)
                return response
            except openai.APIStatusError as error:
                judgement = judge(error, sent, known)
                if judgement.lesson is not None:
                    self._learn(judgement.lesson, once, judgement.reply.message)
                elif judgement.row.next == "fresh_token" and not renewed:
                    renewed = True
                    if self.on_unauthorized:
                        self.on_unauthorized()
                else:
                    raise refusal(judgement, self._deployment) from error
            except BotError:
                raise
            except Exception as error:
                raise mapped(error, self._deployment) from error
        raise RequestRejected(
            f"The deployment {self._deployment.name!r} refuses too many parameters: {', '.join(sorted(self.refused))}"
        )

    def _learn(self, lesson: Lesson, once: set[str], told: str) -> None:
        (self.refused if lesson.lasting else once).add(lesson.word)
        if lesson.word.startswith(TOOL):
            words = "Deployment %s refuses the definition of the tool %s, so this answer does without: %s"
            log.warning(words, self._deployment.name, lesson.word.removeprefix(TOOL), told[:300])
        if lesson.lasting:
            log.info("Deployment %s refuses %s, which is remembered", self._deployment.name, lesson.word)

    async def read(self, reads: AsyncIterator[bytes], due: float, ends_at: float) -> bytes | None:
        """The next bytes, or `None` at the end.

        Raises ModelUnavailable after `due`, AnswerTimeout after `ends_at` (both on the loop's clock).
        """
        overlong = AnswerTimeout(f"The answer of {self._deployment.name!r} took too long")
        # available data is read without a pause, so no timeout would end it
        if asyncio.get_running_loop().time() >= ends_at:
            raise overlong
        try:
            async with asyncio.timeout_at(min(due, ends_at)):
                return await anext(reads, None)
        except TimeoutError:
            if ends_at <= due:
                raise overlong from None
            raise ModelUnavailable(f"The deployment {self._deployment.name!r} fell silent") from None
        except Exception as error:
            raise mapped(error, self._deployment) from error

    async def decode(
        self, response: httpx2.Response, read: Callable[[bytes], T], cap: int, within_s: float
    ) -> T:
        """What `read` makes of the body, in a thread. It raises ValueError if the body is invalid."""
        data = await self._body(response, cap, within_s)
        try:
            return await asyncio.to_thread(read, data)
        except ValueError:
            raise ModelUnavailable(
                f"The deployment {self._deployment.name!r} returned an invalid response"
            ) from None

    async def fetch(self, address: str, cap: int, within_s: float) -> bytes:
        """The bytes at a URL, without sending the key or following redirects."""
        if self._http is None:
            raise ConfigError(f"The deployment {self._deployment.name!r} returns URLs instead of images")
        try:
            request = self._http.build_request("GET", address)
            response = await self._http.send(request, stream=True, follow_redirects=False)
        except Exception as error:
            raise mapped(error, self._deployment) from error
        data = await self._body(response, cap, within_s)
        if not response.is_success:
            raise ModelUnavailable(f"The image could not be fetched (status {response.status_code})")
        return data

    async def refuses_nothing(self, path: str) -> None:
        """Send an empty request, which an existing deployment rejects with a 400, free of charge."""
        try:
            async with asyncio.timeout(_CHECK_S):
                response = await self._post(path, {"model": self._deployment.name, "prompt": ""}, [])
                await response.aclose()
        except openai.BadRequestError:
            return
        except Exception as error:
            raise mapped(error, self._deployment) from error

    async def _post(self, path: str, body: dict[str, Any], files: Files) -> httpx2.Response:
        """Send a request through the SDK's client, without its transforms and its objects for each chunk."""
        if files:
            reply = await self._client.post(
                self._prefix + path,
                cast_to=httpx2.Response,
                body=body,
                files=files,
                options={"headers": {"Content-Type": "multipart/form-data"}},
                stream=True,
                stream_cls=openai.AsyncStream[Any],
            )
        else:
            reply = await self._client.post(
                self._prefix + path,
                cast_to=httpx2.Response,
                content=msgspec.json.encode(body),
                stream=True,
                stream_cls=openai.AsyncStream[Any],
            )
        return cast("httpx2.Response", reply)  # cast_to wins over stream_cls

    async def _body(self, response: httpx2.Response, cap: int, within_s: float) -> bytes:
        held = bytearray()
        try:
            async with asyncio.timeout(within_s):
                async for data in response.aiter_bytes():
                    held += data
                    if len(held) > cap:
                        raise ModelUnavailable(f"The response of {self._deployment.name!r} is too large")
        except BotError:
            raise
        except Exception as error:
            raise mapped(error, self._deployment) from error
        finally:
            await response.aclose()
        return bytes(held)
