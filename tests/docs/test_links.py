"""Every link from one page of this repository to another leads somewhere."""

import re
from pathlib import Path

import pytest

from tests.layout.documents import headings, tracked_files
from tests.layout.paths import ROOT

_LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s#]*)(?:#([^)\s]*))?\)")
PAGES = sorted(str(file.relative_to(ROOT)) for file in tracked_files(ROOT) if file.suffix == ".md")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_the_page_leads_to_a_file_and_a_heading(page: str) -> None:
    assert broken_links(ROOT / page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A heading: `code`\n\n[a](page.md) [b](#a-heading-code) [c](gone.md) [d](page.md#gone)\n")
    assert broken_links(page) == ["gone.md", "page.md#gone"]


def broken_links(page: Path) -> list[str]:
    """Return the links of a page, to files of the repository and to headings, that lead nowhere."""
    broken = []
    for file, anchor in _LINK.findall(page.read_text(encoding="utf-8")):
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(f"{file}#{anchor}" if anchor else file)
    return broken


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings(page)}
