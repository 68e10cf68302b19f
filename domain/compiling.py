"""Loops compiled to machine code: imported only by the modules that hold such a loop, because the compiler takes half a second to load.

This file finishes with `compiled`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba as nb


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function when it is first called; where the result cannot be kept, each process compiles it anew."""
    try:
        return cast("Callable[..., Any]", nb.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # neither beside its file nor in the user's cache may anything be written
        return cast("Callable[..., Any]", nb.njit(nogil=True)(function))
