"""A tool given by JSON Schema: its parameters come from elsewhere, and not from annotations.

So do the tools of MCP servers, of OpenAPI documents, and of whoever has a schema already. The
arguments are validated by the `jsonschema-rs` package and handed on as they are, one object.
"""

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from galerne.core.answers import first_fault, validator
from galerne.core.patterns import without_unusable_patterns
from galerne.core.schema_words import in_words_of_json
from galerne.errors import InvalidInputError
from galerne.messages.blobs import Blob, is_blob, to_blob
from galerne.messages.tools import Effect, ToolSpec
from galerne.tools.context import NO_BLOBS, BlobStore, ToolContext
from galerne.tools.contract import AnyTool, Leave, Tool, announced, check_promise, is_async
from galerne.tools.schema import Schema, signature_line

OfArguments = Callable[[dict[str, Any], ToolContext], Any]
"""What such a tool does: given the arguments, async or (in a thread) plain."""


_NAME = re.compile(r"[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*")
_LONGEST_NAME = 128


class SchemaParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters as a JSON Schema of type object, of Draft 7 unless it says otherwise."""

    tool: str
    schema: Schema
    context: str = "context"

    def decode(
        self,
        arguments: Mapping[str, Any],
        blobs: BlobStore = NO_BLOBS,  # noqa: ARG002 - given to whatever reads arguments
    ) -> dict[str, Any]:
        """The arguments as the keyword `arguments`. Raises InvalidInputError, one line.

        Content that was put aside stays a reference; `blobs` is not asked.
        """
        given = dict(arguments)
        try:
            fault = first_fault(given, self.schema)
        except (ValueError, RecursionError) as error:  # nested too deep, or no text at all
            fault = f"they cannot be compared with the schema ({' '.join(str(error).split())})"
        if fault:
            usage = signature_line(self.tool, self.schema)
            raise InvalidInputError(f"wrong arguments: {fault}. Call it as {usage}")
        return {"arguments": given}

    def to_read(self, arguments: Mapping[str, Any]) -> dict[str, Blob]:
        """The arguments that are content put aside, where the schema wants the value itself."""
        return {
            name: to_blob(value)
            for name, value in arguments.items()
            if is_blob(value) and first_fault({name: value}, self._only(name))
        }

    def _only(self, name: str) -> Schema:
        return {key: value for key, value in self.schema.items() if key != "required"} | {
            "properties": {name: self.schema.get("properties", {}).get(name, {})}
        }


def schema_tool(
    name: str,
    description: str,
    parameters: Mapping[str, Any],
    call: OfArguments,
    *,
    effect: Effect | None = None,
    timeout: float = 30.0,
    version: str = "1",
    approve: Leave = False,
    concurrency: int | None = None,
) -> AnyTool:
    """A tool given by the JSON Schema of its arguments.

    The name may have dots, which no model takes: it is called by another in their prompts. Types in
    the words of other languages (`dict`, `float`) are read as what they mean.
    `call(arguments, context)` gets arguments that fit, and may be async or plain (a plain one runs
    in a thread). A function for `approve` gets the keyword `arguments`. An `effect` that is not
    stated is taken for the worst, `once`. `timeout` is in seconds, `concurrency` as for `@tool`.
    Raises InvalidInputError for what cannot be a tool.
    """
    check_given_name(name)
    repeating: Effect = effect or "once"
    check_promise(call, name, repeating, timeout, version)
    schema = _usable(name, parameters)
    spec = ToolSpec(
        name=name,
        description=" ".join(description.split()) or name.replace("_", " "),
        parameters=schema,
        effect=repeating,
        timeout=timeout,
        version=version,
        approve=announced(approve),
    )
    parameters_read = SchemaParameters(tool=name, schema=schema)
    given = {"effect": effect, "description": description.strip()}
    stated = frozenset(word for word, said in given.items() if said)
    return Tool(
        _by_keyword(call),
        spec,
        parameters_read,
        approve=approve,
        concurrency=concurrency,
        stated=stated,
    )


def _usable(name: str, parameters: Mapping[str, Any]) -> Schema:
    """The parameters as a schema that values can be compared with. Raises InvalidInputError."""
    given: Schema = {"properties": {}, **copy.deepcopy(dict(parameters))}
    try:
        schema: Schema = {"type": "object", "properties": {}, **in_words_of_json(given)}
        try:
            validator(schema)
        except ValueError:
            schema = without_unusable_patterns(schema)
            validator(schema)
    except Exception as error:
        fault: Any = error
        why = " ".join(str(getattr(fault, "message", error)).split())[:200]
        raise InvalidInputError(f"tool {name}: its parameters are no JSON Schema: {why}") from error
    if "object" in schema["type"]:  # the word, or one of several
        schema["type"] = "object"
    if schema["type"] != "object":
        raise InvalidInputError(
            f"tool {name}: its parameters are of type {schema['type']!r}: arguments have names, so"
            " give a schema of type object"
        )
    return schema


def check_given_name(name: str) -> None:
    """Raises InvalidInputError for a name that cannot stand in a subject."""
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"a tool cannot be named {name[:80]!r}: give up to {_LONGEST_NAME} letters, digits,"
            " '_', '-', and dots between them"
        )


def _by_keyword(call: OfArguments) -> Callable[..., Any]:
    """The same, called as every tool is; its own parameters may have any names."""

    async def run(arguments: dict[str, Any], context: ToolContext) -> Any:
        return await call(arguments, context)

    def run_plain(arguments: dict[str, Any], context: ToolContext) -> Any:
        return call(arguments, context)

    return run if is_async(call) else run_plain
