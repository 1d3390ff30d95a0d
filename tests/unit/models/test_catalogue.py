"""The catalogue: what is in it, a user's file over it, names on every back end, retired names."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from galerne.errors import InvalidSettingsError
from galerne.models import ModelClient
from galerne.models.catalogue import BackEnd, Catalogue, Memory, load
from galerne.settings import ModelsSettings, RoleSettings, load_settings

TODAY = date(2026, 11, 23)
CATALOGUE = load()
SEVEN_B = "mistral-7b-instruct-v0.3"
NAMES = [
    (end, name) for m in CATALOGUE.models for end in ("hosted", "ollama") for name in m.names(end)
]


def refusal(file: Path) -> str:
    with pytest.raises(InvalidSettingsError) as caught:
        load(file)
    (line,) = str(caught.value).splitlines()
    return line


# what is in it


@pytest.mark.parametrize(
    ("model_id", "size", "context", "tokenizer", "tools"),
    [
        ("mistral-7b-instruct-v0.1", (7.3, 7.3), 8192, "v1", "prompt"),
        ("mistral-7b-instruct-v0.2", (7.3, 7.3), 32768, "v2", "prompt"),
        ("mistral-7b-instruct-v0.3", (7.3, 7.3), 32768, "v3", "native"),
        ("mistral-nemo-instruct-2407", (12, 12), 131072, "tekken 240718", "native"),
        ("mixtral-8x7b-instruct-v0.1", (46.7, 13), 32768, "v1", "prompt"),
        ("mixtral-8x22b-instruct-v0.1", (141, 39), 65536, "v3", "native"),
    ],
)
def test_the_classics(
    model_id: str, size: tuple[float, float], context: int, tokenizer: str, tools: str
) -> None:
    model = CATALOGUE[model_id]
    assert (model.parameters, model.active) == size
    assert (model.context, model.tokenizer, model.tools) == (context, tokenizer, tools)
    assert model.licence == "Apache-2.0"
    assert model.hugging_face
    assert model.ollama
    assert model.gguf


def test_every_model_is_whole() -> None:
    assert len(CATALOGUE.models) == 65
    for model in CATALOGUE.models:
        assert model.title
        assert model.family
        assert model.uses
        assert model.chats == (model.tools != "none")
        assert (model.input_price is None) == (model.priced is None), model.id
        assert (model.planner or model.executor or None) is None or model.recommended_on
        if model.self_hostable:
            assert model.parameters, model.id
            assert model.memory_needed, model.id
        else:
            assert model.memory_needed is None
        if model.status in {"deprecated", "retired"} and model.hosted:
            assert model.retired, model.id


def test_every_hosted_model_of_the_guidance_is_to_be_had_for_its_price() -> None:
    prices = {
        "mistral-large-2512": (0.5, 1.5),
        "mistral-medium-3-5": (1.5, 7.5),
        "mistral-small-2603": (0.15, 0.6),
        "ministral-8b-2512": (0.15, 0.15),
        "ministral-3b-2512": (0.1, 0.1),
    }
    for name, price in prices.items():
        model = CATALOGUE[name]
        assert (model.input_price, model.output_price) == price
        assert model.is_hosted(TODAY)
        assert CATALOGUE.check_name(name, "hosted", TODAY) is None


def test_memory_follows_the_rule_that_the_page_gives() -> None:
    need = CATALOGUE["mixtral-8x22b-instruct-v0.1"].memory_needed
    assert need is not None
    weights = 141e9 * 1.2 / 2**30
    assert need.fp16 == pytest.approx(weights * 2, abs=0.06)
    assert need.int8 == pytest.approx(weights * 34 / 32, abs=0.06)
    assert need.int4 == pytest.approx(weights * 18 / 32, abs=0.06)


def test_a_price_that_is_not_by_tokens_is_never_blended() -> None:
    assert CATALOGUE["mistral-ocr-2512"].input_price == 2
    assert CATALOGUE["mistral-ocr-2512"].blended_price is None
    assert CATALOGUE["voxtral-small-2507"].blended_price is None
    assert CATALOGUE["mistral-small-2603"].blended_price == pytest.approx(0.195)


# names


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("open-mixtral-8x22b", "mixtral-8x22b-instruct-v0.1"),
        ("mistralai/Mixtral-8x22B-Instruct-v0.1", "mixtral-8x22b-instruct-v0.1"),
        ("mixtral:8x22b", "mixtral-8x22b-instruct-v0.1"),
        ("mixtral:8x22b-instruct-v0.1-q4_K_M", "mixtral-8x22b-instruct-v0.1"),
        ("mixtral", "mixtral-8x7b-instruct-v0.1"),
        ("mistral", SEVEN_B),
        ("Mistral:Latest", SEVEN_B),
        ("library/mistral", SEVEN_B),
        ("mistral:7b-instruct-v0.3-q4_K_M", SEVEN_B),
        ("mistral:7b-instruct-v0.2-q8_0", "mistral-7b-instruct-v0.2"),
        ("mistral:7b-instruct-fp16", SEVEN_B),
        ("/models/Mistral-7B-Instruct-v0.3.Q4_K_M.gguf", SEVEN_B),
        (
            "C:\\models\\Mixtral-8x22B-Instruct-v0.1.Q4_K_M-00001-of-00002.gguf",
            "mixtral-8x22b-instruct-v0.1",
        ),
        ("bartowski/Mistral-7B-Instruct-v0.3-GGUF:Q4_K_M", SEVEN_B),
        ("hf.co/bartowski/Mistral-7B-Instruct-v0.3-GGUF:Q4_K_M", SEVEN_B),
        ("open-mistral-7b", SEVEN_B),  # v0.2 too: the newest is meant
        ("voxtral-mini-latest", "voxtral-mini-2602"),  # a deprecated one too: the usable is meant
        ("mistral-7b", SEVEN_B),
        ("mixtral-8x22b", "mixtral-8x22b-instruct-v0.1"),
    ],
)
def test_a_model_is_found_by_any_of_its_names(name: str, model_id: str) -> None:
    found = CATALOGUE.find(name)
    assert found is not None
    assert found.id == model_id


@pytest.mark.parametrize(
    ("name", "on"),
    [
        ("our-team/our-7b", None),
        ("", None),
        ("mistral:7b-text", "ollama"),  # a base model, not the one that chats
        ("mistral:7b-our-tune", "ollama"),
        ("Open-Mixtral-8x22b", "hosted"),  # the hosted API tells letters apart
        ("mistralai/mixtral-8x22b-instruct-v0.1", "vllm"),
        ("mixtral:8x22b", "hosted"),
        ("open-mixtral-8x22b", "ollama"),
    ],
)
def test_another_name_or_another_back_end_gives_nothing(name: str, on: BackEnd | None) -> None:
    assert CATALOGUE.find(name, on) is None
    assert CATALOGUE.named(name, on) == ()


@given(st.sampled_from(NAMES))
def test_every_name_finds_its_model_on_its_back_end(known: tuple[BackEnd, str]) -> None:
    on, name = known
    assert any(name in model.names(on) for model in CATALOGUE.named(name, on))


@given(st.text(max_size=60), st.sampled_from(["hosted", "vllm", "ollama", "llama_cpp", None]))
def test_no_text_breaks_the_lookup(name: str, on: BackEnd | None) -> None:
    assert all(model in CATALOGUE.models for model in CATALOGUE.named(name, on))


# retired names


def check(name: str, today: date = TODAY, on: BackEnd = "hosted") -> str:
    with pytest.raises(InvalidSettingsError) as caught:
        CATALOGUE.check_name(name, on, today)
    (line,) = str(caught.value).splitlines()
    return line


def test_a_retired_name_fails_with_its_replacement_and_where_to_get_it() -> None:
    assert check("open-mixtral-8x22b") == (
        "open-mixtral-8x22b left the hosted API on 2025-03-30: use mistral-small-2603, or serve"
        " it yourself (Ollama mixtral:8x22b-instruct-v0.1, Hugging Face"
        " mistralai/Mixtral-8x22B-Instruct-v0.1)"
    )
    assert "use ministral-8b-2512" in check("open-mistral-7b")
    assert "use mistral-small-2603" in check("open-mixtral-8x7b")


def test_a_deprecated_name_warns_until_its_day_and_fails_from_then_on() -> None:
    name = "mistral-large-2411"
    assert CATALOGUE.check_name(name, "hosted", date(2026, 5, 30)) == (
        "mistral-large-2411 leaves the hosted API on 2026-05-31: use mistral-medium-3-5"
    )
    assert "was to leave the hosted API on 2026-05-31: use mistral-medium-3-5" in check(
        name, date(2026, 5, 31)
    )


def test_a_replacement_that_has_left_too_is_followed_to_one_that_is_there(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[models]]\nid = "mistral-small-2603"\nstatus = "retired"\n'
        'retired = 2026-10-01\nreplacement = "mistral-large-2512"\n'
    )
    with pytest.raises(InvalidSettingsError, match="use mistral-large-2512"):
        load(file).check_name("open-mixtral-8x7b", "hosted", TODAY)


def test_where_nothing_is_announced_instead_the_list_is_named() -> None:
    assert "choose another (`galerne models`)" in check("labs-leanstral-1-5")


def test_a_model_that_does_not_chat_is_refused() -> None:
    assert check("mistral-embed").startswith("mistral-embed is not for chat (embed)")


def test_a_name_of_another_back_end_fails_with_the_one_of_the_api() -> None:
    own = "or set `endpoint` to the server that has it"
    assert check("mixtral:8x22b") == (
        "mixtral:8x22b (Mixtral 8x22B Instruct v0.1) is no name on the hosted API: use"
        f" mistral-small-2603 there, {own}"
    )
    assert "use mistral-large-2512 there" in check("mistralai/Mistral-Large-3-675B-Instruct-2512")
    assert "use another (`galerne models`) there" in check("mistralai/Leanstral-1.5-119B-A6B")


@pytest.mark.parametrize("on", ["vllm", "ollama", "llama_cpp"])
def test_other_back_ends_keep_what_they_have(on: BackEnd) -> None:
    assert CATALOGUE.check_name("open-mixtral-8x22b", on, TODAY) is None
    assert CATALOGUE.check_name("mixtral:8x22b", on, TODAY) is None


def test_an_unknown_name_is_left_to_the_server() -> None:
    assert CATALOGUE.check_name("ft:ministral:our-team", "hosted", TODAY) is None


@pytest.mark.parametrize("endpoint", ["https://api.mistral.ai", "https://API.mistral.ai/v1/"])
def test_the_client_of_a_retired_model_is_not_made(endpoint: str) -> None:
    retired = RoleSettings(endpoint=endpoint, model="open-mistral-7b")
    with pytest.raises(InvalidSettingsError, match="use ministral-8b-2512"):
        ModelClient(retired)
    ModelClient(retired, today=date(2025, 3, 1), catalogue=Catalogue([]))
    ModelClient(RoleSettings(endpoint="http://127.0.0.1:8000", model="open-mistral-7b"))


def test_the_client_of_a_leaving_model_warns() -> None:
    leaving = RoleSettings(endpoint="https://api.mistral.ai", model="mistral-large-2411")
    with capture_logs() as logs:
        ModelClient(leaving, today=date(2026, 4, 1))
    (warning,) = logs
    assert warning["log_level"] == "warning"
    assert "leaves the hosted API on 2026-05-31: use mistral-medium-3-5" in warning["advice"]
    with pytest.raises(InvalidSettingsError):
        ModelClient(leaving, today=date(2026, 6, 1))


# a user's file


MINE = """
[[models]]
id = "our-7b"
title = "Ours"
family = "Mistral 7B"
uses = ["chat"]
tools = "native"
status = "self-hosted"
hugging_face = ["our-team/our-7b"]
parameters = 7.3

