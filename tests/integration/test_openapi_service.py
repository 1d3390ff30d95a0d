"""The tools of a real web service, made from the document that its framework writes."""

import socket
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs

import anyio.to_thread
import msgspec
import pytest
import structlog.testing
import uvicorn
from fastapi import FastAPI, Header, HTTPException, Query, Request, Response
from pydantic import BaseModel

from galerne.errors import InvalidSettingsError
from galerne.messages.tools import ToolRefused
from galerne.settings import OpenApiSettings, ToolSettings
from galerne.tools import AnyTool
from galerne_tools.openapi.offer import tools
from integration.raw_http import answer, redirect, serving
from unit.tools import calls

pytestmark = pytest.mark.anyio

TOKEN = "sk-secret/0123+456"
PATIENCE = 20.0


async def value_of(tool: AnyTool, arguments: dict[str, Any]) -> Any:
    return await calls.value_of(tool, **arguments)


async def refusal_of(tool: AnyTool, arguments: dict[str, Any]) -> ToolRefused:
    return await calls.refusal_of(tool, **arguments)


FIELDS = {"user": {"type": "string"}, "age": {"type": "integer"}}
FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {"type": "object", "properties": FIELDS, "required": [*FIELDS]}
            }
        },
    }
}


class Item(BaseModel):
    name: str
    price: float
    note: str | None = None


def shop() -> FastAPI:
    """A service that keeps items and wants a token for each change."""
    app = FastAPI()
    items: dict[int, Item] = {1: Item(name="tea", price=2.5)}
    keys: dict[str, int] = {}

    def check(token: str | None) -> None:
        if token != f"Bearer {TOKEN}":
            raise HTTPException(401, f"{token} is no token of ours")

    @app.get("/items/{number}")
    def get_item(number: int) -> Item:
        """What is known of an item."""
        if number not in items:
            raise HTTPException(404, f"there is no item {number}")
        return items[number]

    @app.get("/items")
    def find_items(named: Annotated[list[str] | None, Query()] = None) -> list[Item]:
        return [one for one in items.values() if not named or one.name in named]

    @app.post("/items")
    def add_item(
        item: Item,
        idempotency_key: Annotated[str, Header()],
        authorization: Annotated[str | None, Header()] = None,
    ) -> int:
        check(authorization)
        number = keys.setdefault(idempotency_key, len(items) + 1)
        items[number] = item
        return number

    @app.post("/login", openapi_extra=FORM)
    async def log_in(request: Request) -> str:
        said = parse_qs((await request.body()).decode())
        return f"{said['user'][0]} is {said['age'][0]}"

    @app.get("/echo")
    def echo(authorization: Annotated[str | None, Header()] = None) -> str:
        return f"you have said {authorization}"

    @app.delete("/items/{number}")
    def remove_item(number: int) -> Response:
        items.pop(number, None)
        return Response(status_code=204)

    @app.get("/picture")
    def get_picture() -> Response:
        return Response(b"\x89PNG", media_type="image/png")

    for one in (get_item, find_items, add_item, log_in, echo, remove_item, get_picture):
        assert one  # they are used by their routes
    return app


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    """The service in a thread: its document is read before this test's loop goes on."""
    server = uvicorn.Server(uvicorn.Config(shop(), log_level="error", lifespan="off"))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listening.close()
    assert not thread.is_alive()


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)


async def served(url: str, **more: Any) -> dict[str, AnyTool]:
    service = OpenApiSettings(
        spec=f"{url}/openapi.json", auth="bearer", auth_variable="SHOP_TOKEN", **more
    )
    made = await anyio.to_thread.run_sync(tools, ToolSettings(openapi={"shop": service}))
    return {tool.spec.name: tool for tool in made}


async def test_each_operation_is_a_tool_with_its_effect(url: str) -> None:
    made = await served(url)
    assert {name: tool.spec.effect for name, tool in made.items()} == {
        "shop_get_item_items_number_get": "pure",
        "shop_find_items_items_get": "pure",
        "shop_add_item_items_post": "idempotent",
        "shop_log_in_login_post": "once",
        "shop_echo_echo_get": "pure",
        "shop_remove_item_items_number_delete": "idempotent",
        "shop_get_picture_picture_get": "pure",
    }
    assert made["shop_get_item_items_number_get"].spec.description == (
        "Get Item. What is known of an item."
    )


