"""The tools that read the web and search it."""

from typing import Literal

from galerne.settings.section import Section

SearchKind = Literal["searxng", "brave"]


class WebSettings(Section, frozen=True):
    """`fetch_page` and `search_web`; each is there when it is switched on here."""

    fetch: bool = False
    """Whether pages may be fetched. Off: a model that reads strangers' pages may be misled by what
    stands in them, so this is yours to say. Needs the extra `web`."""
    private: tuple[str, ...] = ()
    """Networks that may be reached although they are not the public internet, such as
    `10.1.0.0/16`. None: whatever a page or a model says, nothing inside your network is asked."""
    timeout: float = 20.0
    """Seconds for a page with its robots.txt and its redirects: slower ones are hardly read by
    people either."""
    max_page: int = 2 * 1024 * 1024
    """Bytes of a page, decompressed, that are read; the rest is cut off. Nineteen of twenty pages
    are smaller."""
    redirects: int = 5
    """Redirects that are followed; browsers follow 20, pages need two."""
    robots: bool = True
    """Whether a site's robots.txt is obeyed."""
    agent: str = "Galerne"
    """The name under which sites know this reader; robots.txt may name it."""
    search: SearchKind | None = None
    """What answers searches: a SearxNG of your own, or Brave's API. None: no `search_web`."""
    search_url: str | None = None
    """Address of the SearxNG (its `json` format switched on), or another one of Brave's API."""
    search_key_variable: str | None = None
    """Environment variable with the key, which Brave wants. So the key is in no settings."""
    search_key_file: str | None = None
    """File whose one line is the key; not together with the variable."""
