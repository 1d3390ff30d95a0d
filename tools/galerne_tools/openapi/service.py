"""One service: sends requests, logs in, and tells what was never sent from what may have happened.

    not connected ─▶ surely not done: passing
    connected, then silence, a break, a time limit ─▶ may be done: in doubt for a `once` operation

A session lives as long as one call, and what breaks off is not sent again here: whether it may be
is the effect's to say. The secret goes to the base's host and nowhere else, since
redirects are not followed.
"""

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import aiohttp
import anyio
from yarl import URL

from galerne.errors import DeadlineError, GalerneError, ToolError, UnavailableError
from galerne.settings import OpenApiSettings
from galerne.tools import ToolContext
from galerne_tools.openapi.operations import Operation
from galerne_tools.openapi.reply import Answer, doubt, value_of
from galerne_tools.openapi.request import Request, request_of
from galerne_tools.secrets import Secret
from galerne_tools.web.body import ENCODINGS, read_body
from galerne_tools.web.mapping import host_of


class _BrokenOffError(aiohttp.ClientError):
    """The connection ended before the answer's head."""


async def _not_again(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """A GET, PUT or DELETE whose connection broke is sent a second time by aiohttp itself."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise  # nothing was sent
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _BrokenOffError(type(error).__name__) from error


class Service:
    """Calls the operations of one service."""

    def __init__(self, settings: OpenApiSettings, base: str, secret: Secret) -> None:
        self._settings = settings
        self._base = base
        self._secret = secret

    async def call(
        self, operation: Operation, arguments: Mapping[str, Any], context: ToolContext
    ) -> Any:
        """The value of the answer. Raises ToolError, InDoubtError, TransientError."""
        request = request_of(operation, arguments, context.key)
        answer = await self._answer(operation, request)
        return value_of(operation, answer, self._secret)

    async def _answer(self, operation: Operation, request: Request) -> Answer:
        is_sent = False

        async def connected(*_: object) -> None:
            nonlocal is_sent
            is_sent = True

        seconds = self._settings.timeout
        try:
            with anyio.fail_after(seconds):
                return await self._exchange(request, connected)
        except GalerneError:
            raise
        except TimeoutError as error:
            if is_sent and operation.effect == "once":
                raise doubt(operation, f"did not answer within {seconds:g} s") from error
            raise DeadlineError(
                f"{operation.name}: {host_of(self._base)} did not answer within {seconds:g} s; "
                "try later"
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._broken(operation, error, is_sent=is_sent) from None

    def _broken(self, operation: Operation, error: Exception, *, is_sent: bool) -> GalerneError:
        """Without its cause, whose text holds the whole URL, and so perhaps the secret."""
        kind = str(error) if isinstance(error, _BrokenOffError) else type(error).__name__
        if is_sent:
            return doubt(operation, f"broke off ({kind})")
        return UnavailableError(
            f"{operation.name}: {host_of(self._base)} cannot be reached ({kind}); try later"
        )

    async def _exchange(self, request: Request, connected: Callable[..., Any]) -> Answer:
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(connected)
        url, headers = self._logged_in(request)
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                middlewares=(_not_again,),
                trace_configs=[trace],
            ) as session,
            session.request(
                request.method, url, headers=headers, data=request.body, allow_redirects=False
            ) as response,
        ):
            try:
                body = await read_body(response, self._settings.max_answer)
                data, cut = body.data, body.cut
            except ToolError:  # in a form that cannot be read: the status still counts
                data, cut = b"", True
            return Answer(
                status=response.status,
                kind=response.headers.get("Content-Type", ""),
                data=data,
                cut=cut,
                location=response.headers.get("Location", ""),
                retry_after=response.headers.get("Retry-After", ""),
            )

    def _logged_in(self, request: Request) -> tuple[URL, dict[str, str]]:
        headers = {
            "Accept": "application/json, text/plain;q=0.5, */*;q=0.1",
            "Accept-Encoding": ENCODINGS,
            "User-Agent": "Galerne",
            **request.headers,
        }
        url = self._base + request.target
        secret, name = self._secret.reveal(), self._settings.auth_name or ""
        match self._settings.auth:
            case "none":
                pass
            case "bearer":
                headers["Authorization"] = f"Bearer {secret}"
            case "basic":
                headers["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"
            case "header":
                headers[name] = secret
            case "query":
                sign = "&" if "?" in request.target else "?"
                url += f"{sign}{quote(name, safe='')}={quote(secret, safe='')}"
        return URL(url, encoded=True), headers


def allowance(settings: OpenApiSettings) -> float:
    """Seconds for the tool, a little more than for its request, which has its own words."""
    return math.ceil(settings.timeout) + 2.0
