"""Limits of a process: as many connections as are promised, or as few as the system allows."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

ASK = """
import json, resource, sys
from service.lifetime import room_for_connections
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(json.dumps([room_for_connections({wanted}), *resource.getrlimit(resource.RLIMIT_NOFILE)]))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "expected"),
    [
        (1024, 4000, 1000, [1000, 1256, 4000]),
        (1024, 1100, 1000, [844, 1100, 1100]),
        (1024, 4000, 100, [100, 1024, 4000]),
        (200, 200, 1000, [1, 200, 200]),
    ],
    ids=["raised", "as far as it may", "enough", "hardly any"],
)
def test_a_process_makes_room_for_the_connections_that_are_promised(
    soft: int, hard: int, wanted: int, expected: list[int]
) -> None:
    told = subprocess.run(
        [sys.executable, "-c", ASK.format(soft=soft, hard=hard, wanted=wanted)], capture_output=True, text=True, check=True
    )
    assert json.loads(told.stdout) == expected
