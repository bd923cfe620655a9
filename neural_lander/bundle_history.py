"""What a bundle was before: ``history.zip`` beside its four files, replaced together with them in one step.

The archive holds ``history.json``, one entry per version with its number, time, logs and gates, and the files of the
newest versions by their hash. Loading a bundle does not read it; without it a bundle is whole, and has no past.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from neural_lander.bundle_files import FILES, HISTORY, sha256_of
from neural_lander.errors import UserError

FORMAT, FORMAT_VERSION = "neural-lander-history", 1
LIST, FOLDER = "history.json", "files/"
KEPT = 20  # versions whose files are kept: some 60 kB each; older ones stay in the list
MOST_BYTES = 100_000_000  # of one file in the archive: a bundle's are far below
DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, KeyError, TypeError, ValueError)
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file in the archive, so that equal histories are equal bytes


@dataclass(frozen=True)
class History:
    """Versions of a bundle, oldest first; the last is the present one."""

    entries: tuple[dict[str, Any], ...] = ()
    """``number`` from 1, ``when`` (UTC) or None, ``event``, ``files`` (name -> SHA-256), and what else was noted."""
    objects: Mapping[str, bytes] = field(default_factory=dict)
    """Files by SHA-256."""

    def restorable(self, entry: Mapping[str, Any]) -> bool:
        """Whether the files of a version are still kept."""
        return all(sha256 in self.objects for sha256 in entry["files"].values())


def read_history(contents: Mapping[str, bytes], source: str) -> History:
    """The history of a bundle from its files, the present version noted if it was not.

    Raises
    ------
    UserError
        Where the archive is damaged.
    """
    history = _unpack(contents[HISTORY], f"{source}/{HISTORY}") if HISTORY in contents else History()
    present = _hashes(contents)
    if history.entries and history.entries[-1]["files"] == present:
        return history
    event = "changed by another command" if history.entries else "trained"
    return appended(history, contents, {"when": None, "event": event})


def appended(history: History, contents: Mapping[str, bytes], entry: Mapping[str, Any]) -> History:
    """The history with one more version, which is then the present one; the oldest files make room."""
    number = len(history.entries) + 1
    entries = (*history.entries, {"number": number, **entry, "files": _hashes(contents)})
    objects = {**history.objects, **{sha256_of(contents[name]): contents[name] for name in FILES}}
    wanted = {sha256 for e in entries[-KEPT:] for sha256 in e["files"].values()}
    return History(entries, {sha256: data for sha256, data in objects.items() if sha256 in wanted})


def with_history(contents: Mapping[str, bytes], history: History) -> dict[str, bytes]:
    """The four files of a bundle together with its history."""
    return {**{name: contents[name] for name in FILES}, HISTORY: _pack(history)}


def version(history: History, number: int) -> dict[str, bytes]:
    """The four files of a version, byte for byte.

    Raises
    ------
    UserError
        Where there is none of that number, or its files are no longer kept.
    """
    kept = [e["number"] for e in history.entries if history.restorable(e)]
    entry = next((e for e in history.entries if e["number"] == number), None)
    if entry is None or entry["number"] not in kept:
        gone = "its files are no longer kept" if entry is not None else "there is none"
        raise UserError(f"--rollback {number}: {gone}; can be restored: {', '.join(map(str, kept))}")
    return {name: history.objects[sha256] for name, sha256 in entry["files"].items()}


def _pack(history: History) -> bytes:
    document: dict[str, Any] = {"format": FORMAT, "format_version": FORMAT_VERSION}
    document |= {"files": sorted(history.objects), "entries": list(history.entries)}
    members = {LIST: (json.dumps(document, indent=1, allow_nan=False) + "\n").encode("utf-8")}
    members |= {FOLDER + sha256: history.objects[sha256] for sha256 in sorted(history.objects)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            information = zipfile.ZipInfo(name, EPOCH)
            information.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(information, data)
    return buffer.getvalue()


def _unpack(data: bytes, source: str) -> History:
    remedy = f"move {source} away to go on without the bundle's past"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            large = [i.filename for i in archive.infolist() if i.file_size > MOST_BYTES]
            if large:
                raise UserError(f"{source} is damaged: {large[0]} is too large; {remedy}")
            document = json.loads(archive.read(LIST))
            objects = {n.removeprefix(FOLDER): archive.read(n) for n in archive.namelist() if n != LIST}
        if (document["format"], document["format_version"]) != (FORMAT, FORMAT_VERSION):
            raise UserError(f"{source} is no history of version {FORMAT_VERSION}; {remedy}")
        entries = tuple(document["entries"])
        whole = all(set(e["files"]) == set(FILES) and e["number"] == k + 1 for k, e in enumerate(entries))
        whole = whole and set(objects) == set(document["files"])
    except UserError:
        raise
    except DAMAGE as error:
        raise UserError(f"{source} is damaged: {error}; {remedy}") from error
    changed = [sha256 for sha256, content in objects.items() if sha256_of(content) != sha256]
    if changed or not whole:
        raise UserError(f"{source} is damaged: {changed[0] if changed else 'its list'} does not fit; {remedy}")
    return History(entries, objects)


def _hashes(contents: Mapping[str, bytes]) -> dict[str, str]:
    return {name: sha256_of(contents[name]) for name in FILES}
