"""`make bench`: run every benchmark, or those whose names are given (`make bench ARGS=import`)."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from benchmarks.processes import end_in_order


def main(names: list[str]) -> int:
    found = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    unknown = set(names) - set(found)
    if unknown:
        sys.stderr.write(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(found)}\n")
        return 2
    for name in names or found:
        sys.stdout.write(f"== {name}\n")
        sys.stdout.flush()
        sys.argv = [f"bench_{name}"]  # the names are ours; a benchmark's own options are for running it by itself
        importlib.import_module(f"benchmarks.bench_{name}").main()
    return 0


if __name__ == "__main__":
    end_in_order()
    sys.exit(main(sys.argv[1:]))
