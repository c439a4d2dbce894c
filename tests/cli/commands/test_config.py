"""`sessionary config`: effective settings and their sources, secrets hidden; and other small commands."""

import json
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from sessionary.server.config import Settings, setting_descriptions, variable_name
from tests.cli.conftest import Run
from tests.harness.server import run_sessionary


def test_config_prints_every_setting_with_its_source(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sessionary.toml").write_text("connections = 7\nhost = '::1'\nlog_level = 'error'\n")
    completed = run(
        "config",
        "--log-level",
        "debug",
        "--no-first-token",
        environment={"SESSIONARY_HOST": "0.0.0.0", "SESSIONARY_LOG_LEVEL": "warning"},  # noqa: S104 - not listened on
    )
    assert completed.returncode == 0
    printed = {line.split()[0]: line.split(maxsplit=2)[1:] for line in completed.stdout.splitlines()}
    assert printed["host"] == ["0.0.0.0", "environment SESSIONARY_HOST"]  # noqa: S104 - as above
    assert printed["connections"] == ["7", "file sessionary.toml"]
    assert printed["log_level"] == ["debug", "flag"]
    assert printed["first_token"] == ["false", "flag"]
    assert printed["port"] == ["8080", "default"]


def test_config_as_json_is_one_object_of_every_setting(run: Run) -> None:
    completed = run("config", "--json", "--port", "9")
    printed = json.loads(completed.stdout)
    assert list(printed) == list(Settings.__struct_fields__)
    assert printed["port"] == {"value": "9", "source": "flag"}
    assert printed["database"] == {"value": "sqlite:///sessionary.db", "source": "default"}


@pytest.mark.parametrize("url", ["postgresql://ada:geheim@db/x", "postgresql://db/x?user=ada&password=geheim"])
@pytest.mark.parametrize("way", ["flag", "environment", "file"])
def test_config_hides_the_password_wherever_it_comes_from(run: Run, tmp_path: Path, url: str, way: str) -> None:
    (tmp_path / "sessionary.toml").write_text(f'database = "{url}"\n' if way == "file" else "")
    flags = ["--database", url] if way == "flag" else []
    environment = {"SESSIONARY_DATABASE": url} if way == "environment" else {}
    for as_json in ([], ["--json"]):
        completed = run("config", *as_json, *flags, environment=environment)
        assert completed.returncode == 0
        assert "geheim" not in completed.stdout + completed.stderr
        assert "***" in completed.stdout
        assert way in completed.stdout


NO_URLS = ["u:geheim@h/x", "postgresql//u:geheim@h/x", "host=h password=geheim", "mysql://u:geheim@h/x"]


@pytest.mark.parametrize("database", [*NO_URLS, "sqlite:///x?key=geheim", "sqlite:///:memory:"])
@pytest.mark.parametrize("command", [["config"], ["config", "--json"], ["serve"], ["migrate"], ["tokens", "list"]])
def test_an_invalid_database_url_is_rejected_and_not_shown(run: Run, command: list[str], database: str) -> None:
    completed = run(*command, environment={"SESSIONARY_DATABASE": database})
    assert completed.returncode == 2
    assert completed.stdout == ""
    assert completed.stderr.startswith("sessionary: The database ")
    assert len(completed.stderr.splitlines()) == 1
    assert "geheim" not in completed.stderr


def test_config_rejects_an_invalid_postgresql_url(run: Run) -> None:
    completed = run("config", "--database", "postgresql://ada:geheim@db:port/x")
    assert (completed.returncode, completed.stdout) == (2, "")
    assert "cannot be read" in completed.stderr
    assert "geheim" not in completed.stderr


BAD: list[tuple[list[str], dict[str, str], str, str]] = [
    (["--port", "x"], {}, "", "The setting port (flag) is not valid"),
    ([], {"SESSIONARY_PORT": "x"}, "", "The setting port (environment SESSIONARY_PORT) is not valid"),
    ([], {}, "port = 'x'", "The setting port (file sessionary.toml) is not valid"),
    ([], {}, "prot = 1", "There is no setting 'prot' (file sessionary.toml)."),
    ([], {}, "port =", "The settings file sessionary.toml cannot be read"),
    (["--config", "nowhere.toml"], {}, "", "The settings file nowhere.toml cannot be read"),
    ([], {"SESSIONARY_CONFIG": "nowhere.toml"}, "", "The settings file nowhere.toml cannot be read"),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad[3])
@pytest.mark.parametrize("command", ["config", "serve"])
def test_invalid_settings_are_reported_in_one_sentence(
    run: Run, tmp_path: Path, command: str, bad: tuple[list[str], dict[str, str], str, str]
) -> None:
    words, environment, content, said = bad
    (tmp_path / "sessionary.toml").write_text(content)
    completed = run(command, *words, environment=environment)
    assert completed.returncode == 2
    assert completed.stderr.startswith(f"sessionary: {said}")
    assert len(completed.stderr.splitlines()) == 1
    assert completed.stdout == ""
    assert [file.name for file in tmp_path.iterdir()] == ["sessionary.toml"]


def test_an_unknown_flag_is_a_usage_error(run: Run) -> None:
    completed = run("serve", "--prot", "1")
    assert completed.returncode == 2
    assert "--prot" in completed.stderr


def test_help_lists_every_setting_with_its_variable_and_default(run: Run) -> None:
    completed = run("serve", "--help")
    assert completed.returncode == 0
    printed = " ".join(completed.stdout.split())
    for name, description in setting_descriptions().items():
        assert f"--{name.replace('_', '-')}" in printed
        assert variable_name(name) in printed
        assert description in printed


def test_the_version_is_the_packages() -> None:
    completed = run_sessionary("--version")
    assert completed.stdout.startswith("sessionary, version 0.")


def test_openapi_prints_the_document_as_json() -> None:
    completed = run_sessionary("openapi")
    assert completed.returncode == 0
    document = json.loads(completed.stdout)
    assert document["openapi"].startswith("3.1")
    validate(document)