async def test_calls_go_through_and_come_back(url: str) -> None:
    made = await served(url)
    add, get = made["shop_add_item_items_post"], made["shop_get_item_items_number_get"]
    number = await value_of(add, {"name": "jam", "price": 4})
    again = await value_of(add, {"name": "jam", "price": 4})
    assert number == again == 2
    assert await value_of(get, {"number": 2}) == {"name": "jam", "price": 4.0, "note": None}
    find = made["shop_find_items_items_get"]
    listed = await value_of(find, {"named": ["jam", "cake"]})
    assert [one["name"] for one in listed] == ["jam"]
    log_in = made["shop_log_in_login_post"]
    assert await value_of(log_in, {"user": "a&b=c", "age": 7}) == "a&b=c is 7"
    gone = await value_of(made["shop_remove_item_items_number_delete"], {"number": 2})
    assert gone == {"status": 204}


async def test_what_the_service_refuses_a_model_can_read(url: str) -> None:
    made = await served(url)
    get = made["shop_get_item_items_number_get"]
    missing = await refusal_of(get, {"number": 99})
    assert "refused (404)" in missing.message
    assert "there is no item 99" in missing.message
    wrong = await refusal_of(get, {"number": "x"})
    assert "number" in wrong.message
    picture = await refusal_of(made["shop_get_picture_picture_get"], {})
    assert "image/png" in picture.message


async def test_the_secret_comes_back_in_no_answer(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await served(url)
    said = await value_of(made["shop_echo_echo_get"], {})
    assert said == "you have said Bearer [secret]"
    monkeypatch.setenv("SHOP_TOKEN", "another-one")
    add = (await served(url))["shop_add_item_items_post"]
    refused = (await refusal_of(add, {"name": "x", "price": 1})).message
    assert "not permitted (401)" in refused
    assert "another-one" not in refused


async def test_settings_choose_operations_and_those_that_a_person_allows(url: str) -> None:
    made = await served(url, operations=("*_get", "add_*"), approve=("add_*",))
    assert "shop_log_in_login_post" not in made
    assert made["shop_add_item_items_post"].spec.approve == "always"
    assert made["shop_echo_echo_get"].spec.approve == "never"
    with pytest.raises(InvalidSettingsError, match="no operation is named 'adds_'"):
        await served(url, approve=("adds_",))


DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "paths": {"/x": {"get": {"operationId": "look"}, "post": {"operationId": "act"}}},
}
YAML = """
openapi: 3.0.3
paths:
  /x:
    get:
      operationId: look
      responses: {200: {description: since 2024-01-01}}
    post: {operationId: act}
"""


