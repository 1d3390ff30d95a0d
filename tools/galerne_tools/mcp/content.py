"""A server's result of a call as a tool's result: text, structure, and files put aside.

Structured content is preferred to the text that repeats it. Pictures, sounds and binary resources
go through the blobs of the call; a text resource stays text, because a model is meant to read it.
"""

import base64
import binascii
import mimetypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from galerne.core.answers import first_fault
from galerne.errors import InvalidInputError, ToolError
from galerne.messages.blobs import new_blob
from galerne.tools import BlobFile, ToolContext

if TYPE_CHECKING:
    from mcp_types import CallToolResult, ContentBlock, ResourceLink

MOST_FILES = 64
"""Files in one result: each is a message or more to the store."""
_ANY = "0" * 64
_SHORT = 5
"""Characters of a type that may end a file's name."""


class _File(NamedTuple):
    data: str
    media: str | None
    name: str | None


class Parts(NamedTuple):
    """What a result consists of."""

    texts: list[str]
    files: list[_File]
    links: list[dict[str, Any]]


async def read_result(
    result: "CallToolResult", returns: dict[str, Any] | None, context: ToolContext
) -> Any:
    """What the tool returns. Raises ToolError where the server says that the call has failed.

    `returns` is the schema that the server has announced of its structured content; what does not
    keep to it is not given as if it did.
    """
    parts = parts_of(result.content)
    text = "\n".join(parts.texts)
    if result.is_error:
        raise ToolError(
            text or _plain(result.structured_content) or "it failed and did not say why"
        )
    if len(parts.files) > MOST_FILES:
        raise ToolError(f"its result has {len(parts.files)} files; at most {MOST_FILES} are taken")
    files = [await _stored(file, context) for file in parts.files]
    value = result.structured_content
    if value is not None and returns is not None and (fault := _breaks(value, returns)):
        context.log.warning("a structured result breaks the schema announced for it", fault=fault)
        value = None if text else value
    return _joined(value if value is not None else text, files, parts.links)


def _joined(value: Any, files: list[BlobFile], links: list[dict[str, Any]]) -> Any:
    """The value alone where there is nothing else, a single file alone likewise."""
    if not files and not links:
        return value
    if len(files) == 1 and not links and value == "":
        return files[0]
    whole: dict[str, Any] = {} if value == "" else {"result": value}
    return whole | ({"files": files} if files else {}) | ({"links": links} if links else {})


def parts_of(content: Sequence["ContentBlock"]) -> Parts:
    """Sorts the blocks; pure."""
    from mcp_types import (
        AudioContent,
        BlobResourceContents,
        EmbeddedResource,
        ImageContent,
        ResourceLink,
        TextContent,
        TextResourceContents,
    )

    parts = Parts([], [], [])
    for block in content:
        match block:
            case TextContent(text=text):
                parts.texts.append(text)
            case (
                ImageContent(data=data, mime_type=media) | AudioContent(data=data, mime_type=media)
            ):
                parts.files.append(_File(data, media, None))
            case EmbeddedResource(resource=TextResourceContents(uri=uri, text=text)):
                parts.texts.append(f"[{uri}]\n{text}")
            case EmbeddedResource(
                resource=BlobResourceContents(uri=uri, blob=data, mime_type=media)
            ):
                parts.files.append(_File(data, media, _name_in(uri)))
            case ResourceLink():
                parts.links.append(_link(block))
            case EmbeddedResource():  # there is no third kind of resource
                continue
    return parts


def _link(link: "ResourceLink") -> dict[str, Any]:
    fields = {"uri": link.uri, "name": link.name, "media": link.mime_type, "size": link.size}
    fields["description"] = link.description
    return {name: value for name, value in fields.items() if value is not None}


def _name_in(uri: str) -> str | None:
    """The last part of its path."""
    try:
        return unquote(urlsplit(uri).path).rpartition("/")[2]
    except ValueError:
        return None


async def _stored(file: _File, context: ToolContext) -> BlobFile:
    """Raises ToolError for what is no base64, TooLargeError."""
    try:
        data = base64.b64decode(file.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ToolError(f"its result holds a file that is no base64: {error}") from error
    media = file.media if file.media and _can_be(media=file.media) else None
    name = file.name if file.name and _can_be(name=file.name) else None
    name = name or f"file{_ending(media)}"
    return BlobFile(await context.blobs.put_bytes(data, name=name, media=media), context.blobs)


def _ending(media: str | None) -> str:
    """Of a file of that type: `.png`, `.wav`; empty where nobody can tell."""
    if media is None:
        return ""
    kind = media.partition(";")[0].rpartition("/")[2]
    short = f".{kind}" if kind.isalnum() and len(kind) <= _SHORT else ""
    return mimetypes.guess_extension(media.partition(";")[0]) or short


def _can_be(*, name: str | None = None, media: str | None = None) -> bool:
    """Whether content may be described so."""
    try:
        new_blob(_ANY, 0, name=name, media=media)
    except InvalidInputError:
        return False
    return True


def _breaks(value: Any, schema: dict[str, Any]) -> str:
    """What does not keep to a schema, empty where all does or where it cannot be compared."""
    try:
        return first_fault(value, schema)
    except Exception:  # noqa: BLE001 - the schema is a stranger's, and the library raises its own
        return ""


def _plain(value: Any) -> str:
    return "" if value is None else str(value)
