"""Run the benchmarks, print a table for each, and write ``benchmarks/results.json``."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.json"
PIPE_WIDTH = 180  # columns where stdout is no terminal, so that tables in a file are not cut


def names() -> list[str]:
    """Every module of this folder that is a benchmark."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cpus": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def table(name: str, result: dict[str, Any]) -> Table:
    """Rows of one result."""
    rows: list[dict[str, Any]] = result["rows"]
    drawn = Table(title=f"{name}: {result['what']}", title_justify="left")
    for column in rows[0]:
        drawn.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
    for row in rows:
        drawn.add_row(*(value if isinstance(value, str) else f"{value:,.4g}" for value in row.values()))
    return drawn


def keep(results: dict[str, Any]) -> None:
    """Write results into ``results.json``, beside those of other benchmarks that are there."""
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    RESULTS.write_text(json.dumps({**kept, **results}, indent=2) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all benchmarks, or those named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(names())}")
    parser.add_argument("--json", action="store_true", help="print the results as one JSON object")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in names()]
    if unknown:
        parser.error(f"benchmark '{unknown[0]}' is not known; use any of: {', '.join(names())}")
    console = Console(stderr=options.json, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    console.print("machine:", *(f"{key} {value}" for key, value in machine().items()))
    results: dict[str, Any] = {"machine": machine()}
    for name in options.names or names():
        results[name] = importlib.import_module(f"benchmarks.{name}").run()
        console.print(table(name, results[name]))
    if not options.names:
        keep(results)
        console.print(f"wrote {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS}")
    if options.json:
        sys.stdout.write(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