@pytest.mark.parametrize("text", [msgspec.json.encode(DOCUMENT).decode(), YAML])
async def test_a_server_that_breaks_off_leaves_doubt_only_where_something_was_done(
    tmp_path: Path, text: str
) -> None:
    document = tmp_path / "api"
    document.write_text(text)
    async with serving({"/x": b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf"}) as server:
        service = OpenApiSettings(spec=str(document), base=server.url)
        look, act = tools(ToolSettings(openapi={"api": service}))
        assert "broke off" in (await refusal_of(look, {})).message
        assert await value_of(act, {}) == {
            "status": 200,
            "note": "it has succeeded, but its answer is too large, or broke off",
        }
        server.answers["/x"] = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
        assert (await refusal_of(look, {})).code == "unavailable"
        assert (await refusal_of(act, {})).code == "in_doubt"
        server.answers["/x"] = b""
        assert (await refusal_of(look, {})).code == "unavailable"
        assert (await refusal_of(act, {})).code == "in_doubt"
        assert len(server.asked) == 6  # nothing was sent again unasked


async def test_redirects_are_not_followed_and_no_answer_is_too_long(tmp_path: Path) -> None:
    document = tmp_path / "api.json"
    document.write_bytes(msgspec.json.encode(DOCUMENT))
    async with serving({"/stolen": answer("got it")}) as other:
        async with serving({"/x": redirect(f"{other.url}/stolen")}) as server:
            service = OpenApiSettings(spec=str(document), base=server.url, max_answer=1000)
            look, _ = tools(ToolSettings(openapi={"api": service}))
            assert "has moved (302)" in (await refusal_of(look, {})).message
            server.answers["/x"] = answer("x" * 2000, "text/plain")
            assert "too large" in (await refusal_of(look, {})).message
            server.answers["/x"] = answer('{"a": "\ud7ff"}', "application/json")
            assert await value_of(look, {}) == {"a": "\ud7ff"}
        assert other.asked == []
        assert (await refusal_of(look, {})).code == "unavailable"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "this is no OpenAPI document"),
        ("[1]", "this is no OpenAPI document"),
        ("{", "neither JSON nor YAML"),
        ("swagger: '2.0'", "Swagger 2.0"),
        ("openapi: 2.0", "openapi: 3"),
        ("openapi: 3.1.0", "describes no operation"),
        ("a: &a [*a]", "neither JSON nor YAML"),
        ("[" * 5000, "neither JSON nor YAML"),
        ("!!python/object/apply:os.system ['true']", "neither JSON nor YAML"),
    ],
)
def test_a_document_that_cannot_be_used_is_one_line(tmp_path: Path, text: str, why: str) -> None:
    document = tmp_path / "api"
    document.write_text(text)
    service = OpenApiSettings(spec=str(document), base="http://127.0.0.1:9")
    with pytest.raises(InvalidSettingsError, match=why) as caught:
        tools(ToolSettings(openapi={"api": service}))
    assert str(caught.value).startswith("tools.openapi.api")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (OpenApiSettings(spec="/nowhere.json"), "cannot read /nowhere.json"),
        (OpenApiSettings(spec="http://127.0.0.1:9/x"), "127.0.0.1"),
        (OpenApiSettings(spec="x", auth="bearer"), "belong together"),
        (OpenApiSettings(spec="x", auth="bearer", auth_variable="NONE_OF_IT"), "NONE_OF_IT"),
        (OpenApiSettings(spec="x", auth="header", auth_variable="SHOP_TOKEN"), "auth_name"),
        (OpenApiSettings(spec="x", auth="basic", auth_variable="SHOP_TOKEN"), "user:password"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line(settings: OpenApiSettings, why: str) -> None:
    with pytest.raises(InvalidSettingsError, match=why) as caught:
        tools(ToolSettings(openapi={"api": settings}))
    assert TOKEN not in str(caught.value)


async def test_a_secret_goes_only_to_where_its_document_came_from(tmp_path: Path) -> None:
    document = {**DOCUMENT, "servers": [{"url": "http://elsewhere.example/v1"}]}
    text = answer(msgspec.json.encode(document), "application/json")
    async with serving({"/api.json": text}) as server:
        service = OpenApiSettings(
            spec=f"{server.url}/api.json", auth="bearer", auth_variable="SHOP_TOKEN"
        )
        given = ToolSettings(openapi={"api": service})
        with pytest.raises(InvalidSettingsError, match=r"elsewhere\.example"):
            await anyio.to_thread.run_sync(tools, given)


@pytest.mark.parametrize(("kind", "name"), [("header", "X-Key"), ("query", "key"), ("basic", None)])
async def test_every_kind_of_login_reaches_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, name: str | None
) -> None:
    monkeypatch.setenv("LOGIN", "user:pass word")
    fields = {"operationId": "look", "parameters": [{"name": "X-Key", "in": "header"}]}
    document = tmp_path / "api.json"
    document.write_bytes(msgspec.json.encode({**DOCUMENT, "paths": {"/x": {"get": fields}}}))
    expected = {
        "header": "X-Key: user:pass word",
        "query": "GET /x?key=user%3Apass%20word HTTP",
        "basic": "Authorization: Basic dXNlcjpwYXNzIHdvcmQ=",
    }[kind]
    async with serving({"/x": answer("ok"), "/x?key=user%3Apass%20word": answer("ok")}) as server:
        service = OpenApiSettings(
            spec=str(document), base=server.url, auth=kind, auth_name=name, auth_variable="LOGIN"
        )
        with structlog.testing.capture_logs() as logs:
            (look,) = tools(ToolSettings(openapi={"api": service}))
            assert await value_of(look, {}) == "ok"
        assert expected in server.asked[0]
        assert "pass word" not in repr(logs) + repr(look)
