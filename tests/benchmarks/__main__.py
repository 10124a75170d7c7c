"""Run measures and print them beside their bars."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path

import orjson

from .contestants import absent
from .machine import described, pin, serving
from .measures import MEASURES
from .measures.measure import Setting
from .report import Row, table


def main() -> int:
    """The command; its exit status is 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASURES)}; default: all")
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds (default: 9)")
    parser.add_argument("--full", action="store_true", help="take the time that the bars are meant for")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(MEASURES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]  # some contestants would go through it
    rows: list[Row] = []
    core = pin()
    for name in arguments.names or MEASURES:
        gc.collect()
        sys.stderr.write(f"{name} …\n")
        with serving(core) as url:
            rows += MEASURES[name](Setting(url, core, arguments.rounds, arguments.full))
    print(table(rows))
    if absent():
        print(f"Not installed, so left out: {', '.join(absent())}")
    if arguments.json:
        figures = {"machine": described(), "rows": [row.as_json() for row in rows]}
        arguments.json.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2) + b"\n")
    return int(any(row.met is False for row in rows))


sys.exit(main())
