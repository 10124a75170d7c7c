"""Run measures and print them beside their bars."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path

import orjson
import uvloop
from attrs import asdict, evolve

from .contestants import absent
from .machine import described, pin, serving
from .measures import CURVES, MEASURES, ON_UVLOOP
from .measures.measure import Measure, Setting
from .report import Curve, Row, table


def on_uvloop(measure: Measure, setting: Setting) -> list[Row]:
    """The rows of a measure on uvloop."""
    rows = measure(evolve(setting, new_loop=uvloop.new_event_loop))
    return [evolve(row, measure=f"{row.measure}, on uvloop") for row in rows]


def main() -> int:
    """The command; its exit status is 1 if a bar is missed."""
    known = [*MEASURES, *CURVES]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; default: all, the growth with --full"
    )
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds (default: 9)")
    parser.add_argument("--full", action="store_true", help="take the time that the bars are meant for")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(known)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]  # some contestants would go through it
    rows: list[Row] = []
    curves: list[Curve] = []
    core = pin()
    for name in arguments.names or (known if arguments.full else MEASURES):
        gc.collect()
        sys.stderr.write(f"{name} …\n")
        with serving(core) as url:
            setting = Setting(url, arguments.rounds, arguments.full)
            if name in MEASURES:
                rows += MEASURES[name](setting)
                if name in ON_UVLOOP:
                    rows += on_uvloop(MEASURES[name], setting)
            else:
                curves += CURVES[name](setting)
    print(table([*rows, *(row for curve in curves for row in curve.as_rows())]))
    if absent():
        print(f"Not installed, so left out: {', '.join(absent())}")
    if arguments.json:
        figures = {
            "machine": described(),
            "rows": [row.as_json() for row in rows],
            "curves": [asdict(curve) for curve in curves],
        }
        arguments.json.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2) + b"\n")
    return int(any(row.met is False for row in rows))


sys.exit(main())
