"""The rules for documents and tracked files; each function checks one rule and returns a line for each violation."""

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

# The languages that tests/docs can run or check. A block in another language would not be checked.
BLOCK_LANGUAGES = {"console", "http", "json", "nginx", "python", "sh", "sql", "text", "toml"}

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)", re.MULTILINE)
_NAMED_TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
_HEADING = re.compile(r"^#{1,6} +(.*?) *#*$", re.MULTILINE)
# Split, because this file is tracked too.
_REGISTRY_HOSTS = [
    "python" + "hosted",
    "pypi" + ".org",
    "pypi" + ".python",
    "npm" + "js.org",
    "npm" + "js.com",
    "debian" + ".org",
    "crates" + ".io",
    "proxy." + "golang",
]
_MACHINE_PATHS = re.compile(
    r"(?<![A-Za-z0-9_.])/(?:wor" + "k|far" + "m|ro" + "ot|bash_jo" + r"bs|home/\w+|Users/\w+)[/.]"
)


def documents(root: Path) -> list[Path]:
    """Return the README and every page of the documentation."""
    found = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    if not found[0].exists() or len(found) < 2:
        raise AssertionError(f"no README.md or no docs in {root}")
    return found


def blocks_not_checked(root: Path) -> list[str]:
    """Every code block names its language, and tests/docs checks blocks in that language."""
    blocks = [(page, language) for page in documents(root) for language in _languages(page)]
    if not blocks:
        raise AssertionError(f"no code block in any document of {root}")
    return [
        f"{page.relative_to(root)}: a block in {language or 'no language'}"
        for page, language in blocks
        if language not in BLOCK_LANGUAGES
    ]


def undocumented(words: Iterable[str], pages: Iterable[Path]) -> list[str]:
    """Return the words that none of the pages contains as whole words."""
    wanted = list(words)
    if not wanted:
        raise AssertionError("nothing to look for")
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    return [word for word in wanted if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text)]


def tests_named_but_missing(root: Path, page: Path) -> list[str]:
    """Every test that a page names as `file::test` exists; raises AssertionError for a page that names none."""
    named = sorted(set(_NAMED_TEST.findall(page.read_text(encoding="utf-8"))))
    if not named:
        raise AssertionError(f"{page} names no test")
    return [f"{file}::{test}" for file, test in named if not _has_test(root / file, test)]


def _has_test(file: Path, test: str) -> bool:
    return (
        file.is_file()
        and re.search(rf"^(async )?def {test}\(", file.read_text(encoding="utf-8"), re.MULTILINE) is not None
    )


def headings(page: Path) -> list[str]:
    """Return the headings of a page, without backquotes."""
    return [heading.replace("`", "") for heading in _HEADING.findall(_prose(page))]


def tracked_files(root: Path) -> list[Path]:
    """Return the files that git tracks or would add; raises AssertionError if there are none."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = [root / name for name in listing.split("\0") if name]
    if not found:
        raise AssertionError(f"git tracks nothing in {root}")
    return [file for file in found if file.is_file()]


def machine_traces(root: Path) -> list[str]:
    """No tracked file contains a package registry's host or a path of the machine it was written on."""
    return [
        f"{file.relative_to(root)}:{number}: {line.strip()[:80]}"
        for file in tracked_files(root)
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if _MACHINE_PATHS.search(line) or any(host in line for host in _REGISTRY_HOSTS)
    ]


def _languages(page: Path) -> list[str]:
    """Return the language of every code block of a page; a fence is closed by one of its kind that is at least as long."""
    languages: list[str] = []
    open_fence = ""
    for fence, language in _FENCE.findall(page.read_text(encoding="utf-8")):
        if not open_fence:
            open_fence = fence
            languages.append(language)
        elif fence.startswith(open_fence) and not language:
            open_fence = ""
    if open_fence:
        raise AssertionError(f"{page}: a code block that is not closed")
    return languages


def _prose(page: Path) -> str:
    """Return a page without its code blocks, in which a comment looks like a heading."""
    return re.sub(
        r"^ {0,3}(`{3,}|~{3,}).*?^ {0,3}\1",
        "",
        page.read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
