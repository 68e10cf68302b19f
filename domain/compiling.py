"""Loops compiled to machine code: imported only by the modules that hold such a loop, because the compiler takes half a second to load.

This file finishes with `instruction`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba as nb
from numba.extending import intrinsic


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function when it is first called; where the result cannot be kept, each process compiles it anew."""
    try:
        return cast("Callable[..., Any]", nb.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # neither beside its file nor in the user's cache may anything be written
        return cast("Callable[..., Any]", nb.njit(nogil=True)(function))


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function part of the loops of `domain.machine_code` that call it."""
    njit: Any = nb.njit  # its stubs leave out that memory need not be counted
    return cast("Callable[..., Any]", njit(_nrt=False, error_model="numpy")(function))


def instruction(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function for those loops out of instructions of LLVM; it gets the types of its arguments and returns signature and generator."""
    return cast("Callable[..., Any]", intrinsic(function))
