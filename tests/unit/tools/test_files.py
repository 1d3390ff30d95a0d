from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import ToolError
from galerne.settings import ToolSettings
from galerne.tools import AnyTool
from galerne_tools import _search
from galerne_tools._root import Root
from galerne_tools._search import MAX_LINE
from galerne_tools.files import MAX_LISTED, MAX_READ, FileTools, Pattern, tools
from unit.tools.calls import refusal_of, value_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {
        "README.md": "# Title\n\nA storm at sea.\n",
        "a.txt": "no newline at the end",
        "docs/guide.md": "storm\nStorm\ncalm\n",
        "docs/deep/er/note.md": "a storm, a storm\r\n",
        "docs.md": "",
        "src/main.py": "print('storm')\n",
        ".git/config": "storm\n",
        ".hidden": "storm\n",
        "src/node_modules/x.js": "storm\n",
        "src/__pycache__/y.py": "storm\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, newline="")
    (tmp_path / "blob.bin").write_bytes(b"storm\0storm\n")
    return tmp_path


@pytest.fixture
def named(root: Path) -> dict[str, AnyTool]:
    return {made.spec.name: made for made in tools(ToolSettings(root=str(root)))}


def test_the_schemas_are_what_models_are_told(named: dict[str, AnyTool]) -> None:
    assert list(named) == ["list_files", "read_file", "search_files"]
    shapes = {
        name: (
            {
                field: (kind["type"], kind.get("default"))
                for field, kind in made.spec.parameters["properties"].items()
            },
            made.spec.parameters["required"],
        )
        for name, made in named.items()
    }
    assert shapes == {
        "list_files": ({"path": ("string", "."), "pattern": ("string", "*")}, []),
        "read_file": (
            {
                "path": ("string", None),
                "start_line": ("integer", 1),
                "max_lines": ("integer", 200),
            },
            ["path"],
        ),
        "search_files": (
            {
                "text": ("string", None),
                "path": ("string", "."),
                "pattern": ("string", "*"),
                "max_matches": ("integer", 50),
                "regex": ("boolean", False),
                "ignore_case": ("boolean", False),
                "context": ("integer", 0),
            },
            ["text"],
        ),
    }
    assert named["read_file"].spec.parameters == {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "The file, from the root folder."},
            "start_line": {
                "type": "integer",
                "minimum": 1,
                "default": 1,
                "description": "The first line to read; lines count from 1.",
            },
            "max_lines": {
                "type": "integer",
                "minimum": 1,
                "default": 200,
                "description": "How many lines to read.",
            },
        },
        "required": ["path"],
        "additionalProperties": False,
    }
    for made in named.values():
        fields = made.spec.parameters["properties"].values()
        assert all(field["description"] for field in fields)
        assert made.spec.parameters["additionalProperties"] is False


# list_files


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        (
            {},
            [
                ".hidden",
                "README.md",
                "a.txt",
                "blob.bin",
                "docs/deep/er/note.md",
                "docs/guide.md",
                "docs.md",
                "src/main.py",
            ],
        ),
        ({"pattern": "*.md", "path": "docs"}, ["docs/deep/er/note.md", "docs/guide.md"]),
        ({"pattern": "docs/*.md"}, ["docs/guide.md"]),
        ({"pattern": "./docs/**/*.md"}, ["docs/deep/er/note.md", "docs/guide.md"]),
        ({"pattern": "**/note.*"}, ["docs/deep/er/note.md"]),
        ({"pattern": "[Rr]eadme.md"}, []),
        ({"path": "./docs/", "pattern": "deep/**"}, ["docs/deep/er/note.md"]),
        ({"path": "a.txt"}, ["a.txt"]),
        ({"path": ".git"}, [".git/config"]),
        ({"pattern": ".git/*"}, [".git/config"]),
        ({"path": "src", "pattern": "node_modules/*"}, ["src/node_modules/x.js"]),
        ({"pattern": "nothing"}, []),
        ({"path": ""}, ["*"]),
    ],
)
async def test_listing(
    named: dict[str, AnyTool], arguments: dict[str, Any], listed: list[str]
) -> None:
    found = await value_of(named["list_files"], **arguments)
    if listed == ["*"]:
        listed = await value_of(named["list_files"])
    assert found == listed


