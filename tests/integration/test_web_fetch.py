"""`fetch_page` against real servers on the loopback, honest and hostile ones."""

import asyncio
import contextlib
import gzip
import socket
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from galerne.messages.tools import ToolRefused
from galerne.settings import ToolSettings, WebSettings
from galerne.tools import AnyTool
from galerne_tools.web.offer import MAX_SLICE, fetching_tool, tools
from integration.raw_http import Answer, RawServer, answer, redirect, serving
from unit.tools.calls import call, refusal_of, value_of

pytestmark = pytest.mark.anyio

PAGE = "<html><head><title>A storm</title></head><body><h1>Storm</h1><p>At <a href='/sea'>sea</a>"
HERE = WebSettings(fetch=True, private=("127.0.0.0/8",), timeout=5)
SHORT = msgspec.structs.replace(HERE, timeout=0.5)


class Names(AbstractResolver):
    """Answers for every name with the next list of addresses; the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - aiohttp's form
    ) -> list[ResolveResult]:
        self.asked += 1
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def site(
    settings: WebSettings = HERE, **answers: Answer
) -> AsyncGenerator[tuple[AnyTool, RawServer]]:
    """A server with `/page` and other paths by their names, and the tool."""
    async with serving({f"/{name}": given for name, given in answers.items()}) as server:
        yield fetching_tool(settings), server


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"storm at sea\n" * 5000)
            await writer.drain()


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.05)


async def silent(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while not writer.transport.is_closing():
            await asyncio.sleep(0.05)


async def head_without_end(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"X-More: and more\r\n" * 1000)
            await writer.drain()


# pages


async def test_a_page_is_text_with_its_title_and_whole_links() -> None:
    async with site(page=answer(PAGE)) as (fetch, server):
        text = await value_of(fetch, url=f"{server.url}/page")
    assert text == f"A storm\n\nStorm\n\nAt [sea]({server.url}/sea)"
    assert "User-Agent: Galerne" in server.asked[-1]


async def test_scripts_styles_and_comments_are_no_text() -> None:
    page = "<style>a{}</style><script>alert(1)</script><!-- secret --><p>seen</p>"
    async with site(page=answer(page)) as (fetch, server):
        assert await value_of(fetch, url=f"{server.url}/page") == "seen"


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("text/plain; charset=utf-8", "häuser".encode(), "häuser"),
        ("text/plain; charset=latin-1", b"h\xe4user", "häuser"),
        ("text/plain", b"h\xe4user", "häuser"),
        ("text/plain; charset=utf-8", b"h\xe4user", "h�user"),
        ("text/plain; charset=no-such", "häuser".encode(), "häuser"),
        ("text/plain; charset=rot13", b"storm", "storm"),
        ("text/plain; charset=unicode_escape", b"a\\u0041", "a\\u0041"),
        ("text/plain; charset=zlib", b"storm", "storm"),
        ("text/plain; charset==;;\"'", b"storm", "storm"),
        ("text/plain; charset=shift_jis", "日本".encode("shift_jis"), "日本"),
        ("text/plain; charset=latin-1", b"\xef\xbb\xbfh\xc3\xa4user", "häuser"),
        ("text/plain", b"\xff\xfeh\0i\0", "hi"),
        ("text/html", "<meta charset='koi8-r'><p>мир".encode("koi8-r"), "мир"),
        ("text/html; charset=utf-8", "<meta charset=latin-1><p>häuser".encode(), "häuser"),
        ("text/html", b"<?xml version='1.0' encoding='utf-16'?><p>storm", "storm"),
        ("application/json", b'{"a": [1]}', '{"a": [1]}'),
        ("application/problem+json", b"{}", "{}"),
        ("", b"<!doctype html><p>storm", "storm"),
        ("", b"storm", "storm"),
    ],
)
async def test_the_forms_of_text(kind: str, body: bytes, text: str) -> None:
    async with site(page=answer(body, kind)) as (fetch, server):
        assert await value_of(fetch, url=f"{server.url}/page") == text


@pytest.mark.parametrize(
    ("kind", "body", "why"),
    [
        ("application/pdf", b"%PDF-1.7", "PDF"),
        ("text/html", b"%PDF-1.7 ...", "PDF"),
        ("image/png", b"\x89PNG", "not text"),
        ("text/plain", b"a\0b\0\x01", "not text"),
        ("application/octet-stream", b"\x7fELF\x02\x01\x01\0", "not text"),
        ("text/html", b"", "no text"),
        ("text/html", b"<script>1</script>", "no text"),
    ],
)
async def test_what_is_no_text_is_said_to_be_none(kind: str, body: bytes, why: str) -> None:
    async with site(page=answer(body, kind)) as (fetch, server):
        refused = await refusal_of(fetch, url=f"{server.url}/page")
    assert (refused.code, why in refused.message) == ("tool", True), refused


@pytest.mark.parametrize("status", ["404 Not Found", "500 No", "401 No", "799 What"])
async def test_an_error_of_the_site_is_told(status: str) -> None:
    async with site(page=answer(PAGE, status=status)) as (fetch, server):
        refused = await refusal_of(fetch, url=f"{server.url}/page")
    assert status[:3] in refused.message


async def test_a_long_page_is_read_in_slices_that_make_the_whole() -> None:
    lines = "".join(f"line {n} of a long page\n" for n in range(3000))
    async with site(page=answer(lines, "text/plain")) as (fetch, server):
        read, start = "", 0
        while True:
            text = await value_of(fetch, url=f"{server.url}/page", start=start)
            body, _, note = text.rpartition("\n[")
            if "read on with start=" not in note:
                read += text
                break
            assert len(body) <= MAX_SLICE
            read += body + "\n"
            start = int(note.partition("start=")[2].rstrip("]"))
        past = await refusal_of(fetch, url=f"{server.url}/page", start=10**9)
        assert server.count("/page") == 1
    assert read == lines.rstrip()
    assert "ends after" in past.message


# limits


async def test_an_endless_body_is_cut() -> None:
    settings = msgspec.structs.replace(HERE, max_page=100_000)
    async with site(settings, page=endless) as (fetch, server):
        last = await value_of(fetch, url=f"{server.url}/page", start=90_000)
    assert last.endswith("[the page was longer; the rest was not read]")
    assert len(last) < 10_100


@pytest.mark.parametrize("hostile", [drip, silent])
async def test_a_slow_server_is_left(hostile: Any) -> None:
    async with site(SHORT, page=hostile) as (fetch, server):
        refused = await refusal_of(fetch, url=f"{server.url}/page")
    assert refused.code == "deadline"
    assert "within 0.5 s" in refused.message


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", gzip.compress(b"storm\n" * 5_000_000, 1)),
        ("deflate", zlib.compress(b"storm\n" * 5_000_000)),
        ("gzip", gzip.compress(b"storm\n" * 1000) * 2000),
    ],
    ids=["gzip", "deflate", "many"],
)
async def test_a_bomb_is_cut_where_the_limit_is(encoding: str, data: bytes) -> None:
    bomb = answer(data, "text/plain", Content_Encoding=encoding)
    settings = msgspec.structs.replace(HERE, max_page=100_000)
    async with site(settings, page=bomb) as (fetch, server):
        last = await value_of(fetch, url=f"{server.url}/page", start=90_000)
    assert last.endswith("the rest was not read]")
    assert len(last) < 10_100


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", gzip.compress(b"storm")),
        ("x-gzip", gzip.compress(b"st") + gzip.compress(b"orm")),
        ("deflate", zlib.compress(b"storm")),
        ("deflate", zlib.compress(b"storm")[2:-4]),
        ("identity", b"storm"),
    ],
    ids=["gzip", "members", "deflate", "raw", "plain"],
)
async def test_compressed_pages(encoding: str, data: bytes) -> None:
    page = answer(data, "text/plain", Content_Encoding=encoding)
    async with site(page=page) as (fetch, server):
        assert await value_of(fetch, url=f"{server.url}/page") == "storm"


async def test_an_encoding_that_nobody_asked_for() -> None:
    async with site(page=answer("x", Content_Encoding="br")) as (fetch, server):
        refused = await refusal_of(fetch, url=f"{server.url}/page")
    assert "'br'" in refused.message


@pytest.mark.parametrize(
    "bytes_",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 500\r\n\r\nstorm",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nstorm\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n\r\n"
        + gzip.compress(b"storm")[:-9],
    ],
    ids=["length", "chunks", "gzip"],
)
async def test_what_breaks_off_is_given_as_far_as_it_came(bytes_: bytes) -> None:
    async with site(page=bytes_) as (fetch, server):
        text = await value_of(fetch, url=f"{server.url}/page")
    assert text.startswith("stor")
    assert text.endswith("[the page was longer; the rest was not read]")


@pytest.mark.parametrize(
    "hostile",
    [
        b"\r\n",
        b"\0\xff\xfe garbage\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc What\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nstorm",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\nstorm",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe\x01/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: javascript:alert(1)\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        head_without_end,
    ],
)
async def test_garbage_is_one_line_for_the_model(hostile: Answer) -> None:
    async with site(page=hostile) as (fetch, server):
        refused = await refusal_of(fetch, url=f"{server.url}/page")
    assert refused.code in {"tool", "unavailable"}, refused
    assert len(refused.message) < 300


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 100_000 + "storm",
        "<table><tr><td>" * 20_000 + "storm",
        "<p " + " ".join(f"a{n}=1" for n in range(100_000)) + ">storm",
        "<!--" * 100_000,
        "<table><tr><td colspan=1000000000>x</td></tr></table>",
        "&#xFFFFFFFF;&#0;\0<<<>>>" * 1000,
    ],
    ids=["div", "table", "attributes", "comments", "colspan", "entities"],
)
async def test_hostile_html_costs_so_much_and_no_more(html: str) -> None:
    async with site(page=answer(html)) as (fetch, server):
        outcome = await fetch_any(fetch, f"{server.url}/page")
    assert len(outcome) < 300_000
    assert (
        "storm" in outcome
        or "no text" in outcome
        or "cannot be made text" in outcome
        or ("x" in outcome or "<<<>>>" in outcome)
    )


# addresses


async def fetch_any(fetch: AnyTool, url: str) -> str:
    outcome = await call(fetch, url=url)
    return outcome.message if isinstance(outcome, ToolRefused) else outcome.content


async def test_the_loopback_is_refused_unless_it_is_allowed() -> None:
    async with site(WebSettings(fetch=True), page=answer(PAGE)) as (fetch, server):
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0"):
            refused = await refusal_of(fetch, url=f"http://{host}:{server.port}/page")
            assert "not on the public internet" in refused.message
    assert server.asked == []


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["169.254.169.254"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["fe80::1%lo"]],
)
async def test_a_name_that_leads_inside_is_refused(addresses: list[str]) -> None:
    names = Names(addresses)
    async with serving({"/page": answer(PAGE)}) as server:
        fetch = fetching_tool(WebSettings(fetch=True), resolver=lambda: names)
        refused = await refusal_of(fetch, url=f"http://inside.test:{server.port}/page")
    assert "inside.test" in refused.message
    assert "not on the public internet" in refused.message
    assert server.asked == []


async def test_a_name_with_one_public_address_and_one_inside_is_refused() -> None:
    names = Names(["93.184.216.34", "127.0.0.1"])
    fetch = fetching_tool(WebSettings(fetch=True), resolver=lambda: names)
    refused = await refusal_of(fetch, url="http://mixed.test/page")
    assert "127.0.0.1" in refused.message


async def test_a_name_that_changes_between_two_requests_gains_nothing() -> None:
    """The first answer of the resolver is good, for robots.txt; the second is not."""
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    settings = msgspec.structs.replace(HERE, private=("127.0.0.1/32",))
    async with serving({"/page": answer(PAGE)}) as server:
        fetch = fetching_tool(settings, resolver=lambda: names)
        refused = await refusal_of(fetch, url=f"http://turning.test:{server.port}/page")
    assert "127.0.0.2" in refused.message
    assert [head.split(" ")[1] for head in server.asked] == ["/robots.txt"]


async def test_a_socket_is_made_only_for_an_address_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Though everything before it were fooled."""

    async def blind(self: object, host: str, port: int = 0, family: int = 0) -> Any:
        return await Names(["127.0.0.1"]).resolve(host, port)

    monkeypatch.setattr("galerne_tools.web.fetching._Resolver.resolve", blind)
    async with serving({"/page": answer(PAGE)}) as server:
        fetch = fetching_tool(WebSettings(fetch=True))
        refused = await refusal_of(fetch, url=f"http://fooled.test:{server.port}/page")
    assert "not on the public internet" in refused.message
    assert server.asked == []


