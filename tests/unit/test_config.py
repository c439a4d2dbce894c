"""Settings: a flag wins over the environment, the environment over the file, the file over the default."""

from pathlib import Path

import pytest
from msgspec.structs import asdict, fields

from sessionary.config import Settings, descriptions, effective, shown, variable_of
from sessionary.errors import InvalidRequest
from sessionary.store.opening import shown_place, without_password


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of settings lies where the tests run."""
    monkeypatch.chdir(tmp_path)


def test_without_anything_every_setting_has_its_default() -> None:
    found = effective({}, {})
    assert found.settings == Settings()
    assert set(found.sources.values()) == {"default"}
    assert (found.settings.host, found.settings.port) == ("127.0.0.1", 8080)
    assert found.settings.database == "sqlite:///sessionary.db"


def test_a_flag_wins_over_the_environment_that_over_the_file_that_over_the_default(tmp_path: Path) -> None:
    (tmp_path / "sessionary.toml").write_text('host = "file"\nport = 1\nlog_level = "error"\n')
    environment = {"SESSIONARY_HOST": "environment", "SESSIONARY_PORT": "2"}
    flags = {"host": "flag", "port": None}

    found = effective(flags, environment)

    assert (found.settings.host, found.settings.port, found.settings.log_level) == ("flag", 2, "error")
    assert found.settings.connections == 2_000
    assert found.sources["host"] == "flag"
    assert found.sources["port"] == "environment SESSIONARY_PORT"
    assert found.sources["log_level"] == "file sessionary.toml"
    assert found.sources["connections"] == "default"


@pytest.mark.parametrize("how", ["flag", "variable", "both"])
def test_the_file_may_lie_elsewhere(tmp_path: Path, how: str) -> None:
    named, other = tmp_path / "named.toml", tmp_path / "other.toml"
    named.write_text("port = 5\n")
    other.write_text("port = 6\n")
    variable = {"flag": {}, "variable": {"SESSIONARY_CONFIG": str(named)}, "both": {"SESSIONARY_CONFIG": str(other)}}
    found = effective({}, variable[how], None if how == "variable" else str(named))
    assert found.settings.port == 5
    assert found.sources["port"] == f"file {named}"


def test_a_file_that_was_named_must_be_there() -> None:
    with pytest.raises(InvalidRequest, match=r"settings file nowhere\.toml cannot be read"):
        effective({}, {}, "nowhere.toml")
    with pytest.raises(InvalidRequest, match=r"settings file nowhere\.toml cannot be read"):
        effective({}, {"SESSIONARY_CONFIG": "nowhere.toml"})


@pytest.mark.parametrize("content", [b"port = ", b"port: 8080", b"\xff", b"[host\n"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sessionary.toml").write_bytes(content)
    with pytest.raises(InvalidRequest, match=r"settings file sessionary\.toml cannot be read"):
        effective({}, {})


@pytest.mark.parametrize("content", ['hots = "x"\n', "[server]\nport = 1\n", "log-level = 'info'\n"])
def test_an_unknown_key_of_the_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "sessionary.toml").write_text(content)
    with pytest.raises(InvalidRequest, match=r"There is no setting '.*' \(file sessionary\.toml\)"):
        effective({}, {})


def test_a_variable_that_is_none_of_ours_is_left_alone() -> None:
    assert effective({}, {"SESSIONARY_UNKNOWN": "x", "PORT": "1"}).settings == Settings()


BAD = [
    ("host", ""),
    ("port", "-1"),
    ("port", "65536"),
    ("port", "80.5"),
    ("port", "http"),
    ("port", ""),
    ("database", ""),
    ("migrate", "perhaps"),
    ("path_prefix", "/chat?"),
    ("path_prefix", "//chat"),
    ("path_prefix", "/a b"),
    ("expiry_horizon_days", "0"),
    ("expiry_horizon_days", "3651"),
    ("sweep_seconds", "0"),
    ("sweep_seconds", "-1"),
    ("sweep_seconds", "nan"),
    ("sweep_seconds", "inf"),
    ("sweep_seconds", "3601"),
    ("store_seconds", "soon"),
    ("connections", "0"),
    ("log_format", "xml"),
    ("log_level", "INFO"),
    ("log_level", "loud"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_refused_with_its_name_its_source_and_what_is_right(name: str, value: str) -> None:
    for flags, environment, source in (
        ({name: value}, {}, "flag"),
        ({}, {variable_of(name): value}, f"environment {variable_of(name)}"),
    ):
        with pytest.raises(InvalidRequest) as refusal:
            effective(flags, environment)
        assert f"The setting {name} ({source}) is not valid: " in refusal.value.detail
        assert descriptions()[name] in refusal.value.detail


@pytest.mark.parametrize(
    "content", ["port = true", "port = 8080.5", "host = 5", "migrate = 'perhaps'", "sweep_seconds = nan", "port = [1]"]
)
def test_a_bad_value_in_the_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "sessionary.toml").write_text(content)
    with pytest.raises(InvalidRequest, match=rf"The setting {content.partition(' ')[0]} \(file sessionary\.toml\)"):
        effective({}, {})


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("false", False), ("1", True), ("0", False), ("True", True), ("FALSE", False)]
)
def test_the_environment_spells_yes_and_no_as_people_do(text: str, value: bool) -> None:  # noqa: FBT001 - a row
    assert effective({}, {"SESSIONARY_MIGRATE": text}).settings.migrate is value


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_every_setting_can_be_given_in_each_way(tmp_path: Path, name: str) -> None:
    other = {
        "host": "::1",
        "database": "sqlite:///other.db",
        "path_prefix": "/chat",
        "tls_certificate": "certificate.pem",
        "tls_key": "key.pem",
        "limits_file": "limits.toml",
        "log_format": "json",
        "log_level": "debug",
    }
    default = getattr(Settings(), name)
    value = other[name] if name in other else (not default) if isinstance(default, bool) else default + 1
    text = str(value).lower() if isinstance(value, bool) else str(value)
    (tmp_path / "sessionary.toml").write_text(f"{name} = {text!r}" if name in other else f"{name} = {text}")

    in_file = effective({}, {})
    (tmp_path / "sessionary.toml").unlink()

    assert getattr(in_file.settings, name) == value
    assert getattr(effective({}, {variable_of(name): text}).settings, name) == value
    assert getattr(effective({name: text}, {}).settings, name) == value
    assert shown(name, value) == text


def test_every_setting_says_what_it_is_for_in_a_sentence() -> None:
    assert list(descriptions()) == list(asdict(Settings()))
    for text in descriptions().values():
        assert text[0].isupper() or text.startswith("json")
        assert text.endswith(".")


URLS = [
    ("postgresql://ada@db:5432/sessions", "postgresql://ada@db:5432/sessions"),
    ("postgresql://ada:geheim@db:5432/sessions", "postgresql://ada:***@db:5432/sessions"),
    ("postgresql://ada:@db/sessions", "postgresql://ada:***@db/sessions"),
    ("postgresql://:geheim@db/sessions", "postgresql://:***@db/sessions"),
    ("postgresql://ada:ge@heim@db/sessions", "postgresql://ada:***@db/sessions"),
    ("postgresql://ada:ge/heim@db/sessions", "postgresql://ada:***@db/sessions"),
    ("postgresql://ada:ge?he#im@db/sessions", "postgresql://ada:***@db/sessions"),
    ("postgresql://ada:geheim@[::1/sessions", "postgresql://ada:***@[::1/sessions"),
    ("postgresql://db/sessions?user=ada&password=geheim", "postgresql://db/sessions?user=ada&password=***"),
    ("postgresql://db/s?sslpassword=geheim&sslmode=require", "postgresql://db/s?sslpassword=***&sslmode=require"),
    ("postgresql://db/s?PassWord=geheim", "postgresql://db/s?PassWord=***"),
    ("postgresql://one:1,two:2/sessions", "postgresql://one:1,two:2/sessions"),
    ("mysql://ada:geheim@db/sessions", "mysql://ada:***@db/sessions"),
    ("sqlite:///sessions.db", "sqlite:///sessions.db"),
    ("sqlite:////a:b/c@d.db", "sqlite:////a:b/c@d.db"),
]


@pytest.mark.parametrize(("url", "told"), URLS)
def test_a_password_is_never_shown(url: str, told: str) -> None:
    assert without_password(url) == told
    assert shown("database", url) == told


def test_the_place_of_the_data_is_told_so_that_it_is_found(tmp_path: Path) -> None:
    assert shown_place("sqlite:///sessionary.db") == str(tmp_path / "sessionary.db")
    assert shown_place("sqlite:////var/lib/a%20b.db") == "/var/lib/a b.db"
    assert shown_place("postgresql://ada:geheim@db/sessions") == "postgresql://ada:***@db/sessions"