async def test_too_many_files_are_refused_with_the_folders_to_choose_from(
    root: Path, named: dict[str, AnyTool]
) -> None:
    (root / "many").mkdir()
    for n in range(MAX_LISTED):
        (root / "many" / f"{n}.csv").touch()
    assert len(await value_of(named["list_files"], path="many")) == MAX_LISTED
    (root / "many" / "one_more.csv").touch()
    refused = await refusal_of(named["list_files"], pattern="*.csv")
    assert refused.message == (
        "more than 1000 files match '*.csv' in '.'; "
        "give a narrower pattern or one of its folders as path (docs, many, src)"
    )
    refused = await refusal_of(named["list_files"], path="many")
    assert refused.message.endswith("give a narrower pattern")


async def test_braces_are_not_a_pattern(named: dict[str, AnyTool]) -> None:
    refused = await refusal_of(named["list_files"], pattern="*.{py,md}")
    assert "ask once per pattern" in refused.message


# read_file


async def test_reading_gives_the_text_as_it_is(root: Path, named: dict[str, AnyTool]) -> None:
    for name in ("README.md", "a.txt", "docs.md"):
        assert await value_of(named["read_file"], path=name) == (root / name).read_text()
    assert await value_of(named["read_file"], path="docs/deep/er/note.md") == "a storm, a storm\r\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"start_line": 3}, "A storm at sea.\n"),
        ({"max_lines": 3}, "# Title\n\nA storm at sea.\n"),
        (
            {"max_lines": 1},
            "# Title\n[lines 1 to 1; the file goes on: read it with start_line=2]",
        ),
        (
            {"start_line": 2, "max_lines": 1},
            "\n[lines 2 to 2; the file goes on: read it with start_line=3]",
        ),
    ],
)
async def test_reading_a_part_says_where_to_go_on(
    named: dict[str, AnyTool], arguments: dict[str, int], text: str
) -> None:
    assert await value_of(named["read_file"], path="README.md", **arguments) == text


@pytest.mark.parametrize(
    ("path", "start", "said"),
    [
        ("README.md", 4, "README.md has no line 4: its last line is 3"),
        ("a.txt", 2, "a.txt has no line 2: its last line is 1"),
        ("docs.md", 9, "docs.md has no line 9: its last line is 0"),
        ("docs", 1, "docs is a folder; list_files lists it"),
        (".", 1, ". is a folder; list_files lists it"),
        ("blob.bin", 1, "blob.bin is a binary file (it has NUL bytes), not text"),
        ("REDME.md", 1, "there is no REDME.md; there is README.md"),
        ("docs/gide.md", 1, "there is no docs/gide.md; there is docs/guide.md"),
        ("dox/guide.md", 1, "there is no dox/guide.md; there is docs"),
        ("a.txt/b", 1, "there is no a.txt/b; there is"),
    ],
)
async def test_what_cannot_be_read_says_what_to_do(
    named: dict[str, AnyTool], path: str, start: int, said: str
) -> None:
    refused = await refusal_of(named["read_file"], path=path, start_line=start)
    assert refused.code == "tool"
    assert refused.message.startswith(said)


async def test_bytes_that_are_not_utf_8_are_replaced_and_a_late_nul_is_found(
    root: Path, named: dict[str, AnyTool]
) -> None:
    (root / "latin.txt").write_bytes("café\n".encode("latin-1"))
    assert await value_of(named["read_file"], path="latin.txt") == "caf\ufffd\n"
    (root / "late").write_bytes(b"x" * 10_000 + b"\n\0\n")
    assert len(await value_of(named["read_file"], path="late", max_lines=1)) > 10_000
    assert "binary" in (await refusal_of(named["read_file"], path="late")).message


