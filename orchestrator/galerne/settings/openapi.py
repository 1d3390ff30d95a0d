"""Services that OpenAPI documents describe, and how to log in to each."""

from typing import Literal

from galerne.settings.section import Section

AuthKind = Literal["none", "bearer", "header", "query", "basic"]


class OpenApiSettings(Section, frozen=True):
    """One service: each operation that is allowed becomes a tool."""

    spec: str
    """The document, OpenAPI 3.0 or 3.1, JSON or YAML: a file or a URL."""
    base: str | None = None
    """URL before the document's paths. None: its first server, relative to where it came from."""
    operations: tuple[str, ...] = ("*",)
    """Operations that become tools, by operationId, with `*` for any part of it."""
    approve: tuple[str, ...] = ()
    """Operations before which a person is asked, named in the same way."""
    auth: AuthKind = "none"
    """How to log in: a bearer token, a header, a parameter of the query, or basic."""
    auth_name: str | None = None
    """Name of the header or of the parameter."""
    auth_variable: str | None = None
    """Environment variable with the secret (`user:password` for basic). So it is in no settings."""
    auth_file: str | None = None
    """File whose one line is the secret; not together with the variable."""
    timeout: float = 30.0
    """Seconds for one call."""
    max_answer: int = 1024 * 1024
    """Bytes of an answer, decompressed; a larger one is refused."""
