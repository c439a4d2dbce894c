"""Importing the client loads the client: no server, no driver, and little beside httpx2 and msgspec."""

import importlib.metadata
import json
import subprocess
import sys
from importlib.abc import MetaPathFinder
from typing import Final

import pytest

import sessionary
from sessionary import AsyncClient, Client
from tests.client.clients import Endpoint

# What the client may load beside httpx2, msgspec and asyncio: its own modules and a few of the standard library's.
# Many of its own are small, with one task each (URLs, deadlines, encoding, checks of arguments): merging unrelated ones
# would save little time beside the HTTP library's own modules, and be harder to read.
OWN_MODULES_MAX: Final = 31
STANDARD_MODULES_MAX: Final = 15


def _loaded(statement: str) -> set[str]:
    script = f"{statement}\nimport json, sys; print(json.dumps(list(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(json.loads(run.stdout))


def test_the_client_loads_no_server_and_little_else() -> None:
    client = _loaded("from sessionary import Client, AsyncClient")
    added = client - _loaded("import httpx2, httpcore2, msgspec.structs, asyncio")
    own = {name for name in added if name.partition(".")[0] == "sessionary"}
    assert {name.split(".")[1] for name in own if "." in name} <= {"client", "constants", "errors", "models"}
    assert len(own) <= OWN_MODULES_MAX
    others = added - own
    assert {name.partition(".")[0].lstrip("_") for name in others} <= sys.stdlib_module_names
    assert len(others) <= STANDARD_MODULES_MAX, sorted(others)
    assert not {"apsw", "asyncpg", "uvicorn", "uvloop", "httptools"} & {name.partition(".")[0] for name in client}


def test_the_bare_package_loads_nothing() -> None:
    added = _loaded("import sessionary") - _loaded("import json, typing, importlib")
    assert added == {"sessionary"}


def test_models_and_errors_load_no_http_library() -> None:
    loaded = _loaded("from sessionary import Session, NotFoundError, FieldError")
    assert {name for name in loaded if name.startswith("sessionary")} == {
        "sessionary",
        "sessionary.client",
        "sessionary.client.results",
        "sessionary.errors",
        "sessionary.constants",
        "sessionary.models",
    }
    assert "httpx2" not in loaded


@pytest.mark.parametrize("name", sorted(set(sessionary.__all__) - {"Role", "Status", "__version__"}))
def test_every_public_name_is_itself_and_documented(name: str) -> None:
    found = getattr(sessionary, name)
    assert found.__name__ == name
    assert found.__doc__
    assert name in dir(sessionary)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Nothing"):
        sessionary.Nothing  # type: ignore[attr-defined]  # noqa: B018 - the test
    with pytest.raises(ImportError):
        exec("from sessionary import error_from_response")  # noqa: S102 - our own words


async def test_no_call_looks_for_a_module_that_is_not_there(our_endpoint: Endpoint) -> None:
    looked_for: list[str] = []

    class Watcher(MetaPathFinder):
        def find_spec(self, fullname: str, *_: object) -> None:
            looked_for.append(fullname)

    async with AsyncClient(our_endpoint.url, token=our_endpoint.token, organisation="acme") as client:
        await client.list_sessions()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "meta_path", [Watcher(), *sys.meta_path])
            await client.list_sessions()
    assert looked_for == []


def test_the_version_is_that_of_the_package() -> None:
    assert sessionary.__version__ == importlib.metadata.version("sessionary")
    with Client("http://a.test", organisation="acme") as client:
        assert client._config.headers["User-Agent"] == f"sessionary-python/{sessionary.__version__}"  # noqa: SLF001 - what it sends
