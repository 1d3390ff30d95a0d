"""The tools of `[tools.openapi.NAME]`: one for each operation that its settings allow.

What becomes no tool is named in the log, with the reason, and the rest goes on; a document that
cannot be read, or an allowed operation that is not in it, keeps the worker from starting.
"""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import structlog

from galerne.errors import InvalidInputError, InvalidSettingsError
from galerne.settings import OpenApiSettings, ToolSettings
from galerne.tools import AnyTool, ToolContext, schema_tool
from galerne_tools.openapi.document import base_of, read_document
from galerne_tools.openapi.operations import Operation, Unusable, operations_of
from galerne_tools.openapi.service import Service, allowance
from galerne_tools.secrets import Secret, read_secret

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("galerne.tools")
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,23}")


def tools(settings: ToolSettings) -> list[AnyTool]:
    """Of all services. Raises InvalidSettingsError."""
    return [
        made for name, service in settings.openapi.items() for made in service_tools(name, service)
    ]


def service_tools(name: str, settings: OpenApiSettings) -> list[AnyTool]:
    """The tools of one service. Raises InvalidSettingsError."""
    where = f"tools.openapi.{name}"
    if not _NAME.fullmatch(name):
        raise InvalidSettingsError(
            f"{where}: its tools' names begin with this name: give 1 to 24 letters, digits, '_' "
            "or '-', a letter first"
        )
    secret = _secret(settings, where)
    document = read_document(settings.spec, name)
    base = base_of(document, name, settings.base, has_secret=bool(secret))
    found = list(operations_of(document.tree, name, _login(settings)))
    if not found:
        raise InvalidSettingsError(f"{where}.spec: the document describes no operation")
    _check_patterns(found, settings, where)
    service = Service(settings, base, secret)
    made: list[AnyTool] = []
    for one in found:
        if not _matches(one.id, settings.operations):
            continue
        if isinstance(one, Unusable):
            _log.warning("an operation is no tool", service=name, operation=one.id, why=one.why)
            continue
        try:
            made.append(_tool(service, settings, one))
        except InvalidInputError as error:
            _log.warning("an operation is no tool", service=name, operation=one.id, why=str(error))
    if not made:
        raise InvalidSettingsError(f"{where}: none of its operations became a tool; see the log")
    return made


def _tool(service: Service, settings: OpenApiSettings, operation: Operation) -> AnyTool:
    async def call(arguments: dict[str, Any], context: ToolContext) -> Any:
        return await service.call(operation, arguments, context)

    return schema_tool(
        operation.name,
        operation.description,
        operation.schema,
        call,
        effect=operation.effect,
        timeout=allowance(settings),
        approve=_matches(operation.id, settings.approve),
    )


def _secret(settings: OpenApiSettings, where: str) -> Secret:
    secret = read_secret(settings.auth_variable, settings.auth_file, f"{where}.auth_variable")
    if (settings.auth == "none") == bool(secret):
        raise InvalidSettingsError(
            f"{where}: auth and a secret (auth_variable or auth_file) belong together; give both "
            "or neither"
        )
    if settings.auth in {"header", "query"} and not settings.auth_name:
        raise InvalidSettingsError(f"{where}.auth_name is missing: name the {settings.auth}'s")
    if settings.auth == "basic":
        _, colon, password = secret.reveal().partition(":")
        if not colon:
            raise InvalidSettingsError(f"{where}: the secret for basic must be user:password")
        return Secret(secret.reveal(), *([password] if password else []))
    return secret


def _login(settings: OpenApiSettings) -> tuple[str, str] | None:
    """Place and name of the parameter that is the login's, and no model's to give."""
    name = settings.auth_name or ""
    if settings.auth == "header":
        return "header", name.lower()
    return ("query", name) if settings.auth == "query" else None


def _matches(operation: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(operation, pattern) for pattern in patterns)


def _check_patterns(
    found: Sequence[Operation | Unusable], settings: OpenApiSettings, where: str
) -> None:
    """A typo in `approve` must not let anything pass unasked."""
    for field, patterns in (("operations", settings.operations), ("approve", settings.approve)):
        for pattern in patterns:
            if not any(fnmatchcase(one.id, pattern) for one in found):
                known = ", ".join(one.id for one in found)[:300]
                raise InvalidSettingsError(
                    f"{where}.{field}: no operation is named {pattern!r}; there are {known}"
                )
