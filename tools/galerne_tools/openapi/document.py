"""An OpenAPI document, from a file or a URL, in JSON or in YAML.

It is read once, when a tool worker starts. A URL is asked in a thread with a loop of its own,
since tools are made where no await is; whoever starts waits for it, `SECONDS` at the most.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

import aiohttp
import anyio
import msgspec

from galerne.errors import GalerneError, InvalidSettingsError
from galerne_tools.web.body import ENCODINGS, read_body
from galerne_tools.web.mapping import mapped

MAX_SIZE = 16 * 1024 * 1024
"""Bytes: the largest that is published, GitHub's, has 12 MB."""
SECONDS = 15.0
_DEEPEST = 200

Tree = dict[str, Any]


class Document(msgspec.Struct, frozen=True):
    """`where` it came from: a path or a URL."""

    tree: Tree
    where: str

    @property
    def is_remote(self) -> bool:
        return is_url(self.where)


def is_url(where: str) -> bool:
    return where.startswith(("http://", "https://"))


def read_document(where: str, name: str) -> Document:
    """Raises InvalidSettingsError, one line that names the service."""
    try:
        data = _fetched(where) if is_url(where) else _file(Path(where))
        return Document(tree=parsed(data), where=where)
    except GalerneError as error:
        raise InvalidSettingsError(f"tools.openapi.{name}.spec: {error}") from error


def parsed(data: bytes) -> Tree:
    """The document as JSON values. Raises InvalidSettingsError."""
    try:
        tree = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        tree = _yaml(data)
    if not isinstance(tree, dict):
        raise InvalidSettingsError("this is no OpenAPI document, but something else; correct spec")
    fields = cast("Tree", tree)
    if "swagger" in fields:
        raise InvalidSettingsError(
            "this is Swagger 2.0; convert it to OpenAPI 3 (converter.swagger.io does)"
        )
    if not str(fields.get("openapi", "")).startswith("3."):
        raise InvalidSettingsError("it does not say `openapi: 3.…`; give an OpenAPI 3 document")
    return fields


def base_of(document: Document, name: str, base: str | None, *, has_secret: bool) -> str:
    """The URL before each path, without a slash at its end. Raises InvalidSettingsError.

    A secret goes to another host than that of the document only where settings say so.
    """
    setting = f"tools.openapi.{name}.base"
    url = base or _server(document.tree)
    if not base and document.is_remote:
        url = urljoin(document.where, url)
        if has_secret and _origin(url) != _origin(document.where):
            raise InvalidSettingsError(
                f"{setting}: the document sends its calls to {_origin(url)}, which is not where it "
                "came from; set it to that, if the secret is meant for there"
            )
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidSettingsError(f"{setting} is missing: the document names no whole address")
    if parts.username is not None or parts.query or parts.fragment:
        raise InvalidSettingsError(f"{setting}: no login, query or fragment may be in it")
    return url.rstrip("/")


def _server(tree: Tree) -> str:
    match tree.get("servers"):
        case [{"url": str(url), **rest}, *_]:
            variables: Any = rest.get("variables")
            for key, value in _mapping(variables).items():
                url = url.replace(f"{{{key}}}", str(_mapping(value).get("default", "")))
            return url
        case _:
            return "/"


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise InvalidSettingsError(f"cannot read {path}: {error.strerror or error}") from error
    if len(data) > MAX_SIZE:
        raise InvalidSettingsError(f"{path} is larger than {MAX_SIZE // 1024 // 1024} MB")
    return data


def _fetched(url: str) -> bytes:
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(anyio.run, _fetch, url).result()


async def _fetch(url: str) -> bytes:
    headers = {"Accept": "application/json, application/yaml", "Accept-Encoding": ENCODINGS}
    with mapped(url, SECONDS), anyio.fail_after(SECONDS):
        async with (
            aiohttp.ClientSession(headers=headers, auto_decompress=False) as session,
            session.get(url) as response,
        ):
            if response.status != 200:  # noqa: PLR2004 - as HTTP counts
                raise InvalidSettingsError(f"its address answers {response.status}; correct it")
            body = await read_body(response, MAX_SIZE)
    if body.cut:
        raise InvalidSettingsError("the document is too large, or broke off")
    return body.data


def _yaml(data: bytes) -> Any:
    try:
        library: Any = import_module("yaml")
    except ImportError as error:
        raise InvalidSettingsError(
            "it is no JSON, and YAML needs an extra: pip install 'galerne[openapi]'"
        ) from error
    loader: Any = getattr(library, "CSafeLoader", library.SafeLoader)
    try:
        return _json(library.load(data, Loader=loader), 0)
    except (library.YAMLError, RecursionError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise InvalidSettingsError(f"it is neither JSON nor YAML: {why}") from error


def _json(value: Any, depth: int) -> Any:
    """YAML's values as JSON has them: `200:` is a text, and so is a date."""
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    match value:
        case dict():
            fields = cast("Mapping[Any, Any]", value)
            return {_key(key): _json(inner, depth + 1) for key, inner in fields.items()}
        case list():
            return [_json(inner, depth + 1) for inner in cast("Sequence[Any]", value)]
        case date():
            return value.isoformat()
        case None | str() | bool() | int() | float():
            return value
        case _:
            return str(value)


def _key(key: Any) -> str:
    return ("true" if key else "false") if isinstance(key, bool) else str(key)
