"""The catalogue: the packaged models.toml, a user's file over it, and finding a model by name.

A name is looked up as its back end reads it. The hosted API and vLLM compare letter by letter;
Ollama ignores case, takes a missing tag for `latest`, and puts the quantisation at the end of a
tag, so that the longest known tag before a quantisation decides. llama.cpp's server calls a model
by its file. A name that nobody knows is no error: it may be a private fine-tune.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast, get_args

import msgspec

from galerne.errors import InvalidSettingsError
from galerne.models.catalogue.model import BackEnd, Model

PACKAGED = "models.toml"
_BACK_ENDS: tuple[BackEnd, ...] = get_args(BackEnd)
_LIBRARY = re.compile(r"^(registry\.ollama\.ai/)?library/", re.IGNORECASE)
_HUB = re.compile(r"^(hf\.co|huggingface\.co)/", re.IGNORECASE)
_QUANTISATION = re.compile(r"[-.](i?q\d\w*|iq\d\w*|fp?16|bf16|fp32|mxfp4)$", re.IGNORECASE)
_PART = re.compile(r"-\d{5}-of-\d{5}$")
_ORDER = {"ga": 0, "self-hosted": 0, "preview": 1, "deprecated": 2, "retired": 3}


class Catalogue:
    """All models that are known. Look one up with `find`; `models` is in the file's order."""

    def __init__(self, models: Iterable[Model]) -> None:
        self.models = tuple(models)
        self._by_id = {model.id: model for model in self.models}
        self._by_name: dict[tuple[BackEnd, str], list[Model]] = {}
        for model in self.models:
            for back_end in _BACK_ENDS:
                for name in dict.fromkeys(_written(n, back_end) for n in model.names(back_end)):
                    self._by_name.setdefault((back_end, name), []).append(model)

    def __getitem__(self, model_id: str) -> Model:
        """The model with this id of ours. Raises KeyError."""
        return self._by_id[model_id]

    def named(self, name: str, on: BackEnd | None = None) -> tuple[Model, ...]:
        """All models that go by `name`, the most usable first, then the newest.

        `on` None asks every back end, and our own ids first.
        """
        if on is None and name in self._by_id:
            return (self._by_id[name],)
        found: dict[str, Model] = {}
        for back_end in _BACK_ENDS if on is None else (on,):
            for model in self._named_on(name, back_end):
                found.setdefault(model.id, model)
        return tuple(sorted(found.values(), key=_usable_first))

    def find(self, name: str, on: BackEnd | None = None) -> Model | None:
        """The first of `named`, or None."""
        return next(iter(self.named(name, on)), None)

    def successor(self, model: Model, today: date) -> Model | None:
        """What the hosted API has today in place of `model`; None where nothing is announced."""
        seen = {model.id}
        while model.replacement is not None and model.replacement not in seen:
            model = self._by_id[model.replacement]
            seen.add(model.id)
            if model.is_hosted(today):
                return model
        return None

    def check_name(self, name: str, on: BackEnd, today: date) -> str | None:
        """A warning about a model that is going to leave the hosted API, or None.

        Raises InvalidSettingsError, with the replacement, where it has left, where only another
        back end knows it by this name, and where it is a model that does not chat. Other back
        ends keep what they have, so they refuse nothing.
        """
        if on != "hosted":
            return None
        known = self.named(name, on)
        if not known:
            self._check_elsewhere(name, today)
            return None
        here = [model for model in known if not model.is_retired(today)]
        if not here:
            raise InvalidSettingsError(self._left(name, known[0], today))
        if not any(model.chats for model in here):
            uses = ", ".join(here[0].uses)
            raise InvalidSettingsError(
                f"{name} is not for chat ({uses}): `galerne models` lists those that are"
            )
        first = here[0]
        if first.retired is None and first.status != "deprecated":
            return None
        when = f"on {first.retired}" if first.retired else "some day"
        return f"{name} leaves the hosted API {when}{self._instead(first, today)}"

    def _check_elsewhere(self, name: str, today: date) -> None:
        model = self.find(name)
        if model is None:
            return
        there = model if model.is_hosted(today) else self.successor(model, today)
        use = there.hosted[0] if there is not None else "another (`galerne models`)"
        raise InvalidSettingsError(
            f"{name} ({model.title}) is no name on the hosted API: use {use} there, or set"
            " `endpoint` to the server that has it"
        )

    def _left(self, name: str, model: Model, today: date) -> str:
        gone = "left" if model.status == "retired" else "was to leave"
        when = f" on {model.retired}" if model.retired else ""
        own = [f"Ollama {model.ollama[-1]}"] if model.ollama else []
        own += [f"Hugging Face {model.hugging_face[0]}"] if model.hugging_face else []
        serve = f", or serve it yourself ({', '.join(own)})" if own else ""
        instead = self._instead(model, today) or ": choose another (`galerne models`)"
        return f"{name} {gone} the hosted API{when}{instead}{serve}"

    def _instead(self, model: Model, today: date) -> str:
        successor = self.successor(model, today)
        return f": use {successor.hosted[0]}" if successor is not None else ""

    def _named_on(self, name: str, back_end: BackEnd) -> list[Model]:
        if back_end == "ollama" and _HUB.match(name):  # one of llama.cpp's files
            back_end = "llama_cpp"
        for candidate in _readings(name, back_end):
            if found := self._by_name.get((back_end, candidate)):
                return found
        return []


