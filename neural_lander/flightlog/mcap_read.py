"""Our own MCAP logs, whole or cut off: walked record by record, so that no index is needed."""

from __future__ import annotations

import json
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from operator import itemgetter
from pathlib import Path
from typing import Any

import lz4.frame  # type: ignore[import-untyped]
import numpy as np
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Footer, Metadata, Statistics
from mcap.writer import MCAP0_MAGIC

from neural_lander.errors import UserError
from neural_lander.flightlog.log import COLUMNS, REQUIRED, FlightLog
from neural_lander.flightlog.mcap_format import FLUSH_PERIOD, METADATA_NAME, PROFILE, TOPIC, UNIT_KEY

MAX_CHUNK = 1 << 28  # bytes, unpacked; ours have some 30 kB, and a damaged size must not fill the memory
_RECORD = struct.Struct("<BQ")  # opcode, length
BATCH = 500  # messages decoded at a time: 25 000 nested objects at once keep the garbage collector busy
MESSAGE_HEAD = 22  # bytes: channel u16, sequence u32, log time u64, publish time u64
FOOTER_COVERED = 16  # bytes of the footer that its checksum covers, after those of the summary
RECORD_ERRORS = (McapError, struct.error, ValueError, IndexError, OverflowError, zstandard.ZstdError)
"""What damaged records and chunks raise."""
_PREFIX = MCAP0_MAGIC + bytes([Opcode.HEADER])


class Mcap:
    """Log format: MCAP with our profile in its header."""

    name = "mcap"
    description = "Neural-Lander MCAP"

    def recognises(self, head: bytes) -> bool:
        """MCAP's magic and a header record with our profile."""
        profile = struct.pack("<I", len(PROFILE)) + PROFILE.encode()
        start = len(_PREFIX) + 8
        return head.startswith(_PREFIX) and head[start : start + len(profile)] == profile

    def read(self, path: Path) -> FlightLog:
        """The flight, with a warning where the file is cut off or damaged.

        Raises
        ------
        UserError
            Where fewer than two records can be had.
        """
        source = str(path)
        content = Content()
        content.take(memoryview(path.read_bytes()))
        channel = next((c for c in content.channels.values() if c.topic == TOPIC), None)
        messages = content.messages.get(channel.id, []) if channel else []
        if channel is None or not messages:
            raise UserError(
                f"{source}: no record on the topic {TOPIC} is readable{' (cut short)' if not content.complete else ''}"
            )
        metadata = dict(content.metadata)
        recorded = metadata.pop("warnings", [])
        for key in ("format", "source"):
            if key in metadata:
                metadata.setdefault(f"original_{key}", metadata[key])
        return FlightLog.from_arrays(
            **_arrays(messages, source),
            rotor_command_unit=channel.metadata.get(UNIT_KEY, "rad/s"),
            metadata={**metadata, "format": self.name, "source": source},
            warnings=(*recorded, *(f"{source}: {text}" for text in content.account())),
        )


