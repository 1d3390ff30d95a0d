"""A model endpoint that demands a key, passes good requests on, and repeats the key on command.

It stands between the fleet and the stand-ins, one path a role: `/planner/v1`, `/executor/v1`.
What it repeats is the key as it came, in every place where a server may put something.
"""

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import quote

import aiohttp
import msgspec
from aiohttp import web

Mode = Literal["good", "echo", "busy", "redirect", "html", "stated", "chunk", "head"]
"""good: passed on to the stand-in; echo and busy: status 400 and 503 with the key in head and
body; redirect: to an address with the key in it; html: status 200 and no JSON; stated: an error in
a good answer; chunk and head: HTTP that cannot be read, with the key in what is quoted."""

MODES: tuple[Mode, ...] = ("echo", "busy", "redirect", "html", "stated", "chunk", "head")


class HostileEndpoint:
    """`url` is its address; set `mode` and `role` to change how it answers whom from now on."""

    def __init__(self, stand_ins: dict[str, str], session: aiohttp.ClientSession) -> None:
        self.mode: Mode = "good"
        self.role = "planner"
        self.url = ""
        self.repeated = 0
        """How often it has said a key."""
        self._stand_ins = stand_ins
        self._session = session

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.mode == "good" or request.match_info["role"] != self.role:
            return await self._passed_on(request)
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.repeated += bool(key)
        return await self._repeating(request, key)

    async def _passed_on(self, request: web.Request) -> web.StreamResponse:
        role, path = request.match_info["role"], request.match_info["path"]
        kept = ("Authorization", "Content-Type", "X-Galerne-Key")
        headers = {name: request.headers[name] for name in kept if name in request.headers}
        url = f"{self._stand_ins[role]}/v1/{path}"
        data = await request.read()
        async with self._session.request(
            request.method, url, data=data or None, headers=headers
        ) as reply:
            return web.Response(
                status=reply.status, body=await reply.read(), content_type=reply.content_type
            )

    async def _repeating(self, request: web.Request, key: str) -> web.StreamResponse:
        encoded = base64.b64encode(key.encode()).decode()
        words = f"no {key}, no {quote(key, safe='')}, no Basic {encoded}, no {key}"
        told = {"X-Echo": f"Bearer {key}", "Retry-After": key, "WWW-Authenticate": key}
        match self.mode:
            case "redirect":
                where = f"{self.url}/elsewhere/v1?key={key}"
                return web.Response(status=307, headers={"Location": where, **told})
            case "html":
                text = f"<html>{'x' * 150}{words}</html>"
                return web.Response(text=text, headers=told, content_type="application/json")
            case "stated":
                return web.json_response({"error": {"message": words, "code": 400}}, headers=told)
            case "chunk" | "head":
                return await self._unreadable(request, key)
            case _:
                status = 503 if self.mode == "busy" else 400
                body = msgspec.json.encode({"error": {"message": words, "param": key}})
                body = body.replace(b"/", b"\\/")
                return web.Response(status=status, body=body, headers=told)

    async def _unreadable(self, request: web.Request, key: str) -> web.StreamResponse:
        """Bytes that a parser refuses, and quotes when it does."""
        assert request.transport is not None
        start = b"HTTP/1.1 200 OK\r\n"
        if self.mode == "head":
            request.transport.write(start + f"X-Echo: {key}\x01\r\n\r\n".encode())
        else:
            head = b"Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"
            request.transport.write(start + head + f"{key}\r\n{key}\r\n".encode())
        request.transport.close()
        return web.Response()


@asynccontextmanager
async def hostile_endpoint(stand_ins: dict[str, str]) -> AsyncGenerator[HostileEndpoint]:
    """`stand_ins`: the address of each role's stand-in."""
    async with aiohttp.ClientSession() as session:
        endpoint = HostileEndpoint(stand_ins, session)
        application = web.Application()
        application.router.add_route("*", "/{role}/v1/{path:.*}", endpoint.answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            endpoint.url = f"http://{host}:{port}"
            yield endpoint
        finally:
            await runner.cleanup()
