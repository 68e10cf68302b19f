"""Examples in the docstrings of the analytics run and say what they claim."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import analytics

MODULES = sorted(module.name for module in pkgutil.walk_packages(analytics.__path__, "analytics."))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    module = importlib.import_module(name)
    found = doctest.testmod(module)
    assert found.failed == 0, f"{found.failed} of {found.attempted} examples of {name}"
