"""`galerne models [show|choose]`: what is known of the models, and which ones suit a job."""

import argparse
import difflib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from galerne.cli import options
from galerne.cli.parsing import Parser, Subparsers, duration, not_negative, positive

if TYPE_CHECKING:
    from galerne.models.catalogue import Catalogue

_QUALITIES = ("simple", "moderate", "complex")


def add(commands: Subparsers) -> None:
    parser = commands.add_parser(
        "models",
        help="list the models that are known, or choose among them",
        description="List the models for chat that can be had today, those on the hosted API"
        " first. `B`: billions of parameters, all and active. `$`: US dollars per million tokens."
        " `int4`: GiB of GPU memory at four bits.",
        parents=[options.as_json(), options.common()],
    )
    parser.add_argument(
        "--all", action="store_true", help="also those that are retired or not for chat"
    )
    parser.set_defaults(run=run_list)
    actions: Subparsers = parser.add_subparsers(
        title="actions", metavar="ACTION", parser_class=Parser
    )
    _add_show(actions)
    _add_choose(actions)


def _add_show(actions: Subparsers) -> None:
    parser = _action(actions, "show", "show all that is known of a model")
    parser.add_argument("name", metavar="NAME", help="its name on any back end")
    parser.set_defaults(run=run_show)


def _add_choose(actions: Subparsers) -> None:
    parser = _action(actions, "choose", "recommend a planner and an executor, with reasons")
    parser.add_argument(
        "--quality", choices=_QUALITIES, required=True, help="how demanding the jobs are"
    )
    parser.add_argument(
        "--latency", type=duration, metavar="TIME", help="that a short answer may take, as 2s"
    )
    parser.add_argument(
        "--gpu", default="none", metavar="GPUS", help="1x24GB, 2x80GB, … or none (%(default)s)"
    )
    parser.add_argument(
        "--budget",
        type=not_negative,
        metavar="USD",
        help="that a million tokens of a hosted model may cost, nine of ten read, one written",
    )
    parser.add_argument(
        "--context", type=positive, metavar="TOKENS", help="that a conversation may grow to"
    )
    parser.add_argument(
        "--self-hosted", action="store_true", help="only models on own GPUs, none on the API"
    )
    parser.set_defaults(run=run_choose)


def _action(actions: Subparsers, name: str, what: str) -> Parser:
    return actions.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        parents=[options.again(options.as_json()), options.again(options.common())],
    )


def run_list(flags: argparse.Namespace) -> int:
    from galerne.cli.catalogued import model_document, models_table, usable_first
    from galerne.cli.output import document, draw, note

    catalogue, today = _catalogue(flags), _today()
    usable, others = usable_first(catalogue.models, today)
    shown = [*usable, *others] if flags.all else usable
    if flags.json:
        document([model_document(model, today) for model in shown])
        return 0
    draw(models_table(shown, today))
    if not flags.all:
        note(f"{len(others)} more are retired or not for chat: --all")
    return 0


def run_show(flags: argparse.Namespace) -> int:
    from galerne.cli.catalogued import model_document, model_text
    from galerne.cli.output import answer, document
    from galerne.errors import InvalidInputError

    catalogue, today = _catalogue(flags), _today()
    found = catalogue.named(flags.name)
    if not found:
        near = difflib.get_close_matches(flags.name, [m.id for m in catalogue.models], n=1)
        advice = f"; did you mean {near[0]}?" if near else " (`galerne models --all` lists all)"
        raise InvalidInputError(f"no model is known as {flags.name!r}{advice}")
    if flags.json:
        document([model_document(model, today) for model in found])
        return 0
    texts = [model_text(model, today, catalogue.successor(model, today)) for model in found]
    answer("\n\n".join(texts))
    return 0


def run_choose(flags: argparse.Namespace) -> int:
    import msgspec

    from galerne.cli.catalogued import recommendation_text
    from galerne.cli.output import answer, document
    from galerne.models.catalogue import Gpus, Wish, choose, serving

    catalogue = _catalogue(flags)
    wish = Wish(
        quality=flags.quality,
        gpus=Gpus.parse(flags.gpu),
        self_hosted=flags.self_hosted,
        latency=flags.latency,
        budget=flags.budget,
        context=flags.context,
    )
    picked = choose(catalogue, wish, _today())
    how = serving(picked, wish, catalogue)
    if flags.json:
        document({**msgspec.to_builtins(picked), **msgspec.to_builtins(how)})
    else:
        answer(recommendation_text(picked, how))
    return 0


def _catalogue(flags: argparse.Namespace) -> "Catalogue":
    from galerne.models.catalogue import load

    file = options.settings_of(flags).models.catalogue
    return load(None if file is None else Path(file))


def _today() -> date:
    return datetime.now(UTC).date()
