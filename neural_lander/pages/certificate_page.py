"""A certificate as sections of a page: each number with its basis, and what it says in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from neural_lander.pages.html_page import number, plain_table, row, section

BASIS = (
    "Each number is proved, measured or assumed. Proved follows from the weights, whatever happens; measured was the "
    "largest seen and may be exceeded; assumed is what must be true for the rest to hold."
)
HEADS = ("Number", "Value", "Found", "Basis", "What it says", "Norm, and where it is from")


def certificate_sections(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One card per part of what ``certificate.meaning.explained`` returns."""
    for part in dict.fromkeys(entry["part"] for entry in rows):
        mine = [entry for entry in rows if entry["part"] == part]
        heads = HEADS if any(entry.get("found") is not None for entry in mine) else HEADS[:2] + HEADS[3:]
        table = plain_table(heads, [_row(entry, heads) for entry in mine], "text tight")
        folded = f"<details><summary>{len(mine)} numbers</summary>{table}</details>"
        yield section(f"Certificate: {part[0].lower()}{part[1:]}", BASIS, folded if "saturated" in part else table)


def _row(entry: Mapping[str, Any], heads: Sequence[str]) -> str:
    label = escape(entry["label"])
    cells = [
        escape(entry["name"].replace("_", " ")),
        quantity(entry["value"], entry["unit"]),
        quantity(entry.get("found"), entry["unit"]),
        f'<span class="{label}">{label}</span>',
        escape(entry["meaning"]),
        f"{escape(entry['norm'])}: {escape(entry['source'])}" if entry["norm"] != "none" else escape(entry["source"]),
    ]
    return row(heads, *(cell for head, cell in zip(HEADS, cells, strict=True) if head in heads))


def quantity(value: Any, unit: str | None) -> str:
    """Four digits and the unit, as HTML; a dash for none."""
    if value is None or value == "":
        return number(None)
    if isinstance(value, str):
        return escape(value)
    shown = "" if unit in ("1", "true or false", None) else escape(unit)
    return f"{value:.4g} {shown}".rstrip()
