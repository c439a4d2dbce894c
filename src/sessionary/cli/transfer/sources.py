"""Where records come from: files as they are, in other encodings, packed, and the files inside of an archive."""

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

from sessionary.cli.transfer.archives import ODD_ARCHIVE, members_to_read

_BUFFER_BYTES: Final = 1024 * 1024
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PACKED: Final = (
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
    """Records of one file, or of one file inside of an archive."""

    inside: str
    """The name inside of the archive, or nothing."""
    file: io.BufferedReader


class Sources(NamedTuple):
    """What a file holds."""

    length: int | None
    """How many bytes there are to read, if that is known."""
    found: Iterator[Source]
    notices: list[str]


@contextlib.contextmanager
def sources_of(name: str) -> Iterator[Sources]:
    """Open a file, or the standard input for ``-``; raises ClickException for what cannot be read."""
    with contextlib.ExitStack() as stack:
        raw: Any = sys.stdin.buffer if name == "-" else stack.enter_context(Path(name).open("rb"))
        # Standard input that a test has replaced may be no raw file.
        file = raw if name == "-" and hasattr(raw, "peek") else io.BufferedReader(raw, _BUFFER_BYTES)
        begins = file.peek(16)[:16]
        if begins.startswith(_ZIP):
            yield _archive(name, stack)
        else:
            length = None if name == "-" or begins.startswith(_GZIP) else Path(name).stat().st_size
            length = length if name != "-" and Path(name).is_file() else None
            yield Sources(length, iter([Source("", readable(file, name))]), [])


def readable(file: Any, name: str) -> io.BufferedReader:
    """Read a file as UTF-8, whatever its encoding is; raises ClickException for what is no text."""
    begins = file.peek(16)[:16]
    for mark, kind in _PACKED:
        if begins.startswith(mark):
            raise click.ClickException(f"{name} is {kind} and no JSON: unpack or convert it first.")
    if begins.startswith(_GZIP):
        return readable(io.BufferedReader(_Unpacked(gzip.GzipFile(fileobj=file), name), _BUFFER_BYTES), name)
    encoding = next((encoding for mark, encoding in _MARKS if begins.startswith(mark)), None) or _guessed(begins)
    return io.BufferedReader(_Recoded(file, encoding), _BUFFER_BYTES) if encoding else file


def _guessed(begins: bytes) -> str | None:
    """Know UTF-16 and UTF-32 without a mark by the zeros beside a bracket."""
    for encoding, first in (("utf-32-le", "{"), ("utf-32-be", "{"), ("utf-16-le", "{"), ("utf-16-be", "{")):
        if begins.startswith((first.encode(encoding), "[".encode(encoding))):
            return encoding
    return None


class _Recoded(io.RawIOBase):
    """A file in another encoding, as UTF-8."""

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
    """A packed file; what is broken in it is told in a sentence."""

    def __init__(self, file: Any, name: str) -> None:
        self._file: Final = file
        self._name: Final = name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            read: bytes = self._file.read(len(buffer))
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise click.ClickException(f"{self._name} is broken, and cannot be read to its end.") from error
        buffer[: len(read)] = read
        return len(read)


def _archive(name: str, stack: contextlib.ExitStack) -> Sources:
    if name == "-":
        raise click.ClickException("A ZIP archive cannot be read from the standard input: give its file.")
    try:
        archive = stack.enter_context(zipfile.ZipFile(name))
        members, notices = members_to_read(archive, name)
    except (zipfile.BadZipFile, OSError, NotImplementedError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{name} {ODD_ARCHIVE}") from error
    return Sources(sum(member.file_size for member in members), _members(archive, members, name), notices)


def _members(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], name: str) -> Iterator[Source]:
    for member in members:
        shown = "".join(letter if letter.isprintable() else "?" for letter in member.filename)
        try:
            opened = archive.open(member)
        except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
            raise click.ClickException(
                f"{shown} in {name} is broken, encrypted or packed in a way not known."
            ) from error
        with opened:
            unpacked = io.BufferedReader(_Unpacked(opened, f"{shown} in {name}"), _BUFFER_BYTES)
            yield Source(shown, readable(unpacked, shown))
