"""One page over HTTP: checked before each request, redirects followed here and not by aiohttp.

    URL ─▶ may be asked? ─▶ robots? ─▶ connect (guard: to a checked address) ─▶ answer
     ▲                                                                            │
     └──────────────────────────── redirect, a few times ◀────────────────────────┘

A session lives as long as one fetch: no cookies, no logins and no connections are shared.
"""

import socket
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urljoin

import aiohttp
import anyio
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from galerne.errors import ToolError
from galerne.settings import WebSettings
from galerne_tools.web.address import Network, check_url, is_allowed, networks, refused
from galerne_tools.web.body import ENCODINGS, Body, read_body
from galerne_tools.web.mapping import host_of, mapped
from galerne_tools.web.robots import MAX_SIZE, Robots

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ACCEPT = "text/html, application/xhtml+xml, text/plain, application/json;q=0.9, */*;q=0.1"


class Fetched(msgspec.Struct, frozen=True):
    """An answer, after all redirects; `kind` is its content type as it was sent."""

    url: str
    status: int
    kind: str
    body: Body


class Fetcher:
    """Fetches pages within the limits of the settings."""

    def __init__(
        self,
        settings: WebSettings,
        *,
        resolver: Callable[[], AbstractResolver] = ThreadedResolver,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises InvalidSettingsError."""
        self._settings = settings
        self._private = networks(settings.private)
        self._resolver = resolver
        self._robots = Robots(settings.agent, clock) if settings.robots else None

    async def fetch(self, url: str) -> Fetched:
        """Raises ToolError, DeadlineError, UnavailableError."""
        seconds = self._settings.timeout
        with mapped(url, seconds), anyio.fail_after(seconds):
            async with self._session() as session:
                return await self._follow(session, url, self._settings.max_page, self._robots)

    async def _follow(
        self, session: aiohttp.ClientSession, url: str, most: int, robots: Robots | None
    ) -> Fetched:
        first = url
        for _ in range(self._settings.redirects + 1):
            url = check_url(url, self._private)
            if robots is not None:
                await robots.check(url, lambda of: self._robots_txt(session, of))
            async with session.get(_parsed(url), allow_redirects=False) as response:
                onward = response.headers.get("Location")
                if response.status not in _REDIRECTS or onward is None:
                    kind = response.headers.get("Content-Type", "")
                    return Fetched(url, response.status, kind, await read_body(response, most))
            url = _onward(url, onward)
        raise ToolError(
            f"{host_of(first)} redirects more than {self._settings.redirects} times; "
            "use another source"
        )

    async def _robots_txt(self, session: aiohttp.ClientSession, url: str) -> tuple[int, bytes]:
        half = self._settings.timeout / 2
        with mapped(url, half), anyio.fail_after(half):
            answer = await self._follow(session, url, MAX_SIZE, None)
        return answer.status, answer.body.data

    @asynccontextmanager
    async def _session(self) -> AsyncGenerator[aiohttp.ClientSession]:
        connector = aiohttp.TCPConnector(
            resolver=_Resolver(self._resolver(), self._private),
            socket_factory=_guard(self._private),
            happy_eyeballs_delay=None,
            use_dns_cache=False,
            force_close=True,
        )
        headers = {
            "User-Agent": self._settings.agent,
            "Accept": _ACCEPT,
            "Accept-Encoding": ENCODINGS,
        }
        session = aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=self._settings.timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )
        async with session:
            yield session


class _Resolver(AbstractResolver):
    """Refuses a name as soon as one of its addresses is refused: an honest name has no such one."""

    def __init__(self, inner: AbstractResolver, private: Sequence[Network]) -> None:
        self._inner = inner
        self._private = private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for one in found:
            if not is_allowed(one["host"], self._private):
                raise refused(host, one["host"])
        return found

    async def close(self) -> None:
        await self._inner.close()


def _guard(private: Sequence[Network]) -> Callable[[Any], socket.socket]:
    """Makes the socket for an address, or refuses: nothing is looked up after this."""

    def make(info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        if not is_allowed(str(address[0]), private):
            raise refused(str(address[0]), str(address[0]))
        return socket.socket(family, kind, protocol)

    return make


def _onward(url: str, location: str) -> str:
    try:
        return urljoin(url, location.strip().replace(" ", "%20"))
    except ValueError as error:
        raise ToolError(f"{host_of(url)} redirects to nowhere; use another source") from error


def _parsed(url: str) -> URL:
    try:
        return URL(url)
    except ValueError as error:
        raise ToolError(f"{host_of(url)!r} is no host; correct the address") from error