async def test_long_files_are_read_part_by_part(root: Path, named: dict[str, AnyTool]) -> None:
    lines = [f"{n} {'x' * 90}\n" for n in range(1, 1001)]
    (root / "long.txt").write_text("".join(lines))
    read: list[str] = []
    start = 1
    while start <= len(lines):
        text: str = await value_of(
            named["read_file"], path="long.txt", start_line=start, max_lines=10_000
        )
        assert len(text) < MAX_READ + 200
        body, note, after = text.partition("[lines ")
        read.append(body)
        start = int(after.partition("start_line=")[2].rstrip("]")) if note else len(lines) + 1
    assert "".join(read) == "".join(lines)
    assert len(read) == 3


async def test_a_line_that_is_too_long_is_cut(root: Path, named: dict[str, AnyTool]) -> None:
    (root / "wide.txt").write_text(f"short\n{'é' * 30_000}\nend\n")
    first = await value_of(named["read_file"], path="wide.txt")
    assert first == "short\n[lines 1 to 1; the file goes on: read it with start_line=2]"
    second = await value_of(named["read_file"], path="wide.txt", start_line=2)
    assert second == (
        f"{'é' * (MAX_READ // 2)}\n[line 2 is cut after 40000 bytes, the most that one read "
        "gives; read on with start_line=3]"
    )
    assert await value_of(named["read_file"], path="wide.txt", start_line=3) == "end\n"


# search_files


async def test_searching(named: dict[str, AnyTool]) -> None:
    assert await value_of(named["search_files"], text="storm") == [
        {"path": ".hidden", "line": 1, "text": "storm"},
        {"path": "README.md", "line": 3, "text": "A storm at sea."},
        {"path": "docs/deep/er/note.md", "line": 1, "text": "a storm, a storm"},
        {"path": "docs/guide.md", "line": 1, "text": "storm"},
        {"path": "src/main.py", "line": 1, "text": "print('storm')"},
    ]


@pytest.mark.parametrize(
    ("arguments", "places"),
    [
        ({"pattern": "*.md"}, ["README.md:3", "docs/deep/er/note.md:1", "docs/guide.md:1"]),
        ({"path": "docs/guide.md"}, ["docs/guide.md:1"]),
        ({"path": "docs", "max_matches": 1}, ["docs/deep/er/note.md:1"]),
        ({"path": ".git"}, [".git/config:1"]),
        ({"text": "tempest"}, []),
        ({"text": "."}, ["README.md:3"]),
    ],
)
async def test_searching_a_part(
    named: dict[str, AnyTool], arguments: dict[str, Any], places: list[str]
) -> None:
    found = await value_of(named["search_files"], **{"text": "storm", **arguments})
    assert [f"{match['path']}:{match['line']}" for match in found] == places


async def test_a_search_for_nothing_or_for_lines_is_refused(named: dict[str, AnyTool]) -> None:
    assert (await refusal_of(named["search_files"], text="")).code == "invalid_input"
    refused = await refusal_of(named["search_files"], text="a\nb")
    assert "one line of text" in refused.message
    assert (
        "there is README.md"
        in (await refusal_of(named["search_files"], text="a", path="REDME.md")).message
    )


