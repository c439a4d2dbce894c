"""Settings: a flag wins over the environment, the environment over the file, the file over the default."""

import json
import re
from pathlib import Path

import pytest
from msgspec.structs import asdict, fields

from sessionary.errors import InvalidRequestError
from sessionary.server.config import Settings, format_setting, load_settings, setting_descriptions, variable_name
from sessionary.server.store.opening import database_location, without_password
from tests.layout.paths import ROOT


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the tests where there is no settings file."""
    monkeypatch.chdir(tmp_path)


def test_every_setting_has_a_default() -> None:
    loaded = load_settings({}, {})
    assert loaded.settings == Settings()
    assert set(loaded.sources.values()) == {"default"}
    assert (loaded.settings.host, loaded.settings.port) == ("127.0.0.1", 8080)
    assert loaded.settings.database == "sqlite:///sessionary.db"


def test_flags_win_over_the_environment_the_file_and_the_defaults_in_this_order(tmp_path: Path) -> None:
    (tmp_path / "sessionary.toml").write_text('host = "file"\nport = 1\nlog_level = "error"\n')
    environment = {"SESSIONARY_HOST": "environment", "SESSIONARY_PORT": "2"}
    flags = {"host": "flag", "port": None}

    loaded = load_settings(flags, environment)

    assert (loaded.settings.host, loaded.settings.port, loaded.settings.log_level) == ("flag", 2, "error")
    assert loaded.settings.connections == 2_000
    assert loaded.sources["host"] == "flag"
    assert loaded.sources["port"] == "environment SESSIONARY_PORT"
    assert loaded.sources["log_level"] == "file sessionary.toml"
    assert loaded.sources["connections"] == "default"


@pytest.mark.parametrize("source", ["flag", "variable", "both"])
def test_the_path_of_the_file_can_be_set(tmp_path: Path, source: str) -> None:
    named, other = tmp_path / "named.toml", tmp_path / "other.toml"
    named.write_text("port = 5\n")
    other.write_text("port = 6\n")
    variable = {"flag": {}, "variable": {"SESSIONARY_CONFIG": str(named)}, "both": {"SESSIONARY_CONFIG": str(other)}}
    loaded = load_settings({}, variable[source], None if source == "variable" else str(named))
    assert loaded.settings.port == 5
    assert loaded.sources["port"] == f"file {named}"


def test_a_named_file_must_exist() -> None:
    with pytest.raises(InvalidRequestError, match=r"settings file nowhere\.toml cannot be read"):
        load_settings({}, {}, "nowhere.toml")
    with pytest.raises(InvalidRequestError, match=r"settings file nowhere\.toml cannot be read"):
        load_settings({}, {"SESSIONARY_CONFIG": "nowhere.toml"})


@pytest.mark.parametrize("content", [b"port = ", b"port: 8080", b"\xff", b"[host\n"])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sessionary.toml").write_bytes(content)
    with pytest.raises(InvalidRequestError, match=r"settings file sessionary\.toml cannot be read"):
        load_settings({}, {})


@pytest.mark.parametrize("content", ['hots = "x"\n', "[server]\nport = 1\n", "log-level = 'info'\n"])
def test_an_unknown_key_of_the_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "sessionary.toml").write_text(content)
    with pytest.raises(InvalidRequestError, match=r"There is no setting '.*' \(file sessionary\.toml\)"):
        load_settings({}, {})


def test_other_variables_are_ignored() -> None:
    assert load_settings({}, {"SESSIONARY_UNKNOWN": "x", "PORT": "1"}).settings == Settings()


INVALID = [
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


@pytest.mark.parametrize(("name", "value"), INVALID)
def test_an_invalid_value_is_refused_with_its_name_its_source_and_a_description(name: str, value: str) -> None:
    for flags, environment, source in (
        ({name: value}, {}, "flag"),
        ({}, {variable_name(name): value}, f"environment {variable_name(name)}"),
    ):
        if environment and not value:
            continue  # an empty variable counts as not set
        with pytest.raises(InvalidRequestError) as error:
            load_settings(flags, environment)
        assert f"The setting {name} ({source}) is not valid: it must " in error.value.detail
        assert setting_descriptions()[name] in error.value.detail
        assert "\n" not in error.value.detail
        assert not value or f"'{value}'" not in error.value.detail


PADDING = ["{}\n", " {}", "{} \t", "{}\r\n", "\ufeff{}", "\u00a0{}\u200b", "\n\n{}\n"]


@pytest.mark.parametrize("padding", PADDING, ids=ascii)
@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("log_level", "warning", "warning"),
        ("port", "9000", 9_000),
        ("database", "sqlite:///a b.db", "sqlite:///a b.db"),
        ("migrate", "off", False),
        ("sweep_seconds", "2.5", 2.5),
        ("path_prefix", "/chat", "/chat"),
        ("limits_file", "limits.toml", "limits.toml"),
    ],
)
def test_whitespace_around_a_value_is_ignored(
    tmp_path: Path, padding: str, name: str, text: str, value: object
) -> None:
    padded = padding.format(text)
    (tmp_path / "other.toml").write_text(f"{name} = {json.dumps(padded)}\n", encoding="utf-8")

    assert getattr(load_settings({}, {variable_name(name): padded}).settings, name) == value
    assert getattr(load_settings({name: padded}, {}).settings, name) == value
    assert getattr(load_settings({}, {}, "other.toml").settings, name) == value
    assert getattr(load_settings({}, {"SESSIONARY_CONFIG": padding.format("other.toml")}).settings, name) == value
    assert getattr(load_settings({}, {}, padding.format("other.toml")).settings, name) == value


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
@pytest.mark.parametrize("empty", ["", " ", "\n", "\ufeff\r\n"])
def test_an_empty_variable_counts_as_not_set(name: str, empty: str) -> None:
    loaded = load_settings({}, {variable_name(name): empty, "SESSIONARY_CONFIG": empty})
    assert loaded.settings == Settings()
    assert loaded.sources[name] == "default"
    assert loaded.warnings == ()


@pytest.mark.parametrize("name", ["host", "database", "path_prefix", "tls_key", "limits_file", "log_level", "port"])
@pytest.mark.parametrize(
    "inside", ["a\0b", "a\nb", "a\x1b[31mb", "a\x7fb", "a\x9bb", "a\u2028b", "a\udcffb"], ids=ascii
)
def test_a_value_with_control_characters_or_invalid_text_is_refused(name: str, inside: str) -> None:
    for flags, environment in (({name: inside}, {}), ({}, {variable_name(name): inside})):
        with pytest.raises(InvalidRequestError, match=f"The setting {name} .* it must be (one line|UTF-8)") as error:
            load_settings(flags, environment)
        assert error.value.detail.isprintable()


def test_the_path_of_the_file_is_checked_too() -> None:
    for file, environment in (("a\0b", {}), (None, {"SESSIONARY_CONFIG": "a\udcffb"})):
        with pytest.raises(InvalidRequestError, match="The name of the settings file"):
            load_settings({}, environment, file)


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_no_error_repeats_the_invalid_value(name: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        load_settings({}, {variable_name(name): "postgresql://ada:geheim@db/x\0"})
    assert "geheim" not in error.value.detail


SERVICE_VARIABLES = {
    "SESSIONARY_PORT": "tcp://10.96.0.12:8080",
    "SESSIONARY_SERVICE_HOST": "10.96.0.12",
    "SESSIONARY_SERVICE_PORT": "8080",
    "SESSIONARY_SERVICE_PORT_HTTP": "8080",
    "SESSIONARY_PORT_8080_TCP": "tcp://10.96.0.12:8080",
    "SESSIONARY_PORT_8080_TCP_PROTO": "tcp",
    "SESSIONARY_PORT_8080_TCP_PORT": "8080",
    "SESSIONARY_PORT_8080_TCP_ADDR": "10.96.0.12",
    "SESSIONARY_DB_PORT": "tcp://10.96.0.13:5432",
    "SESSIONARY_DB_SERVICE_HOST": "10.96.0.13",
    "SESSIONARY_DB_PORT_5432_TCP_ADDR": "10.96.0.13",
    "SESSIONARY_NAME": "/web/sessionary",
    "SESSIONARY_ENV_PATH": "/usr/bin",
}


@pytest.mark.parametrize(
    "address", ["tcp://10.96.0.12:8080", "udp://10.96.0.12:53", "TCP://[fd00::1]:8080\n", " sctp://10.96.0.12:9"]
)
def test_variables_that_kubernetes_sets_for_a_service_are_ignored_with_one_warning(address: str) -> None:
    loaded = load_settings({}, {**SERVICE_VARIABLES, "SESSIONARY_PORT": address})
    assert loaded.settings == Settings()
    assert len(loaded.warnings) == 1
    assert "The variable SESSIONARY_PORT is ignored: it holds the address of a service" in loaded.warnings[0]
    assert "10.96" not in loaded.warnings[0]


def test_a_port_can_be_set_beside_the_variables_of_kubernetes() -> None:
    assert load_settings({"port": "9000"}, SERVICE_VARIABLES).settings.port == 9_000
    assert load_settings({}, {**SERVICE_VARIABLES, "SESSIONARY_PORT": "9000"}).settings.port == 9_000


@pytest.mark.parametrize(
    ("variable", "suggestion"),
    [
        ("SESSIONARY_LOGLEVEL", "SESSIONARY_LOG_LEVEL"),
        ("SESSIONARY_LOG_LVEL", "SESSIONARY_LOG_LEVEL"),
        ("SESSIONARY_DATABASE_URL", "SESSIONARY_DATABASE"),
        ("SESSIONARY_ORGANIZATION_RATE", "SESSIONARY_ORGANISATION_RATE"),
        ("SESSIONARY_PROT", "SESSIONARY_PORT"),
        ("SESSIONARY_LISTEN_PORT", None),
        ("SESSIONARY_CONFIG_FILE", "SESSIONARY_CONFIG"),
        ("sessionary_port", "SESSIONARY_PORT"),
        ("SESSIONARY_TOKENS", "SESSIONARY_TOKEN"),
        ("SESSIONARY_XYZZY", None),
        ("SESSIONARY_\x1b[31m", None),
    ],
)
def test_a_misspelt_variable_causes_a_warning(variable: str, suggestion: str | None) -> None:
    loaded = load_settings({}, {variable: "sny_geheim"})
    assert loaded.settings == Settings()
    (warning,) = loaded.warnings
    assert "is ignored: there is no such setting." in warning
    assert suggestion is None or warning.endswith(f" Did you mean {suggestion}?")
    assert warning.isprintable()
    assert "geheim" not in warning


def test_every_variable_in_the_code_is_known() -> None:
    used = {
        name
        for file in (ROOT / "src").rglob("*.py")
        for name in re.findall(r"\bSESSIONARY_[A-Z]+(?:_[A-Z]+)*\b", file.read_text())
    }
    assert load_settings({}, dict.fromkeys(sorted(used - {"SESSIONARY_PORT"}), "")).warnings == ()


def test_warnings_are_bounded() -> None:
    assert len(load_settings({}, {f"SESSIONARY_X{number}": "x" for number in range(1_000)}).warnings) == 20


NUMBERS = ["1_000", "\uff11\uff10", "\u0661", "0x10", "1,000", "1 000", "--1", "+-1", "9" * 5_000, "1e3", "ten", "10s"]


@pytest.mark.parametrize("text", NUMBERS, ids=lambda text: ascii(text[:8]))
def test_a_whole_number_must_be_plain_digits(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="it must be a whole number of at least 1 and at most 100000"):
        load_settings({}, {"SESSIONARY_CONNECTIONS": text})


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-inf", "Infinity", "1e999", "1_0.0", "\uff11", "5s", "1" * 5_000, "0x1p3"]
)
@pytest.mark.parametrize("name", ["sweep_seconds", "organisation_rate", "wait_seconds"])
def test_a_number_must_be_finite_and_in_plain_digits(name: str, text: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"The setting {name} .* it must be a number"):
        load_settings({}, {variable_name(name): text})


def test_a_file_written_on_windows_is_read(tmp_path: Path) -> None:
    (tmp_path / "sessionary.toml").write_bytes(b'\xef\xbb\xbfport = 5\r\nhost = "::1"\r\n')
    assert load_settings({}, {}).settings == Settings(port=5, host="::1")


UNREADABLE = [
    ("port = 1".encode("utf-16"), "it is UTF-16 or UTF-32; save it as UTF-8"),
    ("port = 1".encode("utf-16-le"), "it is UTF-16 or UTF-32; save it as UTF-8"),
    ("port = 1".encode("utf-32"), "it is UTF-16 or UTF-32; save it as UTF-8"),
    (b"host = '\xe4'", r"it is not UTF-8 text \(byte 8\)"),
    (b"port = " + b"[" * 5_000, "it is nested too deeply"),
    (b"port = " + b"9" * 5_000, ""),
    (b"#" * 2_000_000, "it has more than 1,048,576 bytes"),
]


@pytest.mark.parametrize(("content", "expected"), UNREADABLE, ids=lambda row: ascii(row[:12]))
def test_an_unreadable_file_is_refused_with_the_reason(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "sessionary.toml").write_bytes(content)
    with pytest.raises(InvalidRequestError, match=rf"settings file sessionary\.toml cannot be read: {expected}"):
        load_settings({}, {})


def test_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sessionary.toml").mkdir()
    with pytest.raises(InvalidRequestError, match=r"settings file sessionary\.toml cannot be read: Is a directory"):
        load_settings({}, {})


@pytest.mark.parametrize(("key", "suggestion"), [("log-level", "log_level"), ("Port", "port"), ("databse", "database")])
def test_a_misspelt_key_of_the_file_is_refused_with_a_suggestion(tmp_path: Path, key: str, suggestion: str) -> None:
    (tmp_path / "sessionary.toml").write_text(f"{key} = 1\n")
    with pytest.raises(InvalidRequestError, match=f"There is no setting '{key}' .* Did you mean {suggestion}"):
        load_settings({}, {})


@pytest.mark.parametrize(
    "content", ["port = true", "port = 8080.5", "host = 5", "migrate = 'perhaps'", "sweep_seconds = nan", "port = [1]"]
)
def test_an_invalid_value_in_the_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "sessionary.toml").write_text(content)
    with pytest.raises(
        InvalidRequestError, match=rf"The setting {content.partition(' ')[0]} \(file sessionary\.toml\)"
    ):
        load_settings({}, {})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("true", True), ("1", True), ("True", True), ("yes", True), ("on", True), ("Y", True)),
        *(("false", False), ("0", False), ("FALSE", False), ("no", False), ("off", False), ("N", False)),
    ],
)
def test_booleans_can_be_written_in_the_common_ways(text: str, value: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert load_settings({}, {"SESSIONARY_MIGRATE": text}).settings.migrate is value


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_every_setting_can_be_set_by_flag_variable_and_file(tmp_path: Path, name: str) -> None:
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

    in_file = load_settings({}, {})
    (tmp_path / "sessionary.toml").unlink()

    assert getattr(in_file.settings, name) == value
    assert getattr(load_settings({}, {variable_name(name): text}).settings, name) == value
    assert getattr(load_settings({name: text}, {}).settings, name) == value
    assert format_setting(name, value) == text


def test_every_setting_is_described_in_a_sentence() -> None:
    assert list(setting_descriptions()) == list(asdict(Settings()))
    for text in setting_descriptions().values():
        assert text[0].isupper() or text.startswith("json")
        assert text.endswith(".")


URLS = [
    ("postgresql://ada@db:5432/sessions", "postgresql://ada@db:5432/sessions"),
    ("postgresql://ada:geheim@db:5432/sessions", "postgresql://ada:***@db:5432/sessions"),
    ("postgresql://ada:@db/sessions", "postgresql://ada:***@db/sessions"),
    ("postgresql://:geheim@db/sessions", "postgresql://:***@db/sessions"),
    ("postgresql://ada:ge@heim@db/sessions", "postgresql://ada:***@db/sessions"),
    ("postgresql://ada:ge/heim@db/sessions", "postgresql://***"),
    ("postgresql://ada:ge?he#im@db/sessions", "postgresql://***"),
    ("postgresql://ada:geheim@[::1/sessions", "postgresql://***"),
    ("postgresql://h password=geheim/x", "postgresql://***/x"),
    ("postgresql://h/x password=geheim", "postgresql://h***"),
    ("postgresql://h/x%20password%3Dgeheim", "postgresql://h***"),
    ("postgresql://user=u password=geheim@h/x", "postgresql://***@h/x"),
    ("postgresql://h/u:geheim@h2/x", "postgresql://h***"),
    ("postgresql://h/x?dbname=y password=geheim", "postgresql://h/x?dbname=***"),
    ("postgresql://h/x?options=-c%20a.b%3Dgeheim", "postgresql://h/x?options=***"),
    ("postgres://ada:geheim@db/x", "postgres://ada:***@db/x"),
    ("u:geheim@h/x", "***"),
    ("postgresql//u:geheim@h/x", "***"),
    ("postgresql:/u:geheim@h/x", "***"),
    ("POSTGRESQL://u:geheim@h/x", "***"),
    ("postgresql+asyncpg://u:geheim@h/x", "***"),
    ("host=h password=geheim", "***"),
    ("sqlite://u:geheim@h/x", "***"),
    ("geheim", "***"),
    ("sqlite:///x.db?key=geheim", "sqlite:///x.db?***"),
    ("sqlite:///x.db#geheim", "sqlite:///x.db#***"),
    ("postgresql://db/sessions?user=ada&password=geheim", "postgresql://db/sessions?user=ada&password=***"),
    ("postgresql://db/s?sslpassword=geheim&sslmode=require", "postgresql://db/s?sslpassword=***&sslmode=require"),
    ("postgresql://db/s?PassWord=geheim", "postgresql://***"),
    ("postgresql://one:1,two:2/sessions", "postgresql://one:1,two:2/sessions"),
    ("mysql://ada:geheim@db/sessions", "***"),
    ("sqlite:///sessions.db", "sqlite:///sessions.db"),
    ("sqlite:////a:b/c@d.db", "sqlite:////a:b/c@d.db"),
]


@pytest.mark.parametrize(("url", "expected"), URLS)
def test_a_password_is_never_shown(url: str, expected: str) -> None:
    assert without_password(url) == expected
    assert format_setting("database", url) == expected


def test_the_location_of_the_data_is_shown_as_a_full_path(tmp_path: Path) -> None:
    assert database_location("sqlite:///sessionary.db") == str(tmp_path / "sessionary.db")
    assert database_location("sqlite:////var/lib/a%20b.db") == "/var/lib/a b.db"
    assert database_location("postgresql://ada:geheim@db/sessions") == "postgresql://ada:***@db/sessions"


def test_a_number_of_too_many_digits_in_the_file_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "sessionary.toml").write_text(f"port = {'9' * 5_000}\n")
    with pytest.raises(InvalidRequestError, match=r"a number in it has too many digits\.$"):
        load_settings({}, {})
