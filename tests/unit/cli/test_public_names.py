"""`import galerne`: every public name is there, and nothing heavy comes along before it is used."""

import subprocess
import sys

import pytest

import galerne


@pytest.mark.parametrize("name", galerne.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(galerne, name) is not None


def test_no_module_hides_a_public_name() -> None:
    """`from galerne import ToolContext, tool` imports packages before it takes `tool`."""
    names = ", ".join(sorted(galerne.__all__))
    code = (
        f"from galerne import {names}\n"
        f"print([n for n in '{names}'.split(', ') if type(globals()[n]).__name__ == 'module'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = galerne.Nonsense


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, galerne;"
        "print([m for m in ('nats', 'aiohttp', 'rich', 'structlog') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
