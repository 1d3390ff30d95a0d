"""What a site's robots.txt allows, by RFC 9309, read by the `protego` package and kept for a while.

found: its rules ─ no such file (4xx): all is allowed ─ away, or an error of its own: nothing is
Each site is asked once in `KEEP` seconds. At most `MAX_SIZE` bytes count, as the RFC says.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread

from galerne.errors import GalerneError, InvalidSettingsError, ToolError, UnavailableError
from galerne_tools.web.mapping import host_of

KEEP = 3600.0
"""Seconds; a day is the most that the RFC allows."""
MAX_SIZE = 500 * 1024
"""Bytes, the least that the RFC wants to be read."""
_SITES = 500
_AWAY = 60.0
"""Seconds that a site whose robots.txt cannot be had is left alone."""

Get = Callable[[str], Awaitable[tuple[int, bytes]]]
"""Fetches a URL: status and body. Raises GalerneError."""


class Robots:
    """Asks sites, and remembers what they said."""

    def __init__(self, agent: str, clock: Callable[[], float]) -> None:
        """Raises InvalidSettingsError where the extra is missing."""
        try:
            self._library: Any = import_module("protego")
        except ImportError as error:
            raise InvalidSettingsError(
                "tools.web.fetch needs the extra web: pip install 'galerne[web]'"
            ) from error
        self._agent = agent
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, Any]] = OrderedDict()

    async def check(self, url: str, get: Get) -> None:
        """Raises ToolError where the site does not want the page to be read, UnavailableError."""
        parts = urlsplit(url)
        site = f"{parts.scheme}://{parts.netloc}"
        until, rules = self._known.get(site, (0.0, None))
        if until <= self._clock():
            rules, keep = await self._ask(site, get)
            self._known[site] = (self._clock() + keep, rules)
            self._known.move_to_end(site)
            while len(self._known) > _SITES:
                self._known.popitem(last=False)
        if rules is None:
            raise UnavailableError(
                f"the robots.txt of {host_of(url)} cannot be read now, so none of its pages is; "
                "try later or use another source"
            )
        if not await anyio.to_thread.run_sync(rules.can_fetch, url, self._agent):
            raise ToolError(
                f"the robots.txt of {host_of(url)} asks not to read this page; use another source"
            )

    async def _ask(self, site: str, get: Get) -> tuple[Any, float]:
        """Rules, None where nobody knows them, and for how long."""
        try:
            status, body = await get(f"{site}/robots.txt")
        except ToolError:
            raise
        except GalerneError:
            return None, _AWAY
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            return None, _AWAY
        text = body.decode("utf-8-sig", "replace") if status == HTTPStatus.OK else ""
        return await anyio.to_thread.run_sync(self._library.Protego.parse, text), KEEP
