"""A campaign's finished work on disk: one Parquet file per shard, whole or not at all, and what it answers.

A folder belongs to one question. Asking the same again resumes where it stopped; a different question is refused.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from neural_lander.errors import NeuralLanderWarning, UserError
from neural_lander.flightlog.files import replacing
from sim.comparison.fingerprint import fingerprint

MANIFEST = "manifest.json"
QUESTION_KEY = b"neural-lander-question"  # in the metadata of a shard
Row = Mapping[str, Any]
"""One flight: ``controller``, ``index``, ``copy``, ``seed``, ``failed`` (text, empty where it flew), its scores."""


@dataclass(frozen=True)
class ShardStore:
    """Shards of one campaign."""

    folder: Path
    question: Mapping[str, Any]
    """Everything that decides the numbers; JSON values."""

    @cached_property
    def key(self) -> str:
        """Hash of the question, in every shard."""
        return fingerprint(json.loads(json.dumps(self.question)))

    def open(self) -> list[dict[str, Any]]:
        """Rows of what is finished; a first call makes the folder. A damaged shard is left out, to be flown again.

        Raises
        ------
        UserError
            If the folder answers another question, or cannot be used.
        """
        manifest = self.folder / MANIFEST
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            there = json.loads(manifest.read_text("utf-8")) if manifest.exists() else None
        except (OSError, ValueError) as error:
            raise UserError(f"{manifest} cannot be read ({error}): delete {self.folder} to start anew") from error
        if there is None:
            with replacing(manifest) as part:
                part.write_text(json.dumps(self.question, indent=1), "utf-8")
            return []
        changed = "; ".join(_differences(there, json.loads(json.dumps(self.question))))
        if changed:
            raise UserError(
                f"{self.folder} holds flights of another campaign: {changed}. "
                f"Repeat the command as it was, take another --out, or delete that folder"
            )
        return [row for path in sorted(self.folder.glob("*.parquet")) for row in self._read(path)]

    def save(self, name: str, rows: Sequence[Row]) -> None:
        """Keep one shard.

        Raises
        ------
        UserError
            If it cannot be written: a full disk. What is finished stays.
        """
        try:
            write_rows(self.folder / f"{name}.parquet", rows, {QUESTION_KEY: self.key.encode()})
        except UserError as error:
            raise UserError(
                f"{error}; what is finished is kept in {self.folder}: make room, and the same command goes on"
            ) from error

    def _read(self, path: Path) -> list[dict[str, Any]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path, memory_map=False)
        except (OSError, pa.ArrowException) as error:
            warnings.warn(f"{path} is damaged and is flown again: {error}", NeuralLanderWarning, stacklevel=2)
            return []
        if (table.schema.metadata or {}).get(QUESTION_KEY) != self.key.encode():
            warnings.warn(f"{path} is of another campaign and is flown again", NeuralLanderWarning, stacklevel=2)
            return []
        return [{key: v for key, v in row.items() if v is not None} for row in table.to_pylist()]


def write_rows(path: Path, rows: Iterable[Row], metadata: Mapping[bytes, bytes] | None = None) -> None:
    """Rows as one Parquet file, replaced as a whole; a key that a row lacks is null there.

    Raises
    ------
    UserError
        Where the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    entries = list(rows)
    names = dict.fromkeys(key for row in entries for key in row)
    table = pa.table({name: [row.get(name) for row in entries] for name in names})
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(dict(metadata or {})), sink)
    with replacing(path) as part:
        part.write_bytes(sink.getvalue())


def _differences(there: Any, here: Any, name: str = "") -> list[str]:
    """What is not the same, in words: ``flights is 20 there and 40 here``."""
    if isinstance(there, dict) and isinstance(here, dict):
        keys = dict.fromkeys([*there, *here])
        return [text for k in keys for text in _differences(there.get(k), here.get(k), f"{name} {k}".strip())]
    if _as_many_dicts(there, here):
        pairs = enumerate(zip(there, here, strict=True))
        found = [text for k, (a, b) in pairs for text in _differences(a, b, f"{name} {k}")]
        return found[:1] + [f"and {len(found) - 1} more of {name}"] * (len(found) > 1)
    return [] if there == here else [f"{name} is {json.dumps(there)} there and {json.dumps(here)} here"]


def _as_many_dicts(*lists: Any) -> bool:
    return all(isinstance(some, list) and all(isinstance(one, dict) for one in some) for some in lists) and (
        len({len(some) for some in lists}) == 1
    )