@dataclass
class Content:
    """What has been found in an MCAP file, ours or another."""

    channels: dict[int, Channel] = field(default_factory=dict)
    messages: dict[int, list[bytes]] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    complete: bool = False
    bytes_after: int = 0  # from the last whole record to the end of a file that is cut
    bad_chunks: int = 0
    bad_records: int = 0
    sound: bool = True  # the checksum over all of the data section fits, where it is there
    index_sound: bool = True
    taken: Counter[int] = field(default_factory=Counter)  # messages by channel
    announced: Mapping[int, int] | None = None  # the same by the statistics at the end, where those are there and sound

    def take(self, data: memoryview) -> None:
        """Go through the records of a file."""
        at = len(MCAP0_MAGIC)
        for opcode, body, end in _records(data, at):
            start, at = at, end
            try:
                if opcode == Opcode.CHUNK:
                    self._take_chunk(body)
                elif opcode == Opcode.METADATA:
                    self._take_metadata(body)
                elif opcode == Opcode.DATA_END:
                    self.sound = int.from_bytes(body[:4], "little") in (0, zlib.crc32(data[:start]))
                elif opcode == Opcode.STATISTICS:
                    self.announced = Statistics.read(ReadDataStream(BytesIO(body))).channel_message_counts
                elif opcode == Opcode.FOOTER:
                    self._take_footer(data, start, body)
                    return
                else:
                    self.keep(opcode, body)
            except RECORD_ERRORS:
                self.bad_records += 1
        self.bytes_after = len(data) - at

    def keep(self, opcode: int, body: memoryview) -> None:
        """One record outside or inside of a chunk."""
        if opcode == Opcode.MESSAGE:
            channel_id = body[0] | body[1] << 8
            self.taken[channel_id] += 1
            self.take_message(channel_id, int.from_bytes(body[6:14], "little"), body[MESSAGE_HEAD:])
        elif opcode == Opcode.CHANNEL:
            channel = Channel.read(ReadDataStream(BytesIO(body)))
            self.channels[channel.id] = channel

    def take_message(self, channel: int, time: int, body: memoryview) -> None:
        """One message by its channel's number, with its time in ns."""
        self.messages.setdefault(channel, []).append(bytes(body))

    def _take_chunk(self, body: memoryview) -> None:
        """All records of a chunk that can be unpacked; one that cannot, for whatever reason, is a damaged one."""
        try:
            records = _unpack(Chunk.read(ReadDataStream(BytesIO(body))))
            whole = 0
            for opcode, inner, end in _records(memoryview(records)):
                self.keep(opcode, inner)
                whole = end
        except RECORD_ERRORS:
            self.bad_chunks += 1
        else:
            self.bad_chunks += whole != len(records)  # other writers leave the checksum out

    def _take_footer(self, data: memoryview, start: int, body: memoryview) -> None:
        """The end of the file; statistics count only where the checksum over the summary fits, or is left out."""
        footer = Footer.read(ReadDataStream(BytesIO(body)))
        self.complete = True
        covered = data[footer.summary_start : start + _RECORD.size + FOOTER_COVERED]
        self.index_sound = footer.summary_crc in (0, zlib.crc32(covered))
        if not self.index_sound:
            self.announced = None

    def _take_metadata(self, body: memoryview) -> None:
        record = Metadata.read(ReadDataStream(BytesIO(body)))
        if record.name == METADATA_NAME:
            self.metadata |= {key: json.loads(value) for key, value in record.metadata.items()}

    def account(self) -> Iterator[str]:
        """One sentence for each kind of damage."""
        counts = self.announced or None  # other writers may leave the counts out
        lost = None if counts is None else sum(max(0, n - self.taken[channel]) for channel, n in counts.items())
        of = "" if counts is None else f"{lost} of {sum(counts.values())} messages"
        if self.bad_chunks:
            yield f"{self.bad_chunks} damaged chunks are lost, {of or f'up to {FLUSH_PERIOD} s of flight each'}"
        elif lost:
            yield f"damaged: {of} that the file's end counts are not found"
        if self.bad_records:
            yield f"{self.bad_records} damaged MCAP records are passed over"
        if not self.sound and not self.bad_chunks and lost == 0:
            yield "damaged outside of its chunks: all messages are there, but the metadata may be wrong"
        elif not self.sound and not self.bad_chunks and not lost:
            yield "damaged: the checksum over the whole file does not fit; messages may be lost"
        if not self.index_sound:
            yield "damaged in the index at its end, which is not needed; how many messages there were is not known"
        if not self.complete:
            yield (
                f"cut short or damaged: the last {self.bytes_after} bytes are no whole MCAP record and are lost, up to "
                f"{FLUSH_PERIOD} s of flight, and whatever came later"
            )


def _records(data: memoryview, at: int = 0) -> Iterator[tuple[int, memoryview, int]]:
    """Opcode, body and end of every whole record from ``at`` on."""
    while at + _RECORD.size <= len(data):
        opcode, length = _RECORD.unpack_from(data, at)
        start = at + _RECORD.size
        at = start + length
        if at > len(data):
            return
        yield opcode, data[start:at], at


def _unpack(chunk: Chunk) -> bytes:
    """Records of a chunk.

    Raises
    ------
    ValueError
        Where they are damaged; zstandard raises its own error.
    """
    size = chunk.uncompressed_size
    if size > MAX_CHUNK:
        raise ValueError(f"a chunk of {size} bytes")
    if chunk.compression == "zstd":
        records = zstandard.ZstdDecompressor().stream_reader(chunk.data).read(size + 1)
    elif chunk.compression == "lz4":
        try:
            records = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=size + 1)
        except RuntimeError as error:  # what lz4 raises for damaged data
            raise ValueError(str(error)) from error
    else:
        records = bytes(chunk.data)
    if len(records) != size or chunk.uncompressed_crc not in (0, zlib.crc32(records)):
        raise ValueError("a chunk's length or checksum does not fit")
    return records


def _arrays(messages: list[bytes], source: str) -> Mapping[str, np.ndarray]:
    """Fields of all messages; those that the first one has must be in every one."""
    names = _names(messages[0], source)
    batches: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for start in range(0, len(messages), BATCH):
        try:
            records = json.loads(b"[" + b",".join(messages[start : start + BATCH]) + b"]")
            for name, arrays in batches.items():
                components = COLUMNS[name][0]
                values = map(itemgetter(name), records)
                rows = map(itemgetter(*components), values) if components else values
                arrays.append(np.array(list(rows), dtype=np.float64))
        except (KeyError, TypeError, ValueError) as error:
            where = f"of the messages {start} to {min(start + BATCH, len(messages)) - 1}"
            raise UserError(f"{source}: one {where} on {TOPIC} lacks a number that the first has: {error}") from error
    return {name: np.concatenate(arrays) for name, arrays in batches.items()}


def _names(message: bytes, source: str) -> list[str]:
    """Fields of ``FlightLog`` in one message."""
    try:
        record = json.loads(message)
    except ValueError as error:
        raise UserError(f"{source}: the first message on {TOPIC} is no valid JSON: {error}") from error
    names = [name for name in COLUMNS if name in record] if isinstance(record, dict) else []
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise UserError(f"{source}: the messages on {TOPIC} lack the needed field '{missing[0]}'")
    return names
