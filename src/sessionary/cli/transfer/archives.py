"""Which files of a data export's archive hold conversations."""

import re
from pathlib import PurePosixPath
from typing import Final
from zipfile import ZipFile, ZipInfo

import click

ODD_ARCHIVE: Final = "is no ZIP archive that can be read: unpack it, and import the files inside."
_FILES_MAX: Final = 100_000
_LARGE_BYTES: Final = 1024**3
_RATIO_MAX: Final = 200
"""Conversations are packed to a tenth; what is packed to less than a two-hundredth is large on purpose."""
_CONVERSATIONS: Final = re.compile(r"conversations?([-_ ]?\d+)?\.jsonl?", re.IGNORECASE)
_OTHER: Final = re.compile(
    r"(users?|account|profile|projects|memories|message_feedback|model_comparisons|shared_conversations|group_chats"
    r"|shopping|sora|settings|manifest|export_manifest|library_files)\.jsonl?",
    re.IGNORECASE,
)
_NUMBER: Final = re.compile(r"\d+")


def members_to_read(archive: ZipFile, name: str) -> tuple[list[ZipInfo], list[str]]:
    """Choose the files with conversations, and say which were passed over; raises ClickException."""
    files = [member for member in archive.infolist() if not member.is_dir()]
    if len(files) > _FILES_MAX:
        raise click.ClickException(f"{name} holds too many files: unpack it, and import those with conversations.")
    named = [member for member in files if _CONVERSATIONS.fullmatch(_base(member))]
    chosen = named or [
        member
        for member in files
        if _base(member).lower().endswith((".json", ".jsonl")) and not _OTHER.fullmatch(_base(member))
    ]
    if not chosen:
        only_page = any(_base(member).lower().endswith(".html") for member in files)
        hint = " It has only a page to look at: ask for the export again." if only_page else ""
        raise click.ClickException(f"{name} holds no conversations.json.{hint}")
    _check_sizes(chosen, name)
    names = {member.filename for member in chosen}
    passed = [member for member in files if member.filename not in names and _is_data(member)]
    notices = [f"Not read: {', '.join(_base(member) for member in passed)}."] if passed else []
    if pictures := len(files) - len(names) - len(passed):
        notices.append(f"Not read: {pictures} other files, such as pictures.")
    return sorted(chosen, key=_order), notices


def _check_sizes(members: list[ZipInfo], name: str) -> None:
    packed = sum(member.compress_size for member in members)
    unpacked = sum(member.file_size for member in members)
    if unpacked > _LARGE_BYTES and unpacked > packed * _RATIO_MAX:
        raise click.ClickException(
            f"{name} says that it holds {unpacked} bytes in {packed}, which no conversations do: if it is sound, "
            "unpack it and import the files inside."
        )


def _base(member: ZipInfo) -> str:
    # Only ever shown and compared: nothing is written under this name.
    return PurePosixPath(member.filename.replace("\\", "/")).name


def _is_data(member: ZipInfo) -> bool:
    return _base(member).lower().endswith((".json", ".jsonl", ".html"))


def _order(member: ZipInfo) -> tuple[str, int]:
    base = _base(member)
    number = _NUMBER.search(base)
    return _NUMBER.sub("", base), int(number[0]) if number else -1
