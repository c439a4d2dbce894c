"""Reading TOML files that an operator writes, with a size limit and errors that name the file."""

import codecs
import tomllib
from pathlib import Path
from typing import Any, Final

from sessionary.errors import InvalidRequestError

BYTES_MAX: Final = 1024 * 1024
_OTHER_ENCODINGS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Read a file; ``what``, such as ``The settings file``, names it in errors. Raises InvalidRequestError."""
    try:
        return _parse(_decode(_read_bytes(path)))
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:
        reason = str(error)
    raise InvalidRequestError(f"{what} {path} cannot be read: {reason}.")


def _parse(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:
        # The message of Python's own limit is written for programmers.
        raise ValueError("a number in it has too many digits") from None


def _read_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(BYTES_MAX + 1)
    if len(content) > BYTES_MAX:
        raise ValueError(f"it has more than {BYTES_MAX:,} bytes")
    return content


def _decode(content: bytes) -> str:
    if content.startswith(_OTHER_ENCODINGS) or b"\0" in content[:4]:
        raise ValueError("it is UTF-16 or UTF-32; save it as UTF-8")
    try:
        # Windows editors start a file with a byte-order mark and end its lines with CR LF.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text (byte {error.start})") from None
    return text.replace("\r\n", "\n")