@pytest.mark.parametrize(
    "to",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://2130706433/",
        "//192.168.0.1/",
        "http://user:pw@127.0.0.1/",
        "file:///etc/passwd",
    ],
)
async def test_a_redirect_to_a_place_that_may_not_be_asked(to: str) -> None:
    async with site(page=redirect(to)) as (fetch, server):
        refused = await refusal_of(fetch, url=f"{server.url}/page")
    assert refused.code == "tool"
    assert server.count("/page") == 1


async def test_redirects_are_followed_a_few_times() -> None:
    async with site(
        page=redirect("two"), two=redirect("/three"), three=answer(PAGE), loop=redirect("/loop")
    ) as (fetch, server):
        assert "Storm" in await value_of(fetch, url=f"{server.url}/page")
        refused = await refusal_of(fetch, url=f"{server.url}/loop")
        assert server.count("/loop") == 6
    assert "redirects more than 5 times" in refused.message


# robots


ROBOTS = "User-agent: *\nDisallow: /page\n\nUser-agent: Friend\nAllow: /\n"


async def robots(given: Answer, settings: WebSettings = HERE) -> tuple[str, RawServer]:
    async with site(settings, page=answer(PAGE), **{"robots.txt": given}) as (fetch, server):
        first = await fetch_any(fetch, f"{server.url}/page")
        await fetch_any(fetch, f"{server.url}/page")
        return first, server


