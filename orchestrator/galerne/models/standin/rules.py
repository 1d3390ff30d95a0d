"""The whole of the stand-in model: a pure function from a request to an answer."""

from typing import Any, cast

from galerne.messages.chat import ChatRequest, ToolSchema
from galerne.models.standin.answering import answer_text, without_signature
from galerne.models.standin.answers import Answer, CallTools, Say, ToolUse
from galerne.models.standin.executing import execute, follow
from galerne.models.standin.filling import filled
from galerne.models.standin.in_words import natively, written
from galerne.models.standin.planning import plan_lines
from galerne.models.standin.prompts import role_of
from galerne.models.standin.summing_up import summary_text


def respond(request: ChatRequest) -> Answer:
    """What the stand-in answers. The same request always gets the same answer.

    With `tool_choice` "any" a conversation that has no tool result yet gets a call, as a real
    server's grammar would force one: of the first tool, with the plainest arguments that fit. Tools
    that are offered in words are called in words. A value of a schema is filled from the text.
    """
    native = natively(request)
    answer = _respond(native or request)
    match answer:
        case CallTools() if native:
            return written(answer)
        case Say(text) if request.output is not None:
            return Say(filled(request.output, without_signature(text)) or text)
        case _:
            return answer


def _respond(request: ChatRequest) -> Answer:
    match role_of(request.messages):
        case "planner":
            answer: Answer = Say(plan_lines(request))
        case "executor":
            answer = execute(request)
        case "answer":
            return Say(answer_text(request))
        case "summary":
            return Say(summary_text(request))
        case "other":
            answer = follow(_last_question(request), (), request)
    forced = request.tool_choice == "any" and request.tools
    if isinstance(answer, Say) and forced and request.messages[-1].role == "user":
        return CallTools((ToolUse(request.tools[0].name, _plainest(request.tools[0])),))
    return answer


def _last_question(request: ChatRequest) -> str:
    return next((m.content for m in reversed(request.messages) if m.role == "user"), "")


def _plainest(tool: ToolSchema) -> dict[str, Any]:
    """A value for each required argument, by its type alone."""
    properties = _object(tool.parameters.get("properties"))
    required = tool.parameters.get("required")
    names = cast("list[object]", required) if isinstance(required, list) else []
    return {str(name): _value(_object(properties.get(str(name)))) for name in names}


def _value(schema: dict[str, Any]) -> object:
    if "default" in schema:
        return cast("object", schema["default"])
    match schema:
        case {"enum": [first, *_]}:
            return cast("object", first)
        case {"type": "integer" | "number"}:
            return schema.get("minimum", 0)
        case {"type": "boolean"}:
            return False
        case {"type": "array"}:
            return []
        case {"type": "object"}:
            return {}
        case _:
            return "text"


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
