"""Where each rung of an executor's ladder is asked for, and at what price."""

from contextlib import AsyncExitStack

import pytest

from galerne.core.budget import Prices
from galerne.errors import UnavailableError
from galerne.models import open_model
from galerne.models.catalogue import load
from galerne.models.ladder import Ladder, Model, Rung
from galerne.models.rungs import longer_places, places, rungs_above
from galerne.models.served import served_name
from galerne.models.standin import StandIn
from galerne.settings import ModelsSettings, RoleSettings, RungSettings, Settings

pytestmark = pytest.mark.anyio

CATALOGUE = load()
SMALL = RoleSettings(endpoint="http://small:1", model="mistral-7b", api_key="small-key")
LARGE = RoleSettings(
    endpoint="http://large:1",
    model="mistralai/Mixtral-8x22B-Instruct-v0.1",
    api_key="large-key",
    input_price=0.5,
    output_price=1.5,
    max_tokens=4096,
)


def settings(
    executor: RoleSettings = SMALL, planner: RoleSettings = LARGE, **models: object
) -> Settings:
    return Settings(executor=executor, planner=planner, models=ModelsSettings(**models))  # type: ignore[arg-type]


def test_named_models_are_the_executors_and_the_last_is_the_planners() -> None:
    nemo, mixtral, last = places(settings(), CATALOGUE)
    assert [one.name for one in (nemo, mixtral, last)] == [
        "mistral-nemo",
        "mixtral-8x7b",
        "mixtral-8x22b",
    ]
    assert (nemo.role.endpoint, nemo.role.model, nemo.given) == (
        "http://small:1",
        "mistral-nemo",
        False,
    )
    assert nemo.role.api_key == "small-key"
    assert nemo.prices == Prices(0.0, 0.0, SMALL.max_tokens)
    assert (last.role, last.given, last.prices) == (LARGE, True, Prices(0.5, 1.5, 4096))


def test_a_table_says_what_differs_and_no_key_goes_elsewhere() -> None:
    table = RungSettings(endpoint="http://middle:1", model="mixtral", input_price=0.3)
    _, mixtral, _ = places(settings(rungs={"mixtral-8x7b": table}), CATALOGUE)
    assert mixtral.role.endpoint == "http://middle:1"
    assert (mixtral.role.model, mixtral.role.api_key, mixtral.given) == ("mixtral", None, True)
    assert mixtral.prices == Prices(0.3, 0.0, SMALL.max_tokens)
    own = RungSettings(endpoint="http://middle:1", api_key="own")
    _, mixtral, _ = places(settings(rungs={"mixtral-8x7b": own}), CATALOGUE)
    assert mixtral.role.api_key == "own"


def test_a_file_with_a_key_and_a_context_are_for_one_endpoint_and_one_model() -> None:
    small = RoleSettings(
        endpoint="http://small:1", model="mistral-7b", api_key_file="small.key", context=4096
    )
    beside, away = RungSettings(api_key="own"), RungSettings(endpoint="http://middle:1")
    rungs = {"mistral-nemo": beside, "mixtral-8x7b": away}
    nemo, mixtral, _ = places(settings(small, rungs=rungs), CATALOGUE)
    assert (nemo.role.api_key, nemo.role.api_key_file, nemo.role.context) == ("own", None, None)
    assert (mixtral.role.api_key, mixtral.role.api_key_file) == (None, None)


def test_models_with_more_context_are_looked_for_beside_the_planner() -> None:
    away = RungSettings(endpoint="http://longer:1", context=131_072, input_price=2.0)
    nemo, away_one = longer_places(
        settings(
            longer=("mistral-nemo", "mistral-large-2512", "mistral-nemo", "mixtral-8x22b"),
            rungs={"mistral-large-2512": away},
        ),
        CATALOGUE,
    )
    assert (nemo.name, nemo.role.endpoint, nemo.role.model) == (
        "mistral-nemo",
        "http://large:1",
        "mistral-nemo",
    )
    assert (nemo.given, nemo.role.context, nemo.role.api_key) == (False, None, "large-key")
    assert nemo.role.max_tokens == LARGE.max_tokens
    assert (away_one.given, away_one.role.context, away_one.role.api_key) == (True, 131_072, None)
    assert away_one.prices == Prices(2.0, 0.0, 4096)
    assert longer_places(settings(), CATALOGUE) == []


def test_hosted_models_have_the_catalogues_price() -> None:
    hosted = RoleSettings(endpoint="https://api.mistral.ai/v1", model="ministral-8b-2512")
    planner = RoleSettings(endpoint="https://api.mistral.ai/v1", model="mistral-large-2512")
    models = places(settings(hosted, planner, ladder=("mistral-small-2603",)), CATALOGUE)
    assert [one.name for one in models] == ["mistral-small-2603", "mistral-large-2512"]
    assert (models[0].prices.input, models[0].prices.output) == (0.15, 0.6)


def test_no_ladder_where_it_is_off_or_empty_or_one_model_does_all() -> None:
    assert places(settings(escalate=False), CATALOGUE) == []
    assert places(settings(ladder=()), CATALOGUE) == []
    assert places(settings(executor=LARGE), CATALOGUE) == []


@pytest.mark.parametrize(
    ("wanted", "listed", "name"),
    [
        ("mixtral-8x7b", ["mistral:7b", "mixtral:8x7b-instruct-v0.1-q4_K_M"], "mixtral:8x7b"),
        ("mistral-nemo", ["mistral-nemo:latest"], "mistral-nemo"),
        ("mixtral-8x7b", ["mistralai/Mixtral-8x7B-Instruct-v0.1"], "mistralai/Mixtral-8x7B"),
        ("mixtral-8x7b", ["stand-in:mistral-7b"], "mixtral-8x7b"),
        ("mixtral-8x7b", ["mistral:7b", "mixtral:8x22b"], None),
        ("of-our-own", ["of-our-own"], "of-our-own"),
        ("of-our-own", ["another"], None),
        ("mixtral-8x7b", [], None),
    ],
)
def test_a_server_may_call_it_otherwise(wanted: str, listed: list[str], name: str | None) -> None:
    found = served_name(wanted, listed, CATALOGUE)
    assert (found or "").startswith(name or "-none-") if name else found is None


async def test_every_model_of_the_stand_in_is_served() -> None:
    async with StandIn() as stand_in, AsyncExitStack() as stack:
        role = RoleSettings(endpoint=stand_in.url, model="mistral-7b")
        own = await stack.enter_async_context(open_model(role))
        both = settings(role, RoleSettings(endpoint=stand_in.url, model="mixtral-8x22b"))
        rungs = await rungs_above(both, own, CATALOGUE, stack)
        ladder = Ladder(Rung("mistral-7b", own), rungs)
        name, climbed = "mistral-7b", list[str]()
        while (above := await ladder.above(name)) is not None:
            name = above.name
            climbed.append(name)
        assert climbed == ["mistral-nemo", "mixtral-8x7b", "mixtral-8x22b"]


async def test_a_rung_that_is_not_served_now_is_passed_over() -> None:
    async def absent() -> bool:
        return False

    class Silent:
        ask = None

    model: Model = Silent()  # type: ignore[assignment]
    ladder = Ladder(Rung("a", model), [Rung("b", model, served=absent), Rung("c", model)])
    above = await ladder.above("a")
    assert above is not None
    assert above.name == "c"
    assert await ladder.above("c") is None
    with pytest.raises(UnavailableError, match="moved to z, which this worker does not have"):
        ladder.named("z")