async def test_robots_are_obeyed_and_asked_once() -> None:
    said, server = await robots(answer(ROBOTS, "text/plain"))
    assert "asks not to read this page" in said
    assert (server.count("/robots.txt"), server.count("/page")) == (1, 0)


async def test_robots_may_name_this_reader_or_be_switched_off() -> None:
    friend = msgspec.structs.replace(HERE, agent="Friend/2 (+https://example.org)")
    said, _ = await robots(answer(ROBOTS, "text/plain"), friend)
    assert "Storm" in said
    said, server = await robots(
        answer(ROBOTS, "text/plain"), msgspec.structs.replace(HERE, robots=False)
    )
    assert "Storm" in said
    assert server.count("/robots.txt") == 0


@pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden", "410 Gone"])
async def test_no_robots_txt_allows_all(status: str) -> None:
    said, _ = await robots(answer(ROBOTS, "text/plain", status))
    assert "Storm" in said


async def test_a_robots_txt_that_cannot_be_had_allows_nothing() -> None:
    said, server = await robots(answer("", status="503 Away"))
    assert "cannot be read now" in said
    assert server.count("/page") == 0
    said, server = await robots(drip, msgspec.structs.replace(SHORT, timeout=1))
    assert "cannot be read now" in said
    assert server.count("/robots.txt") == 1


async def test_a_robots_txt_without_end_is_read_so_far() -> None:
    said, _ = await robots(endless)
    assert "Storm" in said


async def test_a_robots_txt_of_wildcards_takes_no_time() -> None:
    rules = "User-agent: *\n" + "Disallow: /" + "*a" * 2000 + "b\n" + "Disallow: /*p*e$\n"
    said, _ = await robots(answer(rules, "text/plain"))
    assert "asks not to read" in said


async def test_a_robots_txt_that_redirects_inside_is_not_followed() -> None:
    said, server = await robots(redirect("http://10.0.0.1/robots.txt"))
    assert "not on the public internet" in said
    assert server.count("/page") == 0


# settings


def test_without_settings_there_are_no_tools() -> None:
    assert tools(ToolSettings()) == []


def test_what_models_are_told() -> None:
    spec = fetching_tool(HERE).spec
    assert (spec.name, spec.effect) == ("fetch_page", "pure")
    assert spec.parameters["required"] == ["url"]
    assert spec.timeout > HERE.timeout
