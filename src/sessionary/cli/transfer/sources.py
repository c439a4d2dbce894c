"""Opens the files to import: plain or gzip, in UTF-8, UTF-16 or UTF-32, and the files inside a ZIP archive."""

import codecs
import contextlib
import gzip
import io
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from sessionary.cli.transfer.archives import UNREADABLE_ARCHIVE, select_members

_BUFFER_BYTES: Final = 1024 * 1024
_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UNSUPPORTED: Final = (
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ", "xz"),
    (b"BZh", "bzip2"),
    (b"7z\xbc\xaf", "7z"),
    (b"Rar!", "rar"),
    (b"%PDF", "a PDF document"),
    (b"SQLite format 3", "a SQLite database"),
)
_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"


class Source(NamedTuple):
    """One file, or one file inside an archive."""

    archive_path: str
    """The path inside the archive, or empty."""
    file: io.BufferedReader


class Sources(NamedTuple):
    """The contents of a file."""

    length: int | None
    """How many bytes there are to read, if known."""
    sources: Iterator[Source]
    notices: list[str]


@contextlib.contextmanager
def open_sources(name: str) -> Iterator[Sources]:
    """Open a file, or standard input for ``-``; raises ClickException if it cannot be read."""
    with contextlib.ExitStack() as stack:
        raw: Any = sys.stdin.buffer if name == "-" else stack.enter_context(Path(name).open("rb"))
        # Standard input may have been replaced by an object that is not a raw file, as in tests.
        file = raw if name == "-" and hasattr(raw, "peek") else io.BufferedReader(raw, _BUFFER_BYTES)
        start = file.peek(16)[:16]
        if start.startswith(_ZIP):
            yield _archive(name, stack)
        else:
            length = None if name == "-" or start.startswith(_GZIP) else Path(name).stat().st_size
            length = length if name != "-" and Path(name).is_file() else None
            yield Sources(length, iter([Source("", open_as_utf8(file, name))]), [])


def open_as_utf8(file: Any, name: str) -> io.BufferedReader:
    """Return the file as UTF-8, unpacked and converted as needed; raises ClickException if it is not text."""
    start = file.peek(16)[:16]
    for mark, kind in _UNSUPPORTED:
        if start.startswith(mark):
            raise click.ClickException(f"{name} is {kind}, not JSON: unpack or convert it first.")
    if start.startswith(_GZIP):
        return open_as_utf8(io.BufferedReader(_Unpacked(gzip.GzipFile(fileobj=file), name), _BUFFER_BYTES), name)
    encoding = next(
        (encoding for mark, encoding in _BYTE_ORDER_MARKS if start.startswith(mark)), None
    ) or _guess_encoding(start)
    return io.BufferedReader(_Transcoded(file, encoding), _BUFFER_BYTES) if encoding else file


def _guess_encoding(start: bytes) -> str | None:
    """Detect UTF-16 and UTF-32 without a byte-order mark by the zero bytes beside the first bracket."""
    for encoding, first in (("utf-32-le", "{"), ("utf-32-be", "{"), ("utf-16-le", "{"), ("utf-16-be", "{")):
        if start.startswith((first.encode(encoding), "[".encode(encoding))):
            return encoding
    return None


class _Transcoded(io.RawIOBase):
    """A file in another encoding, converted to UTF-8."""

    def __init__(self, file: io.BufferedReader, encoding: str) -> None:
        self._file: Final = file
        self._decoder: Final = codecs.getincrementaldecoder(encoding)("replace")
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            read = self._file.read(_BUFFER_BYTES)
            self._ready = self._decoder.decode(read, final=not read).encode("utf-8", "replace")
            if not read:
                break
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count


class _Unpacked(io.RawIOBase):
    """A compressed file; raises ClickException if it is damaged."""

    def __init__(self, file: Any, name: str) -> None:
        self._file: Final = file
        self._name: Final = name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            read: bytes = self._file.read(len(buffer))
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise click.ClickException(f"{self._name} is damaged and cannot be read completely.") from error
        buffer[: len(read)] = read
        return len(read)


def _archive(name: str, stack: contextlib.ExitStack) -> Sources:
    if name == "-":
        raise click.ClickException("A ZIP archive cannot be read from standard input: pass the file.")
    try:
        archive = stack.enter_context(zipfile.ZipFile(name))
        members, notices = select_members(archive, name)
    except (zipfile.BadZipFile, OSError, NotImplementedError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{name} {UNREADABLE_ARCHIVE}") from error
    return Sources(sum(member.file_size for member in members), _members(archive, members, name), notices)


def _members(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], name: str) -> Iterator[Source]:
    for member in members:
        shown = "".join(character if character.isprintable() else "?" for character in member.filename)
        try:
            opened = archive.open(member)
        except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
            raise click.ClickException(
                f"{shown} in {name} is damaged, encrypted or compressed with an unknown method."
            ) from error
        with opened:
            unpacked = io.BufferedReader(_Unpacked(opened, f"{shown} in {name}"), _BUFFER_BYTES)
            yield Source(shown, open_as_utf8(unpacked, shown))
