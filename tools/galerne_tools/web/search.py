"""Searching the web by an endpoint of the operator's: a SearxNG, or Brave's API.

Its address and key are settings, so unlike a page it may be anywhere. Redirects are not followed,
since the key would go with them.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import aiohttp
import anyio
import msgspec

from galerne.errors import (
    InvalidSettingsError,
    RateLimitedError,
    ToolError,
    UnavailableError,
)
from galerne.settings import WebSettings
from galerne_tools.secrets import Secret
from galerne_tools.web.body import ENCODINGS, read_body
from galerne_tools.web.mapping import host_of, mapped

BRAVE = "https://api.search.brave.com/res/v1/web/search"
_MAX_ANSWER = 1024 * 1024
_MAX_TEXT = 500
"""Characters of what a result says of itself."""
_TAG = re.compile(r"</?(?:b|strong|em|i|span|mark)\b[^>]{0,100}>", re.IGNORECASE)


class Found(msgspec.Struct, frozen=True):
    """A page that was found."""

    title: str
    url: str
    text: str


class Search:
    """One endpoint."""

    def __init__(self, settings: WebSettings, key: Secret) -> None:
        """Raises InvalidSettingsError where there is no address or no key for it."""
        self._kind = settings.search
        self._key = key
        self._settings = settings
        if self._kind == "brave" and not key:
            raise InvalidSettingsError(
                "tools.web.search = 'brave' needs a key: name the variable that holds it in "
                "tools.web.search_key_variable"
            )
        url = settings.search_url or (BRAVE if self._kind == "brave" else "")
        if not url.startswith(("http://", "https://")):
            raise InvalidSettingsError(
                "tools.web.search_url must be the http:// or https:// address of the SearxNG"
            )
        is_base = self._kind == "searxng" and not url.rstrip("/").endswith("/search")
        self._url = f"{url.rstrip('/')}/search" if is_base else url

    async def search(self, query: str, count: int) -> list[Found]:
        """Raises ToolError, DeadlineError, UnavailableError, RateLimitedError."""
        seconds = self._settings.timeout
        with mapped(self._url, seconds), anyio.fail_after(seconds):
            async with (
                aiohttp.ClientSession(headers=self._headers(), auto_decompress=False) as session,
                session.get(
                    self._url, params=self._query(query, count), allow_redirects=False
                ) as response,
            ):
                self._check(response.status)
                body = await read_body(response, _MAX_ANSWER)
        try:
            answer = msgspec.json.decode(body.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnavailableError(self._says("no JSON; try later")) from error
        return [found for found in _results(answer, self._kind) if found.url][:count]

    def _headers(self) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": ENCODINGS,
            "User-Agent": self._settings.agent,
        }
        if self._kind == "brave":
            return headers | {"X-Subscription-Token": self._key.reveal()}
        return headers | ({"Authorization": f"Bearer {self._key.reveal()}"} if self._key else {})

    def _query(self, query: str, count: int) -> dict[str, str]:
        if self._kind == "brave":
            return {"q": query, "count": str(count), "text_decorations": "false"}
        return {"q": query, "format": "json"}

    def _check(self, status: int) -> None:
        match status:
            case 200:
                return
            case 429:
                raise RateLimitedError(self._says("that it was asked too often; try later"))
            case 401 | 403:
                raise ToolError(
                    self._says(
                        f"{status}: its key or its json format is not switched on; go on "
                        "without searching"
                    )
                )
            case _ if status >= 500:  # noqa: PLR2004 - as HTTP counts
                raise UnavailableError(self._says(f"{status}; try later"))
            case _:
                raise ToolError(self._says(f"{status}; ask in other words"))

    def _says(self, what: str) -> str:
        return f"the search on {host_of(self._url)} answers {what}"


def _results(answer: Any, kind: str | None) -> list[Found]:
    """Whatever of the answer has the form of a result."""
    listed: Any = _at(_at(answer, "web"), "results") if kind == "brave" else _at(answer, "results")
    text = "description" if kind == "brave" else "content"
    if not isinstance(listed, list):
        return []
    return [
        Found(_line(_at(one, "title")), _url(_at(one, "url")), _line(_at(one, text)))
        for one in cast("Sequence[Any]", listed)
    ]


def _at(value: Any, name: str) -> Any:
    return cast("Mapping[str, Any]", value).get(name) if isinstance(value, dict) else None


def _line(value: Any) -> str:
    return " ".join(_TAG.sub("", value).split())[:_MAX_TEXT] if isinstance(value, str) else ""


def _url(value: Any) -> str:
    is_url = isinstance(value, str) and value.startswith(("http://", "https://"))
    return "".join(value.split()) if is_url else ""
