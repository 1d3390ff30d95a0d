"""The catalogue of models on a terminal. Functions from data to rich tables and to text."""

from collections.abc import Mapping, Sequence
from datetime import date
from textwrap import fill
from typing import Any

import msgspec
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from galerne.cli.text import one_line
from galerne.models.catalogue import Model, Pick, Recommendation, Rejected, Serving

WIDTH = 79
_OWN = {"hosted": "on the hosted API", "own": "on your own GPUs"}
_NAMES = {
    "hosted": "hosted API",
    "hugging_face": "Hugging Face",
    "ollama": "Ollama",
    "gguf": "llama.cpp",
    "also": "also",
}


def usable_first(models: Sequence[Model], today: date) -> tuple[list[Model], list[Model]]:
    """Models for chat that can be had today, those on the hosted API first; and the others."""
    usable = [m for m in models if m.chats and (m.is_hosted(today) or m.self_hostable)]
    usable.sort(key=lambda model: not model.is_hosted(today))
    ids = {model.id for model in usable}
    return usable, [model for model in models if model.id not in ids]


def models_table(models: Sequence[Model], today: date) -> RenderableType:
    """One line a model, 80 columns."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("model", overflow="fold", max_width=28)
    table.add_column("on", no_wrap=True)
    table.add_column("B", no_wrap=True, justify="right")
    table.add_column("context", no_wrap=True, justify="right")
    table.add_column("tools", no_wrap=True)
    table.add_column("$ in/out", no_wrap=True, justify="right")
    table.add_column("int4", no_wrap=True, justify="right")
    for model in models:
        need = model.memory_needed
        table.add_row(
            Text(one_line(model.id, 64)),
            Text(_where(model, today)),
            Text(size_text(model)),
            Text(context_text(model.context)),
            Text(model.tools),
            Text(_prices(model) if model.is_hosted(today) else ""),
            Text(f"{need.int4:.0f}" if need is not None else ""),
        )
    return table


def _where(model: Model, today: date) -> str:
    match model.is_hosted(today), model.self_hostable:
        case True, True:
            return "API own"
        case True, False:
            return "API"
        case False, True:
            return "own"
        case _:
            return "gone"


def size_text(model: Model) -> str:
    """Billions of parameters, `141/39` where fewer are active; empty where not published."""
    if model.parameters is None:
        return ""
    if model.active is None or model.active == model.parameters:
        return f"{model.parameters:g}"
    return f"{model.parameters:g}/{model.active:g}"


def context_text(tokens: int | None) -> str:
    """`32k`, `1M`; empty where not known."""
    if tokens is None:
        return ""
    if tokens >= 1_000_000:  # noqa: PLR2004 - from here on, millions
        return f"{tokens / 1_000_000:.3g}M"
    return f"{tokens // 1024}k" if tokens % 1024 == 0 else f"{tokens / 1000:.3g}k"


def _prices(model: Model) -> str:
    if model.input_price is None or model.price_unit is not None:
        return ""
    out = "" if model.output_price is None else f"/{model.output_price:g}"
    return f"{model.input_price:g}{out}"


def model_document(model: Model, today: date) -> dict[str, Any]:
    """All fields of a model and what follows from them, as `--json` prints it."""
    fields: dict[str, Any] = msgspec.to_builtins(model)
    need = model.memory_needed
    return {
        **fields,
        "memory": None if need is None else msgspec.structs.asdict(need),
        "hosted_today": model.is_hosted(today),
        "self_hostable": model.self_hostable,
    }


def model_text(model: Model, today: date, instead: Model | None) -> str:
    """A model, one fact a line. `instead` is what the hosted API has in its place."""
    need = model.memory_needed
    facts: dict[str, str] = {
        "id": model.id,
        **{words: ", ".join(getattr(model, field)) for field, words in _NAMES.items()},
        "released": str(model.released or ""),
        "for": ", ".join(model.uses),
        "tools": model.tools,
        "schemas": "on the hosted API" if model.structured_outputs else "",
        "parameters": f"{size_text(model)} billion" if model.parameters else "",
        "memory": ""
        if need is None
        else f"{need.fp16:g} GiB at fp16, {need.int8:g} at int8, {need.int4:g} at int4",
        "context": f"{model.context:,} tokens" if model.context else "",
        "tokenizer": model.tokenizer or "",
        "licence": model.licence or "",
        "price": _price_text(model),
        "status": _status_text(model, today),
        "instead": instead.hosted[0] if instead is not None else "",
    }
    return f"{one_line(model.title, 200)}\n{_listed(facts)}"


def _price_text(model: Model) -> str:
    if model.input_price is None:
        return ""
    out = "" if model.output_price is None else f", ${model.output_price:g} out"
    unit = model.price_unit or "million tokens"
    day = f" ({model.priced})" if model.priced else ""
    return f"${model.input_price:g} in{out}, per {unit}{day}"


def _status_text(model: Model, today: date) -> str:
    if model.status == "self-hosted":
        return "never on the hosted API"
    if model.status == "retired":
        return f"left the hosted API{f' on {model.retired}' if model.retired else ''}"
    words = {"ga": "on the hosted API", "preview": "a preview on the hosted API"}
    said = words.get(model.status, "deprecated on the hosted API")
    if model.retired is None:
        return said
    past = model.is_retired(today)
    return f"{said}, {'was to leave' if past else 'leaves'} on {model.retired}"


def _listed(facts: Mapping[str, str]) -> str:
    given = {name: one_line(value, 1000) for name, value in facts.items() if value}
    margin = max(map(len, given), default=0) + 4
    return "\n".join(
        fill(
            f"  {name.ljust(margin - 2)}{value}",
            WIDTH,
            subsequent_indent=" " * margin,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, value in given.items()
    )


def recommendation_text(picked: Recommendation, how: Serving) -> str:
    """The two picks, their reasons, what to type, and the others with why not."""
    parts = [_pick_text(picked.planner), _pick_text(picked.executor)]
    if how.commands:
        parts.append("to serve them\n" + "\n".join(map(_command_text, how.commands)))
    lines = [f"  export {name}={value}" for name, value in how.variables.items()]
    parts.append("to use them\n" + "\n".join(lines))
    for role in ("planner", "executor"):
        others = [_other_text(one) for one in picked.others if one.role == role]
        if others:
            parts.append(f"other {role}s\n" + "\n".join(others))
    return "\n\n".join(parts)


def _pick_text(pick: Pick) -> str:
    place = _OWN[pick.place] + (f" at {pick.precision}" if pick.precision else "")
    head = f"{pick.role}: {pick.model}, {place}"
    return "\n".join([head, *(_bullet(reason) for reason in pick.reasons)])


def _other_text(one: Rejected) -> str:
    place = "API" if one.place == "hosted" else "own"
    return _bullet(f"{one.model} ({place}): {one.why}")


def _bullet(text: str) -> str:
    return fill(
        one_line(text),
        WIDTH,
        initial_indent="  - ",
        subsequent_indent="    ",
        break_on_hyphens=False,
    )


def _command_text(parts: Sequence[str]) -> str:
    """A command in lines that a shell joins again."""
    lines = [f"  {parts[0]}"]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) + 3 <= WIDTH:
            lines[-1] += f" {part}"
        else:
            lines[-1] += " \\"
            lines.append(f"    {part}")
    return "\n".join(lines)
