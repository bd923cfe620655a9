"""The cells of a table of text as numbers. Records without a number or out of order are left out, counted and said."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from datetime import datetime

import numpy as np

from neural_lander.errors import UserError
from neural_lander.flightlog.streams import plausible_times

DELIMITERS = ",;\t"
MOST_LEFT_OUT = 0.2  # of the records: where more are bad it is another table; a guess, above cameras' occlusions
LONGEST_STEP_BACK = 1.0  # s: reordered on the way; beyond it the clock was set, and the rest is another log; a guess
COMMENT = "#"
LOOKED_AT = 100  # lines, among which there is a time
_ZONE = re.compile(r"\s*(UTC|GMT|[+-]\d\d:?\d\d)$")  # as data frames and shells write it, with a blank before
_ZONES = {"UTC": "+00:00", "GMT": "+00:00"}
_DECIMAL_COMMA = re.compile(r"\s*-?\d+,\d+([eE][-+]?\d+)?\s*")


UTF_16 = "utf-16"


def encoding_of(content: bytes) -> str:
    """UTF-8, or UTF-16 by its mark, as Windows' shell writes what is redirected into a file."""
    return UTF_16 if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def lines_of(content: bytes, source: str) -> list[str]:
    """The text's lines, whatever ends them.

    Raises
    ------
    UserError
        Where it is no text, with the first byte that is none.
    """
    encoding = encoding_of(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        name = "UTF-16" if encoding == UTF_16 else "UTF-8"
        at = error.start + len(content) - len(error.object)  # the mark at its begin is counted or not
        raise UserError(f"{source} is no text in {name}: byte {at} is {content[at]:#04x}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def find_header(lines: Sequence[str]) -> tuple[str, int]:
    """The line with the names, and the index of the line after it.

    Empty lines and comments before it are passed over. Where numbers follow the comments, as NumPy writes them, the
    last comment has the names.
    """
    at = next((k for k, line in enumerate(lines) if line.strip() and not line.startswith(COMMENT)), 0)
    comments = [k for k in range(at) if lines[k].startswith(COMMENT)]
    if comments and np.isfinite(_number(re.split(f"[{DELIMITERS}]", lines[at])[0])):
        return lines[comments[-1]].lstrip(COMMENT), at
    return lines[at], at + 1


def with_decimal_points(body: Sequence[str], delimiter: str, source: str) -> list[str]:
    """Lines whose decimal commas have become points.

    Raises
    ------
    UserError
        Where the comma separates the columns.
    """
    if delimiter == ",":
        raise UserError(f'{source}: decimal = "," needs columns that are separated by semicolon or tab')
    return [line.replace(",", ".") for line in body]


def with_seconds(body: list[str], delimiter: str, index: int) -> tuple[list[str], bool]:
    """Lines whose times by the calendar (ISO 8601) have become seconds since the first, and whether there were any."""
    rows = (_cells(line, delimiter) for line in body[:LOOKED_AT])
    first = next((at for row in rows if len(row) > index and (at := _calendar(row[index])) is not None), None)
    if first is None:
        return body, False
    lines = []
    for line in body:
        row = _cells(line, delimiter)
        at = _calendar(row[index]) if len(row) > index else None
        if at is not None and (at.tzinfo is None) == (first.tzinfo is None):
            row[index] = repr((at - first).total_seconds())
        lines.append(delimiter.join(_quoted(cell, delimiter) for cell in row))
    return lines, True


def _calendar(cell: str) -> datetime | None:
    if np.isfinite(_number(cell)):  # such as 20260301.12, which would pass for a date
        return None
    try:
        return datetime.fromisoformat(_ZONE.sub(lambda m: _ZONES.get(m[1], m[1]), cell.strip()))
    except ValueError:
        return None


def _quoted(cell: str, delimiter: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if delimiter in cell or '"' in cell else cell


def read_numbers(
    body: list[str],
    first: int,
    delimiter: str,
    indices: Sequence[int],
    names: Sequence[str],
    fields: Sequence[str],
    source: str,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The wanted columns of the records that have a number in each, ``(N, k)``, and what is said of the others.

    Where that leaves too few, since fields have empty cells, all of their components together: of the records in which
    each field is whole or empty, with NaN for what is empty.

    Parameters
    ----------
    body
        Lines of records. A last one without its end that does not parse is left out.
    first
        Number of the first of these lines.
    indices, names, fields
        Of the columns; the field ``t`` is never empty.

    Raises
    ------
    UserError
        Where there is no record, or more than ``MOST_LEFT_OUT`` of them would be left out.
    """
    if not any(line.strip() for line in body):
        raise UserError(f"{source} holds a header and no records")
    said: tuple[str, ...] = ()
    if body[-1].strip():
        said = (f"{source}: the last line has no end: the file may be cut, within the last number or before more",)
        if len(body) > 1 and not np.isfinite(_row(body[-1], delimiter, indices)).all():
            lost = f"the last line, {len(body[-1])} characters of a record, is lost, and whatever came later"
            body, said = body[:-1], (f"{source}: cut short: {lost}",)
    numbers = _all_numbers(body, delimiter, indices)
    sound = np.isfinite(numbers).all(axis=1)
    if sound.all():
        return numbers, said
    left_out, of = int((~sound).sum()), len(sound)
    where = ", ".join(
        f"'{name}'" for name, column in zip(names, numbers.T, strict=True) if not np.isfinite(column).all()
    )
    counted = f"{left_out} of {of} records hold no number in {where}"
    fault = _first_fault(body, first, delimiter, indices, names)
    if left_out > MOST_LEFT_OUT * of:
        whole_or_empty = _whole_or_empty(numbers, body, delimiter, indices, fields)
        bad = int((~whole_or_empty).sum())
        if bad <= MOST_LEFT_OUT * of and np.isfinite(numbers[whole_or_empty]).any(axis=0).all():
            fault = _first_fault(body, first, delimiter, indices, names, but_empty=True)
            bad_words = (f"{source}: {bad} of {of} records are left out; the first: {fault}",) if bad else ()
            return numbers[whole_or_empty], (*said, *bad_words)
        raise UserError(f"{source}: {fault}; {counted}, and at most {100 * MOST_LEFT_OUT:g} % are left out")
    return numbers[sound], (*said, f"{source}: {counted}: left out; the first: {fault}")


def in_order(t: np.ndarray, source: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Which records come later than all that were kept before them, and what is said of the others.

    Raises
    ------
    UserError
        Where more than ``MOST_LEFT_OUT`` do not, or the clock steps back by more than ``LONGEST_STEP_BACK``.
    """
    rising = np.diff(t) > 0
    if rising.all():
        return np.ones(len(t), dtype=bool), ()
    record = int(np.argmin(rising)) + 1
    where = f"time does not increase at record {record} (t = {t[record]:g} s)"
    keep = plausible_times(t)
    index = np.flatnonzero(keep)
    latest = np.maximum.accumulate(t[index])
    behind = np.concatenate([[False], t[index][1:] <= latest[:-1]])
    back = float(np.max(latest - t[index], initial=0.0))
    keep[index[behind]] = False
    counted = f"{int((~keep).sum())} of {len(t)} records come no later than one before them"
    if (~keep).sum() > MOST_LEFT_OUT * len(t):
        raise UserError(
            f"{source}: {where}; {counted}, and at most {100 * MOST_LEFT_OUT:g} % are left out: is it the clock's "
            "column, and is it written finely enough?"
        )
    if back > LONGEST_STEP_BACK:
        raise UserError(
            f"{source}: {where}, and steps back by {back:.3g} s: cut the file there, the rest is another log"
        )
    return keep, (f"{source}: {counted}: left out; the first is record {record}",)


def _all_numbers(body: list[str], delimiter: str, indices: Sequence[int]) -> np.ndarray:
    """Every record's wanted cells, NaN where there is no number; ``(N, len(indices))``."""
    try:
        return np.loadtxt(body, delimiter=delimiter, usecols=indices, ndmin=2, comments=None, quotechar='"')
    except ValueError:  # slower, and cell by cell
        return np.array([_row(line, delimiter, indices) for line in body if line.strip()])


def _whole_or_empty(
    numbers: np.ndarray, body: list[str], delimiter: str, indices: Sequence[int], fields: Sequence[str]
) -> np.ndarray:
    """In which records each field has a number in every cell or none in any, and time is there."""
    rows = [_cells(line, delimiter) for line in body if line.strip()]
    empty = np.array([[k < len(cells) and not cells[k].strip() for k in indices] for cells in rows])
    there, good = np.isfinite(numbers), np.ones(len(numbers), dtype=bool)
    for field in dict.fromkeys(fields):
        mine = [k for k, name in enumerate(fields) if name == field]
        whole = there[:, mine].all(axis=1)
        good &= whole if field == "t" else whole | empty[:, mine].all(axis=1)
    return good


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _row(line: str, delimiter: str, indices: Sequence[int]) -> list[float]:
    cells = _cells(line, delimiter)
    return [_number(cells[k]) if k < len(cells) else np.nan for k in indices]


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan


def _first_fault(
    body: list[str],
    first: int,
    delimiter: str,
    indices: Sequence[int],
    names: Sequence[str],
    but_empty: bool = False,
) -> str:
    """The first cell that is no finite number, in words; ``but_empty`` passes over empty ones."""
    for number, line in enumerate(body, start=first):
        if not line.strip():
            continue
        cells = _cells(line, delimiter)
        for index, name in zip(indices, names, strict=True):
            if index >= len(cells):
                return f"line {number} has {len(cells)} cells, and column '{name}' is cell {index + 1}"
            cell = cells[index]
            if np.isfinite(_number(cell)) or (but_empty and not cell.strip()):
                continue
            where = f"column '{name}', line {number}: '{cell}'"
            if _DECIMAL_COMMA.fullmatch(cell):
                return f'{where} is not a number; decimal = "," in a column map reads it'
            return f"{where} is not finite" if re.search("nan|inf", cell, re.I) else f"{where} is not a number"
    return "a field with some of its cells empty" if but_empty else "a record holds no number"
