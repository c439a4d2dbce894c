"""The rules for source files; each function checks one rule and returns a line for each violation."""

import ast
import io
import itertools
import tokenize
from collections.abc import Iterator
from pathlib import Path

LINES_A_FILE_MAX = 300
LINES_A_FUNCTION_MAX = 40

_IGNORED_TOKENS = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
_VAGUE_WORDS = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}
# These modules run the service and may read the clock and the environment; all others get what they need as arguments.
_PROGRAMS = {
    "__main__.py",
    "cli",
    "server/clock.py",
    "server/config.py",
    "server/logging.py",
    "server/protocol.py",
    "server/run.py",
}
# The one file of the client that may read them, for the defaults of arguments.
_CLIENT_DEPENDENCIES = "client/dependencies.py"
_HIDDEN_INPUTS = {
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "os.environ",
    "os.getenv",
    "time.time",
    "time.time_ns",
}


def source_files(package: Path) -> list[Path]:
    """Return the modules of a package; raises AssertionError if there are none."""
    found = sorted(package.rglob("*.py"))
    if not found:
        raise AssertionError(f"no Python files under {package}")
    return found


def files_too_long(package: Path) -> list[str]:
    """A file has at most 300 lines of code; a longer one becomes a package."""
    sizes = {file: len(_code_lines(file.read_text(encoding="utf-8"))) for file in source_files(package)}
    return [f"{file}: {size} lines of code" for file, size in sizes.items() if size > LINES_A_FILE_MAX]


def functions_too_long(package: Path) -> list[str]:
    """A function has at most 40 lines of code."""
    return [
        f"{file}: {name} has {size} lines of code"
        for file in source_files(package)
        for name, size in _function_sizes(file.read_text(encoding="utf-8"))
        if size > LINES_A_FUNCTION_MAX
    ]


def packages_not_empty(package: Path) -> list[str]:
    """A name is imported from the module that defines it: only the top package has names of its own."""
    inner = [file for file in source_files(package) if file.name == "__init__.py" and file.parent != package]
    if not inner:
        raise AssertionError(f"no packages inside {package}")
    return [f"{file} is not empty" for file in inner if file.read_text(encoding="utf-8")]


def vague_names(package: Path) -> list[str]:
    """A file is named after what it contains."""
    return [
        f"{path}: its name does not say what it contains"
        for path in [*source_files(package), *package.rglob("*.sql"), *_folders(package)]
        if _VAGUE_WORDS & set(path.stem.lower().split("_"))
    ]


def exports_out_of_order(package: Path) -> list[str]:
    """The public names are one sorted list, `__all__`."""
    lists = [
        ast.literal_eval(node.value)
        for node in ast.parse((package / "__init__.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id == "__all__"
    ]
    if len(lists) != 1:
        return [f"{package}: expected one __all__, found {len(lists)}"]
    names = list(lists[0])
    wrong = [f"{later} stands after {name}" for name, later in itertools.pairwise(names) if name >= later]
    return wrong if names else [f"{package}: __all__ is empty"]


def hidden_inputs(package: Path) -> list[str]:
    """Only the programs read the clock or the environment; the layers below get them as arguments."""
    excepted = package / _CLIENT_DEPENDENCIES
    files = [file for file in source_files(package) if file != excepted]
    below = [file for file in files if not _is_program(file.relative_to(package))]
    if not below:
        raise AssertionError(f"nothing below the programs in {package}")
    return [
        f"{file}: {name}" for file in below for name in _names_used(file.read_text(encoding="utf-8")) & _HIDDEN_INPUTS
    ]


def modules_imported(file: Path) -> set[str]:
    """Return every module that a file imports, and every name it imports from one, in dotted form."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def _folders(package: Path) -> list[Path]:
    return [path for path in package.rglob("*") if path.is_dir()]


def _is_program(file: Path) -> bool:
    return file.as_posix() in _PROGRAMS or file.parts[0] in _PROGRAMS or file.name == "__init__.py"


def _code_lines(source: str) -> set[int]:
    """Return the numbers of the lines with code, not blank, comment or docstring."""
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {
        line
        for token in tokens
        if token.type not in _IGNORED_TOKENS
        for line in range(token.start[0], token.end[0] + 1)
    }
    return lines - docstrings


def _function_sizes(source: str) -> Iterator[tuple[str, int]]:
    code = _code_lines(source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            yield node.name, len(code.intersection(lines))


def _names_used(source: str) -> set[str]:
    """Return every dotted name in a file, beginning with the module it was imported from."""
    tree = ast.parse(source)
    origins: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            origins.update({alias.asname or alias.name: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom):
            origins.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    used: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            first, dot, rest = ast.unparse(node).partition(".")
            used.add(origins.get(first, first) + dot + rest)
    return used
