"""Selects the files with conversations in the ZIP archive of a data export."""

import re
from pathlib import PurePosixPath
from typing import Final
from zipfile import ZipFile, ZipInfo

import click

UNREADABLE_ARCHIVE: Final = "is not a readable ZIP archive: unpack it and import the files inside."
_FILES_MAX: Final = 100_000
_LARGE_BYTES: Final = 1024**3
_RATIO_MAX: Final = 200
"""Conversations compress to about a tenth; a ratio above 200 indicates a decompression bomb."""
_CONVERSATIONS: Final = re.compile(r"conversations?([-_ ]?\d+)?\.jsonl?", re.IGNORECASE)
_OTHER: Final = re.compile(
    r"(users?|account|profile|projects|memories|message_feedback|model_comparisons|shared_conversations|group_chats"
    r"|shopping|sora|settings|manifest|export_manifest|library_files)\.jsonl?",
    re.IGNORECASE,
)
_NUMBER: Final = re.compile(r"\d+")


def select_members(archive: ZipFile, name: str) -> tuple[list[ZipInfo], list[str]]:
    """Return the files with conversations, and notices about the files that were skipped; raises ClickException."""
    files = [member for member in archive.infolist() if not member.is_dir()]
    if len(files) > _FILES_MAX:
        raise click.ClickException(f"{name} contains too many files: unpack it and import those with conversations.")
    named = [member for member in files if _CONVERSATIONS.fullmatch(_base(member))]
    chosen = named or [
        member
        for member in files
        if _base(member).lower().endswith((".json", ".jsonl")) and not _OTHER.fullmatch(_base(member))
    ]
    if not chosen:
        only_page = any(_base(member).lower().endswith(".html") for member in files)
        hint = " It contains only an HTML page: request the export again." if only_page else ""
        raise click.ClickException(f"{name} contains no conversations.json.{hint}")
    _check_sizes(chosen, name)
    names = {member.filename for member in chosen}
    skipped = [member for member in files if member.filename not in names and _is_data(member)]
    notices = [f"Not read: {', '.join(_base(member) for member in skipped)}."] if skipped else []
    if pictures := len(files) - len(names) - len(skipped):
        notices.append(f"Not read: {pictures} other files, such as pictures.")
    return sorted(chosen, key=_order), notices


def _check_sizes(members: list[ZipInfo], name: str) -> None:
    packed = sum(member.compress_size for member in members)
    unpacked = sum(member.file_size for member in members)
    if unpacked > _LARGE_BYTES and unpacked > packed * _RATIO_MAX:
        raise click.ClickException(
            f"{name} claims to contain {unpacked} bytes in {packed}, too many for conversations: if it is valid, "
            "unpack it and import the files inside."
        )


def _base(member: ZipInfo) -> str:
    # Only displayed and compared: no file is written under this name.
    return PurePosixPath(member.filename.replace("\\", "/")).name


def _is_data(member: ZipInfo) -> bool:
    return _base(member).lower().endswith((".json", ".jsonl", ".html"))


def _order(member: ZipInfo) -> tuple[str, int]:
    base = _base(member)
    number = _NUMBER.search(base)
    return _NUMBER.sub("", base), int(number[0]) if number else -1