def _usable_first(model: Model) -> tuple[int, int]:
    return (_ORDER[model.status], -(model.released or date.min).toordinal())


def _written(name: str, on: BackEnd) -> str:
    """A name as it is compared on a back end."""
    match on:
        case "hosted" | "vllm":
            return name
        case "ollama":
            return name.lower().removesuffix(":latest")
        case "llama_cpp":
            return name.lower()


def _readings(name: str, on: BackEnd) -> list[str]:
    """What `name` may be written as in the catalogue, the longest first."""
    match on:
        case "hosted" | "vllm":
            return [name]
        case "ollama":
            whole = _written(_LIBRARY.sub("", name), on)
            return list(dict.fromkeys([whole, _QUANTISATION.sub("", whole)]))
        case "llama_cpp":
            return _file_readings(name)


def _file_readings(name: str) -> list[str]:
    """`hf.co/owner/NAME-GGUF:Q4_K_M`, `owner/NAME`, or a file `/models/NAME-Q4_K_M.gguf`."""
    lower = _HUB.sub("", name).lower()
    if not lower.endswith(".gguf"):
        return list(dict.fromkeys([lower, lower.partition(":")[0]]))
    stem = _PART.sub("", re.split(r"[/\\]", lower)[-1].removesuffix(".gguf"))
    stem = _QUANTISATION.sub("", stem)
    return [stem, f"mistralai/{stem}"]


def load_setting(file: str | None) -> Catalogue:
    """As `load`, from the setting `models.catalogue`."""
    return load(Path(file) if file else None)


@cache
def packaged() -> Catalogue:
    """Ours alone, read once in a process."""
    return load()


def load(file: Path | None = None) -> Catalogue:
    """The packaged catalogue with `file` over it: its models change ours by `id`, or are added.

    Raises InvalidSettingsError, one line with the file, the model and the field.
    """
    text = files("galerne.models.catalogue").joinpath(PACKAGED).read_text(encoding="utf-8")
    tables = _tables(text, PACKAGED)
    origin = dict.fromkeys(tables, PACKAGED)
    if file is not None:
        for model_id, table in _tables(_text(file), str(file)).items():
            tables[model_id] = {**tables.get(model_id, {}), **table}
            origin[model_id] = str(file)
    models = {model_id: _model(table, origin[model_id]) for model_id, table in tables.items()}
    for model_id, model in models.items():
        if model.replacement is not None and model.replacement not in models:
            raise InvalidSettingsError(
                f"{origin[model_id]}: model {model_id!r}: replacement: there is no model"
                f" {model.replacement!r} in the catalogue"
            )
    return Catalogue(models.values())


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidSettingsError(
            f"cannot read the catalogue {file}: {reason}; correct `catalogue` in [models]"
        ) from error


def _tables(text: str, file: str) -> dict[str, dict[str, Any]]:
    """Table by id."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidSettingsError(f"{file} is not valid TOML: {error}") from error
    listed: object = document.pop("models", [])
    if document or not isinstance(listed, list):
        what = next(iter(document), "models")
        raise InvalidSettingsError(f"{file}: {what!r}: write each model as a table [[models]]")
    entries = cast("list[object]", listed)
    found: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(entries, start=1):
        table = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
        model_id: object = table.get("id")
        if not isinstance(model_id, str) or not model_id:
            raise InvalidSettingsError(f"{file}: model {number} has no `id`; give it one")
        if model_id in found:
            raise InvalidSettingsError(f"{file}: model {model_id!r} is there twice; join the two")
        found[model_id] = table
    return found


def _model(table: Mapping[str, Any], file: str) -> Model:
    try:
        model = msgspec.convert(table, Model)
    except msgspec.ValidationError as error:
        raise InvalidSettingsError(f"{file}: model {table['id']!r}: {_place(error)}") from error
    wrong = _misfit(model)
    if wrong:
        raise InvalidSettingsError(f"{file}: model {model.id!r}: {wrong}")
    return model


def _place(error: msgspec.ValidationError) -> str:
    """`Expected … - at `$.context``, as msgspec says it, as `context: Expected …`."""
    what, found, path = str(error).partition(" - at `$.")
    return f"{path.rstrip('`')}: {what}" if found else what


def _misfit(model: Model) -> str:
    """Which field cannot be, with the reason; empty where all can."""
    for field in ("parameters", "active", "context"):
        value: float | None = getattr(model, field)
        if value is not None and not 0 < value < float("inf"):
            return f"{field}: must be above 0, not {value}"
    for field in ("input_price", "output_price"):
        price: float | None = getattr(model, field)
        if price is not None and not 0 <= price < float("inf"):
            return f"{field}: must be 0 or more, not {price}"
    if model.parameters is not None and (model.active or 0) > model.parameters:
        return f"active: {model.active:g} is more than all {model.parameters:g} parameters"
    if model.chats != (model.tools != "none"):
        return f"tools: {model.tools!r} does not go with uses {list(model.uses)}"
    return ""
