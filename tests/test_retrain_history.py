"""A bundle's past: listed, restored byte for byte, bounded, and never trusted when damaged."""

import io
import json
import zipfile

import numpy as np
import pytest

from neural_lander import bundle_history
from neural_lander.bundle_files import FILES, HISTORY
from neural_lander.bundle_history import appended, read_history, version, with_history
from neural_lander.errors import UserError


def files(k: int) -> dict[str, bytes]:
    return {name: f"{name} {k if name != 'vehicle.toml' else 'same'}".encode() * 50 for name in FILES}


def grown(count: int) -> dict[str, bytes]:
    contents = files(1)
    for k in range(2, count + 1):
        note = {"when": "2026-01-01T00:00:00+00:00", "event": "retrained", "added": [f"log{k}"]}
        contents = with_history(files(k), appended(read_history(contents, "B"), files(k), note))
    return contents


def test_every_version_is_listed_and_comes_back_byte_for_byte() -> None:
    past = read_history(grown(4), "B")
    assert [(e["number"], e["event"]) for e in past.entries] == [
        (1, "trained"), (2, "retrained"), (3, "retrained"), (4, "retrained"),
    ]  # fmt: skip
    for k in range(1, 5):
        assert version(past, k) == files(k)
    with pytest.raises(UserError, match="--rollback 5: there is none; can be restored: 1, 2, 3, 4"):
        version(past, 5)


def test_what_another_command_changed_is_a_version_too() -> None:
    contents = {**grown(2), "certificate.json": b"new"}
    past = read_history(contents, "B")
    assert [e["event"] for e in past.entries] == ["trained", "retrained", "changed by another command"]
    assert version(past, 3)["certificate.json"] == b"new"
    assert version(past, 2) == files(2)


def test_old_files_make_room_but_stay_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_history, "KEPT", 3)
    past = read_history(grown(6), "B")
    assert [past.restorable(e) for e in past.entries] == [False, False, False, True, True, True]
    assert len(past.objects) == 3 * 3 + 1  # the vehicle is one file
    with pytest.raises(UserError, match="--rollback 2: its files are no longer kept; can be restored: 4, 5, 6"):
        version(past, 2)


def test_equal_histories_are_equal_bytes_and_a_bundle_without_one_has_one_version() -> None:
    assert grown(3) == grown(3)
    assert [e["number"] for e in read_history(files(1), "B").entries] == [1]
    assert HISTORY not in files(1)


def test_a_damaged_history_is_refused_in_one_line_or_was_not_damaged() -> None:
    contents = grown(3)
    whole, data = read_history(contents, "B"), contents[HISTORY]
    rng, said = np.random.default_rng(0), []
    for at in rng.integers(len(data), size=600):
        damaged = bytearray(data)
        damaged[at] ^= int(rng.integers(1, 256))
        try:
            past = read_history({**contents, HISTORY: bytes(damaged)}, "B")
        except UserError as error:
            said.append(str(error))
        else:
            assert past == whole  # a byte that the archive does not use
    assert len(said) > 300
    assert all("history.zip" in text and "\n" not in text for text in said)
    for cut in range(0, len(data), 37):
        with pytest.raises(UserError, match="move B/history.zip away"):
            read_history({**contents, HISTORY: data[:cut]}, "B")


@pytest.mark.parametrize("change", [
    {"format_version": 9}, {"entries": [{"number": 2, "files": {}}]}, {"entries": 3}, {"entries": [{}]},
    {"files": ["0" * 64]},
])  # fmt: skip
def test_a_history_that_was_written_otherwise_is_refused(change: dict[str, object]) -> None:
    document = {"format": "neural-lander-history", "format_version": 1, "files": [], "entries": []}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("history.json", json.dumps({**document, **change}))
    with pytest.raises(UserError, match="history.zip"):
        read_history({**files(1), HISTORY: buffer.getvalue()}, "B")
