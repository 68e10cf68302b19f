"""Machine code of compiled loops, kept on disk: a process that only runs a loop loads no compiler, which costs two seconds of processor time.

What is kept is named by a digest of the loop's source, of the compiler's version and of the processor, so that it is made anew whenever
one of them is another. This file finishes with `load`.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np

_LINE_END = b"\n"
_SUFFIX = ".loop"
_ENGINES: list[Any] = []
"""What holds the memory of loaded code: as long as the process."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A function that is compiled: everything goes in by value or as the address of an array, and results go into arrays.

    Attributes
    ----------
    module, function
        Where it is defined; the module is imported only to compile it.
    arguments
        A numpy type for each argument, with a `*` before it for an array: `"*u1 u8 *f4"`.
    also
        Modules whose constants go into the loop: a change of theirs makes another loop.
    """

    module: str
    function: str
    arguments: str
    also: tuple[str, ...] = ()


def load(loop: Loop) -> Callable[..., None]:
    """Return the loop as a function that frees the interpreter while it runs.

    Arrays must be C-contiguous and of the type stated, otherwise the function raises TypeError.

    Raises
    ------
    ImportError
        It has to be compiled, and there is no compiler.
    """
    name = f"{loop.function}-{_digest_of(loop)}{_SUFFIX}"
    for folder in _folders():
        if kept := _read(folder / name):
            return _callable(loop, *kept)
    made = _compiled(loop)
    for folder in _folders():
        if _write(folder / name, *made):
            break
    return _callable(loop, *made)


def _digest_of(loop: Loop) -> str:
    parts = (loop.module, loop.function, loop.arguments, version("numba"), version("llvmlite"), *_processor())
    found = hashlib.sha256("\0".join(parts).encode())
    for module in (loop.module, *loop.also):
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            raise ImportError(f"there is no module {module}")
        found.update(hashlib.sha256(Path(spec.origin).read_bytes()).digest())
    return found.hexdigest()[:32]


@cache
def _processor() -> tuple[str, str, str]:
    return llvm.get_default_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def _folders() -> Iterator[Path]:
    """Yield where machine code may be kept, the best place first: beside the package, or in the cache of the user."""
    yield Path(__file__).parent / "__pycache__"
    if cache_home := os.environ.get("XDG_CACHE_HOME"):
        yield Path(cache_home) / "groundwatch"
        return
    with suppress(RuntimeError):  # a user without a home, as in containers
        yield Path.home() / ".cache" / "groundwatch"


def _read(path: Path) -> tuple[str, bytes] | None:
    """Return symbol and object code; None where there is no file, or one that was damaged."""
    try:
        digest, _, body = path.read_bytes().partition(_LINE_END)
    except OSError:
        return None
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    symbol, _, code = body.partition(_LINE_END)
    return symbol.decode(), code


def _write(path: Path, symbol: str, code: bytes) -> bool:
    """Keep code for the next process, whole or not at all; say whether that could be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent)
    except OSError:
        return False
    try:
        with os.fdopen(descriptor, "wb") as file:
            body = symbol.encode() + _LINE_END + code
            file.write(hashlib.sha256(body).hexdigest().encode() + _LINE_END + body)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        return False
    return True


def _compiled(loop: Loop) -> tuple[str, bytes]:
    types, compiler, registry, numpy_support = (
        import_module(f"numba.{name}") for name in ("types", "core.compiler", "core.registry", "np.numpy_support")
    )

    def argument(text: str) -> Any:
        kind = numpy_support.from_dtype(np.dtype(text.removeprefix("*")))
        return types.CPointer(kind) if text.startswith("*") else kind

    flags = compiler.Flags()
    flags.no_cpython_wrapper, flags.no_cfunc_wrapper = True, True  # they would need the compiler beside them when they run
    flags.nrt, flags.error_model = False, "numpy"
    target = registry.cpu_target
    function = getattr(import_module(loop.module), loop.function)
    arguments = tuple(map(argument, loop.arguments.split()))
    found = compiler.compile_extra(target.typing_context, target.target_context, function, arguments, types.void, flags, {})
    return found.fndesc.llvm_func_name, found.library._get_compiled_object()


def _callable(loop: Loop, symbol: str, code: bytes) -> Callable[..., None]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=_processor()[1])
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _ENGINES.append(engine)
    wanted = [(text.startswith("*"), np.dtype(text.removeprefix("*"))) for text in loop.arguments.split()]
    types = [ctypes.c_void_p if array else np.ctypeslib.as_ctypes_type(kind) for array, kind in wanted]
    # The compiler's own convention: where the result goes, where an error goes, the arguments; both stay empty here.
    function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *types)(engine.get_function_address(symbol))

    def call(*arguments: Any) -> None:
        passed = []
        for value, (array, kind) in zip(arguments, wanted, strict=True):
            if array and not (isinstance(value, np.ndarray) and value.dtype == kind and value.flags.c_contiguous):
                raise TypeError(f"{loop.function} wants a contiguous array of {kind}")
            passed.append(value.ctypes.data if array else value)
        unused = np.zeros(2, dtype=np.int64)
        function(unused.ctypes.data, unused.ctypes.data + unused.itemsize, *passed)

    return call
