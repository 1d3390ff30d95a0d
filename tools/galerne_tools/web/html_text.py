"""HTML to text, by the `inscriptis` package: run as `python -m galerne_tools.web.html_text URL`.

HTML comes in on stdin, text goes out, both UTF-8. The process limits itself before it parses: so
much CPU and memory, and no children; who started it ends it where it only waits.
"""

import contextlib
import resource
import sys
from importlib import import_module
from typing import Any

SECONDS = 10
"""CPU that one page may take: a megabyte of list items, the slowest sane page, takes nine."""
_MEMORY = 1024 * 1024 * 1024
_LONGEST = 4 * 1024 * 1024
"""Characters of text: tables can be drawn much wider than they are written."""


def main() -> None:
    """Exits with another status than 0 where the page cannot be made text."""
    _limit()
    html = sys.stdin.buffer.read().decode("utf-8", "replace")
    sys.stdout.buffer.write(to_text(html, sys.argv[1])[:_LONGEST].encode("utf-8", "replace"))
    sys.stdout.buffer.flush()


def to_text(html: str, url: str) -> str:
    """Title, then text with lists, tables and links, whose addresses are whole."""
    lxml_html: Any = import_module("lxml.html")
    inscriptis: Any = import_module("inscriptis.html_engine")
    config: Any = import_module("inscriptis.model.config")
    if not html.strip():
        return ""
    tree = _parsed(lxml_html, html)
    if tree is None:
        return ""
    with contextlib.suppress(ValueError):  # what a page calls a link may be anything
        tree.make_links_absolute(url, resolve_base_href=True, handle_failures="ignore")
    title = " ".join((tree.findtext(".//title") or "").split())
    engine = inscriptis.Inscriptis(tree, config.ParserConfig(display_links=True))
    text = "\n".join(line.rstrip() for line in engine.get_text().splitlines())
    return f"{title}\n\n{text}" if title else text


def _parsed(lxml_html: Any, html: str) -> Any:
    """The tree, None where there is nothing in it. Bytes, since a label in it may be wrong."""
    etree: Any = import_module("lxml.etree")
    parser = lxml_html.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True)
    try:
        return lxml_html.document_fromstring(html.encode("utf-8", "replace"), parser=parser)
    except etree.ParserError:
        return None


def _limit() -> None:
    for kind, most in (
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # a tighter limit holds already
            resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    main()
