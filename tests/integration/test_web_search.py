"""`search_web` against servers that answer as SearxNG and Brave do, and as they do not."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from galerne.errors import InvalidSettingsError
from galerne.settings import SearchKind, ToolSettings, WebSettings
from galerne.tools import AnyTool
from galerne_tools.web.offer import tools
from integration.raw_http import Answer, RawServer, answer, serving
from unit.tools.calls import refusal_of, value_of

pytestmark = pytest.mark.anyio

KEY = "sk-secret/0123+456"
PAGES = [
    {"title": "A <b>storm</b>", "url": "https://a.example/1", "text": "wind \n and rain"},
    {"title": "Sea", "url": "https://b.example/2", "text": "x" * 900},
    {"title": "no address", "url": "javascript:alert(1)", "text": ""},
    {"title": 5, "url": ["x"], "text": None},
    "no result at all",
]


def _answer(field: str) -> bytes:
    results = [
        {"title": one["title"], "url": one["url"], field: one["text"]}
        if isinstance(one, dict)
        else one
        for one in PAGES
    ]
    whole: object = {"results": results}
    return msgspec.json.encode({"web": whole} if field == "description" else whole)


def _tool(settings: WebSettings) -> AnyTool:
    (made,) = tools(ToolSettings(web=settings))
    assert made.spec.name == "search_web"
    return made


class Engine:
    """The settings for one kind of engine that gives one answer."""

    def __init__(self, kind: str, tmp_path: Path) -> None:
        self.kind = kind
        self.key = tmp_path / "key"
        self.key.write_text(KEY + "\n")

    def tool(self, server: RawServer) -> AnyTool:
        url = server.url if self.kind == "searxng" else f"{server.url}/brave"
        key = str(self.key) if self.kind == "brave" else None
        kind: SearchKind = "brave" if self.kind == "brave" else "searxng"
        return _tool(WebSettings(search=kind, search_url=url, search_key_file=key, timeout=2))

    def paths(self, given: Answer) -> dict[str, Answer]:
        searx, brave = "/search?q=storm+%26+sea&format=json", "/brave?q=storm+%26+sea"
        counts = {f"{brave}&count={n}&text_decorations=false": given for n in (1, 5)}
        return {searx: given} if self.kind == "searxng" else counts


@pytest.fixture(params=["searxng", "brave"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    return Engine(request.param, tmp_path)


async def test_what_is_found_is_cleaned_and_counted(engine: Engine) -> None:
    body = _answer("content" if engine.kind == "searxng" else "description")
    async with serving(engine.paths(answer(body, "application/json"))) as server:
        found = await value_of(engine.tool(server), query="storm & sea")
        one = await value_of(engine.tool(server), query="storm & sea", count=1)
    assert found[0] == {"title": "A storm", "url": "https://a.example/1", "text": "wind and rain"}
    assert [page["url"] for page in found] == ["https://a.example/1", "https://b.example/2"]
    assert len(found[1]["text"]) == 500
    assert one == found[:1]
    if engine.kind == "brave":
        assert f"X-Subscription-Token: {KEY}" in server.asked[0]
    assert parse_qs(urlsplit(server.asked[0].split(" ")[1]).query)["q"] == ["storm & sea"]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (answer("no", status="401 No"), "tool"),
        (answer("no", status="403 No"), "tool"),
        (answer("no", status="404 No"), "tool"),
        (answer("no", status="302 Found", Location="http://elsewhere.test/"), "tool"),
        (answer("no", status="429 Slow"), "rate_limited"),
        (answer("no", status="502 Away"), "unavailable"),
        (answer("<html>"), "unavailable"),
        (answer(b"\xff\xfe"), "unavailable"),
        (b"garbage\r\n\r\n", "tool"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", None),
    ],
)
async def test_what_goes_wrong_is_one_line_without_the_key(
    engine: Engine, given: bytes, code: str | None
) -> None:
    async with serving(engine.paths(given)) as server:
        if code is None:
            assert await value_of(engine.tool(server), query="storm & sea") == []
            return
        refused = await refusal_of(engine.tool(server), query="storm & sea")
    assert refused.code == code, refused
    assert KEY not in refused.message
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"{}", b'{"results": 5}', b'{"web": []}'])
async def test_json_of_another_form_finds_nothing(engine: Engine, body: bytes) -> None:
    async with serving(engine.paths(answer(body))) as server:
        assert await value_of(engine.tool(server), query="storm & sea") == []


async def test_nobody_there(engine: Engine) -> None:
    async with serving({}) as server:
        made = engine.tool(server)
    refused = await refusal_of(made, query="storm & sea")
    assert refused.code == "unavailable"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (WebSettings(search="searxng"), "search_url"),
        (WebSettings(search="searxng", search_url="example.org"), "search_url"),
        (WebSettings(search="brave"), "search_key_variable"),
        (WebSettings(search="brave", search_key_variable="NOT_THERE_7"), "NOT_THERE_7"),
        (WebSettings(search="brave", search_key_file="/no/such/file"), "/no/such/file"),
        (WebSettings(search="brave", search_key_file="a", search_key_variable="B"), "leave one"),
    ],
)
def test_settings_that_cannot_work(settings: WebSettings, named: str) -> None:
    with pytest.raises(InvalidSettingsError, match=named):
        tools(ToolSettings(web=settings))


def test_the_key_comes_from_a_variable_and_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAVE_KEY", KEY)
    settings = WebSettings(search="brave", search_key_variable="BRAVE_KEY")
    assert KEY not in repr(settings)
    assert KEY not in repr(vars(_tool(settings)))
