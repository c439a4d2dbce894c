"""Where unit tests are: each test file of `tests/unit` mirrors the module that it tests."""

from itertools import accumulate
from pathlib import Path


def unit_tests_without_module(root: Path) -> list[str]:
    """`tests/unit/a/test_b.py`, or `test_b_more.py`, tests `src/sessionary/a/b.py`; that module must exist."""
    unit = root / "tests" / "unit"
    files = sorted(unit.rglob("test_*.py"))
    if not files:
        raise AssertionError(f"no test files in {unit}")
    package = root / "src" / "sessionary"
    return [f"{file}: no such module" for file in files if not _has_module(package, file.relative_to(unit))]


def _has_module(package: Path, file: Path) -> bool:
    words = file.stem.removeprefix("test_").split("_")
    names = accumulate(words, "{}_{}".format)
    return any((package / file.parent / f"{name}.py").is_file() for name in names)
