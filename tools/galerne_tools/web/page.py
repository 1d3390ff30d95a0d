"""From the bytes of an answer to text that a model can read.

Bytes become characters by the mark at their beginning, by what the head says, by what the page
says of itself, and else as UTF-8; a wrong label spoils characters and never the page. HTML becomes
text in a process of its own, which may take so much time and memory and no more: a page is a
stranger's, and parsers have their worst cases.
"""

import codecs
import os
import re
import sys
from email.message import Message
from http import HTTPStatus
from subprocess import PIPE

import anyio
import msgspec

from galerne.errors import ToolError
from galerne_tools.web.fetching import Fetched
from galerne_tools.web.html_text import SECONDS
from galerne_tools.web.mapping import host_of

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_META = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{2,40})""", re.IGNORECASE)
_META_WITHIN = 2048
_KNOWN = re.compile(
    r"utf[-_]?8|utf[-_]?16([-_]?(le|be))?|iso[-_]?8859[-_]\d{1,2}|(windows|cp)[-_]?\d{3,4}|koi8[-_][ru]"
    r"|shift[-_]?jis|sjis|euc[-_](jp|kr)|iso[-_]2022[-_]jp|gb[-_]?(k|2312|18030)|big5([-_]hkscs)?"
    r"|tis[-_]620|mac(roman|intosh|[-_]cyrillic)",
    re.IGNORECASE,
)
"""Encodings of pages. Python knows more under such names: archives, escapes, and slow ones."""
_HTML = frozenset({"text/html", "application/xhtml+xml"})
_LOOKS_LIKE_HTML = re.compile(rb"\s*(<!doctype html|<html|<head|<body|<!--)", re.IGNORECASE)
_BINARY = bytes(set(range(32)) - set(b"\t\n\f\r\x1b"))
_SLACK = 5.0
"""Seconds for a process to begin and to end."""


class Page(msgspec.Struct, frozen=True):
    """A page as text; `cut`: there was more of it."""

    url: str
    text: str
    cut: bool


async def page_of(fetched: Fetched) -> Page:
    """Raises ToolError for what is no text, or no page at all."""
    kind = _type_of(fetched.kind)
    if fetched.status >= HTTPStatus.BAD_REQUEST:
        raise ToolError(_failed(fetched))
    data = fetched.body.data
    if kind == "application/pdf" or data.startswith(b"%PDF-"):
        raise ToolError("this is a PDF, which fetch_page cannot read; look for a page in HTML")
    is_html = kind in _HTML or (not kind and bool(_LOOKS_LIKE_HTML.match(data[:1024])))
    if not is_html and not _is_text(kind, data):
        raise ToolError(
            f"this is {kind or 'binary data'!r} and not text; look for a page in HTML or text"
        )
    text = decoded(data, fetched.kind, is_html=is_html)
    if is_html:
        text = await html_to_text(text, fetched.url)
    return Page(url=fetched.url, text=text.strip(), cut=fetched.body.cut)


def decoded(data: bytes, content_type: str, *, is_html: bool) -> str:
    """Characters, whatever the labels say; what cannot be read is `�`, NUL is a blank."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace").replace("\0", " ")
    stated = _charset(content_type)
    if not stated and is_html:
        found = _META.search(data[:_META_WITHIN])
        stated = found[1].decode("ascii", "replace") if found else ""
    name = _codec(stated)
    try:
        text = data.decode(name or "utf-8", "replace" if name else "strict")
    except UnicodeDecodeError as error:
        is_cut_character = error.end == len(data) and error.start > len(data) - 4
        text = data.decode("utf-8" if is_cut_character else "cp1252", "replace")
    return text.replace("\0", " ")


async def html_to_text(html: str, url: str) -> str:
    """In another process. Raises ToolError where that takes too long or too much memory."""
    command = [sys.executable, "-P", "-m", "galerne_tools.web.html_text", url]
    kept = ("PYTHONPATH", "PATH", "SYSTEMROOT", "LANG")  # and no secret of this worker
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    given = html.encode("utf-8", "replace")
    try:
        with anyio.fail_after(SECONDS + _SLACK):
            done = await anyio.run_process(
                command, input=given, check=False, stderr=PIPE, env=environment
            )
    except TimeoutError as error:
        raise ToolError(_unreadable(url)) from error
    if done.returncode != 0:
        raise ToolError(_unreadable(url))
    return done.stdout.decode("utf-8", "replace")


def _unreadable(url: str) -> str:
    return f"the HTML of this page on {host_of(url)} cannot be made text; use another source"


def _failed(fetched: Fetched) -> str:
    try:
        phrase = f" {HTTPStatus(fetched.status).phrase}"
    except ValueError:
        phrase = ""
    host = host_of(fetched.url)
    return f"{host} answers {fetched.status}{phrase}; check the address or use another source"


def _type_of(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()[:80]


def _is_text(kind: str, data: bytes) -> bool:
    is_named = (
        kind.startswith("text/")
        or kind.endswith(("+json", "+xml", "/json", "/xml", "javascript", "yaml"))
        or kind in {"", "application/octet-stream", "application/toml"}
    )
    has_mark = any(data.startswith(mark) for mark, _ in _MARKS)
    return is_named and (has_mark or data[:4096].translate(None, _BINARY) == data[:4096])


def _charset(content_type: str) -> str:
    message = Message()
    try:
        message["content-type"] = " ".join(content_type.split())[:200]
        return message.get_content_charset("") or ""
    except (LookupError, ValueError, TypeError):
        return ""


def _codec(stated: str) -> str:
    """Python's name for it, empty where it is none of a page's. Latin-1 is read as browsers do."""
    name = stated.strip().lower()
    if name in {"ascii", "us-ascii", "latin1", "latin-1", "iso-8859-1", "iso8859-1"}:
        return "cp1252"
    if not _KNOWN.fullmatch(name):
        return ""
    try:
        return codecs.lookup(name).name
    except LookupError:
        return ""