[[models]]
id = "mixtral-8x7b-instruct-v0.1"
memory = { fp16 = 96.0, int8 = 51.0, int4 = 27.5 }
"""


def test_a_users_file_adds_models_and_changes_single_fields(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    catalogue = load(file)
    assert len(catalogue.models) == 66
    ours = catalogue.find("our-team/our-7b", "vllm")
    assert ours is not None
    assert (ours.id, ours.is_hosted(TODAY)) == ("our-7b", False)
    changed = catalogue["mixtral-8x7b-instruct-v0.1"]
    assert changed.memory_needed == Memory(fp16=96.0, int8=51.0, int4=27.5)
    assert changed.parameters == 46.7
    assert load()["mixtral-8x7b-instruct-v0.1"].memory is None


def test_a_users_file_can_say_that_a_model_is_still_there(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[[models]]\nid = "mistral-large-2411"\nretired = 2027-05-31\n')
    warning = load(file).check_name("mistral-large-2411", "hosted", TODAY)
    assert warning is not None
    assert "leaves the hosted API on 2027-05-31" in warning


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[models]]\nid = "our-7b"\ncontext = "long"\n', "model 'our-7b'"),
        ('[[models]]\nid = "mistral-small-2603"\ncontext = "long"\n', "context: Expected `int"),
        ('[[models]]\nid = "mistral-small-2603"\ncontxt = 1\n', "unknown field `contxt`"),
        ('[[models]]\nid = "mistral-small-2603"\ncontext = 0\n', "context: must be above 0"),
        ('[[models]]\nid = "mistral-small-2603"\ninput_price = -1\n', "input_price: must be 0"),
        ('[[models]]\nid = "mistral-small-2603"\nactive = 200\n', "active: 200 is more than"),
        ('[[models]]\nid = "mistral-small-2603"\ntools = "none"\n', "tools: 'none' does not go"),
        ('[[models]]\nid = "mistral-small-2603"\ntools = "magic"\n', "tools: Invalid enum value"),
        ('[[models]]\nid = "mistral-small-2603"\nreplacement = "x"\n', "replacement: there is no"),
        ('[[models]]\ntitle = "nameless"\n', "model 1 has no `id`"),
        ('[[models]]\nid = "a"\n[[models]]\nid = "a"\n', "model 'a' is there twice"),
        ('[[models]]\nid = "our-7b"\n', "missing required field `title`"),
        ('model = "x"\n', "'model': write each model as a table"),
        ("models = 3\n", "'models': write each model as a table"),
        ("[[models]\n", "is not valid TOML"),
    ],
)
def test_a_wrong_file_is_one_line_with_file_model_and_field(
    tmp_path: Path, text: str, says: str
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    line = refusal(file)
    assert str(file) in line
    assert says in line


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "absent.toml: No such file" in refusal(tmp_path / "absent.toml")
    assert "cannot read the catalogue" in refusal(tmp_path)


def test_the_setting_comes_from_the_variable(tmp_path: Path) -> None:
    found = load_settings(environ={"GALERNE_MODELS_CATALOGUE": "mine.toml"})
    assert found.models == ModelsSettings(catalogue="mine.toml")
