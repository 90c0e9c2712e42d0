"""The contract server as a process of its own: `python -m spanner_pipeline_tests.open_spanner`.

It prints one line of JSON with its address and keys and serves until its input is closed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from spanner_pipeline_tests.open_spanner import VERSIONS, Limits, contract_server


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m spanner_pipeline_tests.open_spanner")
    parser.add_argument("path", type=Path, help="its SQLite file")
    parser.add_argument("--version", choices=VERSIONS, default=VERSIONS[-1])
    parser.add_argument("--port", type=int, default=0, help="0 is any free one")
    parser.add_argument("--events", type=int, help="events a minute (0: no limit)")
    asked = parser.parse_args()
    limits = Limits.of(asked.version)
    if asked.events is not None:
        limits.events = asked.events or None
    with contract_server(
        asked.path, version=asked.version, limits=limits, port=asked.port
    ) as server:
        told = {name: getattr(server, name) for name in ("base_url", "key", "rehearsal_key")}
        print(json.dumps(told), flush=True)
        sys.stdin.read()


main()
