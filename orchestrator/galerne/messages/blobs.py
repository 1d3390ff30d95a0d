"""Content too large for a message: what stands for it in JSON, and where it lies.

A sender puts the content into the Object Store and writes `{"$blob": sha256, "size": n}` in its
place; whoever needs the content fetches it by that. It lies under its job's name, so that
everything of a job can be collected without counting who refers to it.

    tenant, job, sha256 ──▶ object "<tenant>.<job>.<sha256>"
        description   $O.<bucket>.M.<base64url of the object's name>    (NATS Object Store layout)
        chunks        $O.<bucket>.C.<tenant>.<job>.<sha256>.<writer>    in the stream's order

The layout calls the last part of a chunk's subject an opaque id that the description names, so
any Object Store client reads these objects; ours starts with the job, so that one purge takes all
chunks of a job, of puts that broke off too.
"""

import base64
import codecs
from collections.abc import Iterator
from typing import Annotated, Any, cast

import msgspec

from galerne.errors import InvalidInputError, InvalidMessageError, TooLargeError
from galerne.messages.ids import JobId, TenantId, check_id, is_id

KEY = "$blob"
MEGABYTE = 1024 * 1024

Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
FileName = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=255,
        pattern=r"\A(?!\.\.?\Z)[^/\\\x00-\x1f\x7f\ud800-\udfff]+\Z",
    ),
]
"""One name without a folder: a receiver may save under it."""
MediaType = Annotated[
    str, msgspec.Meta(max_length=127, pattern=r"\A[\w!#$&^.+-]+/[\w!#$&^.+-]+(; ?[ -~]+)?\Z")
]
PREVIEW = 400
"""Characters of a text's beginning that stand beside its name."""
Preview = Annotated[str, msgspec.Meta(max_length=PREVIEW, pattern=r"\A[^\ud800-\udfff]*\Z")]

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


