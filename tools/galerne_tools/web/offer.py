"""The tools `fetch_page` and `search_web`, each where the settings switch it on (`[tools.web]`).

A long page is given in slices, each call reads the next. Pages just read are kept for a little
while, so that their slices fit together and a site is asked once.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from importlib.util import find_spec
from typing import Annotated

import msgspec
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver

from galerne.errors import InvalidSettingsError, ToolError
from galerne.settings import ToolSettings, WebSettings
from galerne.tools import AnyTool, tool
from galerne_tools.secrets import read_secret
from galerne_tools.web.fetching import Fetcher
from galerne_tools.web.html_text import SECONDS
from galerne_tools.web.page import Page, page_of
from galerne_tools.web.search import Found, Search

MAX_SLICE = 20_000
"""Characters of a page in one call: about 6,000 tokens, a fifth of what a 7B model can read."""
KEEP = 300.0
"""Seconds that a page is kept, from one slice to the next."""
_KEPT_PAGES = 16

Clock = Callable[[], float]


class WebTools:
    """`fetch_page` over one fetcher."""

    def __init__(self, fetcher: Fetcher, clock: Clock = time.monotonic) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, Page]] = OrderedDict()

    async def fetch_page(
        self,
        url: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)],
        start: Annotated[int, msgspec.Meta(ge=0)] = 0,
    ) -> str:
        """Read a page of the web as text: HTML, plain text or JSON. Not PDF.

        A note at the end says where to go on if there is more.

        Args:
            url: The whole address, with http:// or https://.
            start: The first character of the page's text to read; they count from 0.
        """
        return sliced(await self._page(url, is_first=start == 0), start)

    async def _page(self, url: str, *, is_first: bool) -> Page:
        until, kept = self._kept.get(url, (0.0, None))
        if kept is not None and until > self._clock() and not is_first:
            return kept
        page = await page_of(await self._fetcher.fetch(url))
        self._kept[url] = (self._clock() + KEEP, page)
        self._kept.move_to_end(url)
        while len(self._kept) > _KEPT_PAGES:
            self._kept.popitem(last=False)
        return page


def sliced(page: Page, start: int) -> str:
    """The text from `start` on, cut at the end of a line if there is one near, and a note.

    Raises ToolError where the page is shorter than that.
    """
    size = len(page.text)
    if not size:
        raise ToolError(f"the page {page.url} has no text; use another source")
    if start >= size:
        raise ToolError(f"the page's text ends after {size} characters; start before that")
    end = min(start + MAX_SLICE, size)
    if end < size:
        line = page.text.rfind("\n", start + MAX_SLICE // 2, end)
        end = line + 1 if line >= 0 else end
    text = page.text[start:end]
    if end < size:
        note = f"characters {start} to {end - 1} of {size}; read on with start={end}"
        return f"{text.rstrip()}\n[{note}]"
    return f"{text}\n[the page was longer; the rest was not read]" if page.cut else text


def tools(settings: ToolSettings) -> list[AnyTool]:
    """What `[tools.web]` switches on. Raises InvalidSettingsError."""
    web = settings.web
    offered: list[AnyTool] = []
    if web.fetch:
        offered.append(fetching_tool(web))
    if web.search is not None:
        key = read_secret(web.search_key_variable, web.search_key_file, "tools.web.search_key")
        offered.append(_searching_tool(web, Search(web, key)))
    return offered


def fetching_tool(
    web: WebSettings, *, resolver: Callable[[], AbstractResolver] = ThreadedResolver
) -> AnyTool:
    """`fetch_page`. Raises InvalidSettingsError where the extra is missing."""
    if find_spec("inscriptis") is None:
        raise InvalidSettingsError("tools.web.fetch needs an extra: pip install 'galerne[web]'")
    pages = WebTools(Fetcher(web, resolver=resolver))
    return tool(effect="pure", timeout=web.timeout + SECONDS + 10)(pages.fetch_page)


def _searching_tool(web: WebSettings, engine: Search) -> AnyTool:
    @tool(effect="pure", timeout=web.timeout + 5)
    async def search_web(
        query: Annotated[str, msgspec.Meta(min_length=1, max_length=400)],
        count: Annotated[int, msgspec.Meta(ge=1, le=20)] = 5,
    ) -> list[Found]:
        """Search the web. Gives title, address and a few words of each page found.

        Args:
            query: What to look for, as one would type it.
            count: How many pages at the most.
        """
        return await engine.search(query, count)

    return search_web
