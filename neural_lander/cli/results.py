"""What ``demo`` and ``compare`` leave behind: results.json, report.html, and a table on the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.progress import TaskID
from rich.text import Text

from neural_lander.cli.output import progress, to_json
from neural_lander.errors import UserError
from neural_lander.flightlog.files import replacing
from sim.comparison.pool import Stage
from sim.report.page import write_report
from sim.report.tables import terminal_tables, warnings


def check_folder(out: Path) -> None:
    """Make the folder and see that files can be written there, before any work is done.

    Raises
    ------
    UserError
        Where it is a file, or cannot be made or written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"--out {out} is no folder that can be written: {error.strerror or error}") from error


def write_results(results: Mapping[str, Any], out: Path) -> None:
    """``results.json`` and ``report.html`` in ``out``, each complete or not at all."""
    document = to_json(results)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with replacing(out / "results.json") as part:
            part.write_text(json.dumps(document, allow_nan=False), "utf-8")
        write_report(document, out / "report.html")
    except OSError as error:
        raise UserError(f"results cannot be written to {out}: {error}") from error


def without_series(results: Mapping[str, Any]) -> dict[str, Any]:
    """The results without traces and values per flight, for ``--json``."""

    def strip(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: strip(v) for k, v in value.items() if k not in ("traces", "values")}
        return [strip(v) for v in value] if isinstance(value, list) else value

    return dict(strip(results))


def render(results: Mapping[str, Any], out: Path | None) -> RenderableType:
    """The table, what was asked for and missed, and where the report is."""
    parts: list[RenderableType] = [Text(line, style="bold red") for line in warnings(results)]
    parts += terminal_tables(to_json(results))
    hang = results.get("hang")
    if hang:
        parts.append(
            Text(f"PD hangs at {_mm(hang['pd_measured_m'])} mm; closed form {_mm(hang['pd_closed_form_m'])} mm")
        )
    rows = results.get("requirements", [])
    if rows:
        parts.append(Text(f"requirements met: {sum(bool(r['met']) for r in rows)} of {len(rows)}"))
    missed = [f"{r['name']}: {r['value']:.4g} against {r['bound']:.4g} {r['unit']}" for r in rows if not r["met"]]
    parts += [Text(f"missed: {text}") for text in missed]
    if out is not None:
        parts.append(Text(f"report: {out / 'report.html'}"))
    return Group(*parts)


def _mm(metres: float | None) -> str:
    return "-" if metres is None else f"{1000 * metres:.1f}"


@contextmanager
def stages() -> Iterator[Stage]:
    """Progress bars that appear as their stages begin."""
    with progress() as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=of)
            bars.update(tasks[what], completed=done)

        yield show