async def test_a_match_is_found_wherever_a_long_line_is_cut(
    root: Path, named: dict[str, AnyTool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_search, "_PIECE", 16)
    for at in range(40):
        (root / "line.txt").write_text(f"first\n{'x' * at}needle{'y' * 50} needle\nneedle\n")
        found = await value_of(named["search_files"], text="needle", path="line.txt")
        assert [match["line"] for match in found] == [2, 3]
        assert all("needle" in match["text"] for match in found)


async def test_a_long_line_is_shown_around_its_match(root: Path, named: dict[str, AnyTool]) -> None:
    (root / "wide.txt").write_text(f"{'é' * 500}needle{'é' * 500}\n")
    (match,) = await value_of(named["search_files"], text="needle", path="wide.txt")
    assert "needle" in match["text"]
    assert match["text"].startswith("…")
    assert match["text"].endswith("…")
    assert len(match["text"].encode()) <= MAX_LINE + 10


# patterns

NAMES = st.text("ab.", min_size=1, max_size=3).filter(lambda name: set(name) != {"."})


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_a_pattern_finds_what_it_spells(parts: list[str]) -> None:
    path = "/".join(parts)
    assert Pattern(path).matches(path)
    assert Pattern("**").matches(path)
    assert Pattern("*").matches(path)
    assert Pattern(f"**/{parts[-1]}").matches(path)
    assert Pattern(parts[-1]).matches(f"some/where/{path}")
    assert Pattern(f"{parts[0]}/**").matches(path)
    assert Pattern("/".join("*" for _ in parts)).matches(path) is True
    assert Pattern("/".join(["?*", *parts])).matches(path) is False


def test_a_pattern_made_to_be_slow_is_not() -> None:
    assert not Pattern("/".join(["**", "*a*a*a*a*b"] * 18)).matches("/".join(["a" * 60] * 60))


def test_a_pattern_error_is_for_the_model(root: Path) -> None:
    with pytest.raises(ToolError):
        FileTools(Root(str(root))).list_files(pattern="{a,b}")


PATTERNS: dict[str, tuple[dict[str, Any], list[tuple[str, int]]]] = {
    "a pattern": ({"text": r"^a? ?st..m,", "regex": True}, [("docs/deep/er/note.md", 1)]),
    "at the end, before a carriage return": (
        {"text": r"storm$", "regex": True, "path": "docs/deep"},
        [("docs/deep/er/note.md", 1)],
    ),
    "in any case": (
        {"text": "STORM", "ignore_case": True, "path": "docs/guide.md"},
        [("docs/guide.md", 1), ("docs/guide.md", 2)],
    ),
    "dots as they are written": ({"text": "st.rm", "ignore_case": True}, []),
}


@pytest.mark.parametrize("case", PATTERNS)
async def test_lines_are_found_by_pattern_and_in_any_case(
    named: dict[str, AnyTool], case: str
) -> None:
    arguments, expected = PATTERNS[case]
    found = await value_of(named["search_files"], **arguments)
    assert [(one["path"], one["line"]) for one in found] == expected


async def test_a_match_comes_with_the_lines_around_it(
    root: Path, named: dict[str, AnyTool]
) -> None:
    (root / "c.txt").write_text("1\n2 x\n3\n4\n5 x\n6 x\n")
    found = await value_of(named["search_files"], text="x", path="c.txt", context=2)
    around = [
        (one["line"], list(one.get("before", ())), list(one.get("after", ()))) for one in found
    ]
    assert around == [
        (2, ["1"], ["3", "4"]),
        (5, ["3", "4"], ["6 x"]),
        (6, ["4", "5 x"], []),
    ]


@pytest.mark.parametrize("pattern", ["(", r"(?=a)b", r"(a)\1", "*", "a{1,5000}"])
async def test_what_is_no_pattern_is_said_in_one_line(
    named: dict[str, AnyTool], pattern: str
) -> None:
    refused = await refusal_of(named["search_files"], text=pattern, regex=True)
    assert "no pattern that can be used" in refused.message


async def test_no_pattern_takes_long(root: Path, named: dict[str, AnyTool]) -> None:
    (root / "long.txt").write_text("a" * 300_000 + "b\n")
    for pattern in (r"(a+)+$", r"(a|aa)*c", r"(.*a){12}c", r"(\w+\s?)+!"):
        arguments = {"text": pattern, "regex": True, "path": "long.txt"}
        assert await value_of(named["search_files"], **arguments) == []