class Blob(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands for content that lies in the Object Store.

    `size` is in bytes; `name` is a file's name without folders; `media` a type as `text/csv`;
    `preview` is how a text begins, for whoever cannot or need not read it.
    """

    sha256: Sha256 = msgspec.field(name=KEY)
    size: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    name: FileName | None = None
    media: MediaType | None = None
    preview: Preview | None = None


def new_blob(sha256: str, size: int, *, name: str | None = None, media: str | None = None) -> Blob:
    """A checked blob. Raises InvalidInputError for a name with folders and the like."""
    try:
        return msgspec.convert(
            {KEY: sha256, "size": size, "name": name, "media": media}, Blob, strict=True
        )
    except msgspec.ValidationError as error:
        raise InvalidInputError(
            f"content cannot be stored with this description: {error}"
        ) from None


def to_blob(value: Any) -> Blob:
    """Read what stands for a blob in a JSON value. Raises InvalidMessageError."""
    try:
        return msgspec.convert(value, Blob, strict=True)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise InvalidMessageError(f"this stands for no blob: {error}") from error


def to_value(blob: Blob) -> dict[str, Any]:
    """What stands for the blob in a JSON value."""
    return cast("dict[str, Any]", msgspec.to_builtins(blob))


def is_blob(value: Any) -> bool:
    """Whether a JSON value stands for a blob. One that is malformed is only an object."""
    if not isinstance(value, dict) or KEY not in value:
        return False
    try:
        to_blob(value)
    except InvalidMessageError:
        return False
    return True


def check_blobs(value: Any) -> list[Blob]:
    """Every blob inside a JSON value. Raises InvalidInputError where one is malformed."""
    found: list[Blob] = []
    for part in _objects(value):
        if KEY in part:
            try:
                found.append(to_blob(part))
            except InvalidMessageError as error:
                raise InvalidInputError(
                    f'{error}: write it as {{"{KEY}": its 64 digits, "size": its bytes}}'
                ) from error
    return found


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a JSON value, down to blobs, in order."""
    waiting: list[Any] = [value]
    while waiting:  # no recursion: how deep a value is was decided by a stranger
        current = waiting.pop()
        if isinstance(current, dict):
            fields = cast("dict[str, Any]", current)
            yield fields
            waiting.extend(() if KEY in fields else reversed(fields.values()))
        elif isinstance(current, list | tuple):
            waiting.extend(reversed(cast("list[Any]", current)))


def describe(blob: Blob, beginning: str | None = None) -> str:
    """What a model or a person reads in place of the content; `beginning` instead of its preview.

    It ends with how the content begins, where it is text.
    """
    kind = ", ".join(part for part in (blob.name, blob.media) if part)
    begins = blob.preview if beginning is None else beginning
    line = (
        f"[content too large to show: {kind + ', ' if kind else ''}{size_text(blob.size)};"
        f' to hand it to a tool, give {{"{KEY}": "{blob.sha256}", "size": {blob.size}}}'
        " as the argument]"
    )
    return f"{line}\nIt begins:\n{begins}" if begins else line


def size_text(size: int) -> str:
    """`812 bytes`, `12.3 kB`, `256.0 MB`."""
    if size < 1024:  # noqa: PLR2004 - bytes in a kilobyte
        return f"{size} bytes"
    return f"{size / 1024:.1f} kB" if size < MEGABYTE else f"{size / MEGABYTE:.1f} MB"


def preview_of(head: bytes) -> str | None:
    """How a text begins whose first bytes these are; None for what is no text in UTF-8."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text[:PREVIEW] or None


def packed(value: Any) -> tuple[bytes, str]:
    """A JSON value as content, and the media type that says how to read it again."""
    if isinstance(value, str):
        return value.encode(), TEXT
    return msgspec.json.encode(value), JSON


def is_value(blob: Blob) -> bool:
    """Whether its content is a JSON value or a text, by its media type."""
    kind = (blob.media or "").partition(";")[0]
    return kind == JSON or kind.startswith("text/")


def unpacked(blob: Blob, data: bytes) -> Any:
    """The value that the content is. Raises InvalidInputError where it is none."""
    try:
        if (blob.media or "").partition(";")[0] == JSON:
            return msgspec.json.decode(data)
        return data.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInputError(
            f"the content {blob.name or blob.sha256} cannot be read as a value: {error}"
        ) from error


def find_blobs(value: Any) -> Iterator[Blob]:
    """Every blob inside a JSON value, in its order, as often as it stands there."""
    waiting: list[Any] = [value]
    while waiting:  # no recursion: how deep a value is was decided by a stranger
        current = waiting.pop()
        if is_blob(current):
            yield to_blob(current)
        elif isinstance(current, dict):
            waiting.extend(reversed(cast("dict[str, Any]", current).values()))
        elif isinstance(current, list | tuple):
            waiting.extend(reversed(cast("list[Any]", current)))


def check_size(size: int, what: str, limit: int) -> None:
    """Raises TooLargeError that names both sizes, for more than `limit` bytes."""
    if size > limit:
        raise TooLargeError(
            f"{what} has {size / MEGABYTE:.1f} MB ({size} bytes), above the limit of"
            f" {limit / MEGABYTE:g} MB ({limit} bytes): send less, or raise the limit"
        )


def digest_of(sha256: str) -> str:
    """The digest as the Object Store writes it: `SHA-256=` and base64url."""
    return f"SHA-256={base64.urlsafe_b64encode(bytes.fromhex(sha256)).decode()}"


def check_sha256(value: str) -> str:
    """Give 64 lower-case hexadecimal digits back. Raises InvalidInputError for anything else."""
    try:
        return msgspec.convert(value, Sha256, strict=True)
    except msgspec.ValidationError as error:
        raise InvalidInputError("a blob is named by 64 digits out of 0-9 and a-f") from error


def blob_name(tenant: str, job: str, sha256: str) -> str:
    """The object's name: `<tenant>.<job>.<sha256>`. Raises InvalidInputError."""
    return f"{check_id(tenant, 'the tenant')}.{check_id(job, 'the job')}.{check_sha256(sha256)}"


def parse_blob_name(name: str) -> tuple[TenantId, JobId, str] | None:
    """Tenant, job and sha256 of an object's name; None where it is no blob's."""
    tenant, _, rest = name.partition(".")
    job, _, sha256 = rest.partition(".")
    try:
        check_sha256(sha256)
    except InvalidInputError:
        return None
    return (TenantId(tenant), JobId(job), sha256) if is_id(tenant) and is_id(job) else None


class Bucket:
    """The names of one bucket of the Object Store."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stream = f"OBJ_{name}"
        self._chunks = f"$O.{name}.C."
        self._infos = f"$O.{name}.M."

    @property
    def subjects(self) -> list[str]:
        return [f"{self._chunks}>", f"{self._infos}>"]

    def info(self, name: str) -> str:
        """The subject of an object's description."""
        return self._infos + base64.urlsafe_b64encode(name.encode()).decode()

    def infos(self) -> str:
        return f"{self._infos}>"

    def starts(self, name: str) -> str:
        """How the subject of every description begins whose object's name begins so."""
        whole = name.encode()
        return self._infos + base64.urlsafe_b64encode(whole[: len(whole) // 3 * 3]).decode()

    def chunks(self, chunk_id: str) -> str:
        """The subject of an object's chunks; `<tenant>.<job>.>` for those of a job."""
        return self._chunks + chunk_id

    def chunk_id_of(self, subject: str) -> str:
        return subject.removeprefix(self._chunks)

    def info_name(self, subject: str) -> str | None:
        """The object whose description has this subject; None where it has no name."""
        try:
            name = base64.urlsafe_b64decode(subject.removeprefix(self._infos)).decode()
        except ValueError:
            return None
        return name if self.info(name) == subject else None


def chunk_id(name: str, writer: str) -> str:
    """Where one writer puts the chunks of an object: apart from all others."""
    return f"{name}.{writer}"


def name_of_chunks(chunk_id: str) -> str:
    """The object that chunks belong to, or were to belong to."""
    return chunk_id.rpartition(".")[0]
