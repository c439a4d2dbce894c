"""Settings: a flag wins over the environment, the environment over the file, the file over the default."""

import json
import re
from pathlib import Path

import pytest
from msgspec.structs import asdict, fields

from sessionary.errors import InvalidRequestError
from sessionary.server.config import Settings, descriptions, effective, shown, variable_of
from sessionary.server.store.opening import shown_place, without_password
from tests.layout.paths import ROOT


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
    with pytest.raises(InvalidRequestError, match=r"settings file nowhere\.toml cannot be read"):
        effective({}, {}, "nowhere.toml")
    with pytest.raises(InvalidRequestError, match=r"settings file nowhere\.toml cannot be read"):
        effective({}, {"SESSIONARY_CONFIG": "nowhere.toml"})


@pytest.mark.parametrize("content", [b"port = ", b"port: 8080", b"\xff", b"[host\n"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sessionary.toml").write_bytes(content)
    with pytest.raises(InvalidRequestError, match=r"settings file sessionary\.toml cannot be read"):
        effective({}, {})


@pytest.mark.parametrize("content", ['hots = "x"\n', "[server]\nport = 1\n", "log-level = 'info'\n"])
def test_an_unknown_key_of_the_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "sessionary.toml").write_text(content)
    with pytest.raises(InvalidRequestError, match=r"There is no setting '.*' \(file sessionary\.toml\)"):
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
        if environment and not value:
            continue  # a variable that is empty is one that is not set
        with pytest.raises(InvalidRequestError) as refusal:
            effective(flags, environment)
        assert f"The setting {name} ({source}) is not valid: it must " in refusal.value.detail
        assert descriptions()[name] in refusal.value.detail
        assert "\n" not in refusal.value.detail
        assert not value or f"'{value}'" not in refusal.value.detail


AROUND = ["{}\n", " {}", "{} \t", "{}\r\n", "\ufeff{}", "\u00a0{}\u200b", "\n\n{}\n"]


@pytest.mark.parametrize("around", AROUND, ids=ascii)
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
def test_what_stands_around_a_value_is_no_part_of_it(
    tmp_path: Path, around: str, name: str, text: str, value: object
) -> None:
    given = around.format(text)
    (tmp_path / "other.toml").write_text(f"{name} = {json.dumps(given)}\n", encoding="utf-8")

    assert getattr(effective({}, {variable_of(name): given}).settings, name) == value
    assert getattr(effective({name: given}, {}).settings, name) == value
    assert getattr(effective({}, {}, "other.toml").settings, name) == value
    assert getattr(effective({}, {"SESSIONARY_CONFIG": around.format("other.toml")}).settings, name) == value
    assert getattr(effective({}, {}, around.format("other.toml")).settings, name) == value


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
@pytest.mark.parametrize("empty", ["", " ", "\n", "\ufeff\r\n"])
def test_an_empty_variable_is_one_that_is_not_set(name: str, empty: str) -> None:
    found = effective({}, {variable_of(name): empty, "SESSIONARY_CONFIG": empty})
    assert found.settings == Settings()
    assert found.sources[name] == "default"
    assert found.warnings == ()


@pytest.mark.parametrize("name", ["host", "database", "path_prefix", "tls_key", "limits_file", "log_level", "port"])
@pytest.mark.parametrize(
    "inside", ["a\0b", "a\nb", "a\x1b[31mb", "a\x7fb", "a\x9bb", "a\u2028b", "a\udcffb"], ids=ascii
)
def test_a_value_of_more_than_one_line_of_text_is_refused(name: str, inside: str) -> None:
    for flags, environment in (({name: inside}, {}), ({}, {variable_of(name): inside})):
        with pytest.raises(InvalidRequestError, match=f"The setting {name} .* it must be (one line|UTF-8)") as refusal:
            effective(flags, environment)
        assert refusal.value.detail.isprintable()


def test_the_name_of_a_file_is_checked_too() -> None:
    for file, environment in (("a\0b", {}), (None, {"SESSIONARY_CONFIG": "a\udcffb"})):
        with pytest.raises(InvalidRequestError, match="The name of the settings file"):
            effective({}, environment, file)


@pytest.mark.parametrize("name", [field.name for field in fields(Settings)])
def test_no_error_repeats_what_may_be_a_secret(name: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        effective({}, {variable_of(name): "postgresql://ada:geheim@db/x\0"})
    assert "geheim" not in refusal.value.detail


OF_A_SERVICE = {
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
def test_what_kubernetes_sets_for_a_service_of_our_name_is_ignored_with_one_warning(address: str) -> None:
    found = effective({}, {**OF_A_SERVICE, "SESSIONARY_PORT": address})
    assert found.settings == Settings()
    assert len(found.warnings) == 1
    assert "The variable SESSIONARY_PORT is ignored: it holds the address of a service" in found.warnings[0]
    assert "10.96" not in found.warnings[0]


def test_a_port_of_its_own_beside_what_kubernetes_sets_is_obeyed() -> None:
    assert effective({"port": "9000"}, OF_A_SERVICE).settings.port == 9_000
    assert effective({}, {**OF_A_SERVICE, "SESSIONARY_PORT": "9000"}).settings.port == 9_000


@pytest.mark.parametrize(
    ("variable", "meant"),
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
def test_a_misspelt_variable_is_warned_about(variable: str, meant: str | None) -> None:
    found = effective({}, {variable: "sny_geheim"})
    assert found.settings == Settings()
    (warning,) = found.warnings
    assert "is ignored: there is no such setting." in warning
    assert meant is None or warning.endswith(f" Is {meant} meant?")
    assert warning.isprintable()
    assert "geheim" not in warning


def test_every_variable_of_ours_is_known() -> None:
    ours = {
        found
        for file in (ROOT / "src").rglob("*.py")
        for found in re.findall(r"\bSESSIONARY_[A-Z]+(?:_[A-Z]+)*\b", file.read_text())
    }
    assert effective({}, dict.fromkeys(sorted(ours - {"SESSIONARY_PORT"}), "")).warnings == ()


def test_warnings_are_bounded() -> None:
    assert len(effective({}, {f"SESSIONARY_X{number}": "x" for number in range(1_000)}).warnings) == 20


NUMBERS = ["1_000", "\uff11\uff10", "\u0661", "0x10", "1,000", "1 000", "--1", "+-1", "9" * 5_000, "1e3", "ten", "10s"]


@pytest.mark.parametrize("text", NUMBERS, ids=lambda text: ascii(text[:8]))
def test_a_whole_number_is_plain_digits(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="it must be a whole number of at least 1 and at most 100000"):
        effective({}, {"SESSIONARY_CONNECTIONS": text})


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-inf", "Infinity", "1e999", "1_0.0", "\uff11", "5s", "1" * 5_000, "0x1p3"]
)
@pytest.mark.parametrize("name", ["sweep_seconds", "organisation_rate", "wait_seconds"])
def test_a_number_is_finite_and_in_plain_digits(name: str, text: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"The setting {name} .* it must be a number"):
        effective({}, {variable_of(name): text})


def test_a_file_of_windows_is_read(tmp_path: Path) -> None:
    (tmp_path / "sessionary.toml").write_bytes(b'\xef\xbb\xbfport = 5\r\nhost = "::1"\r\n')
    assert effective({}, {}).settings == Settings(port=5, host="::1")


FILES = [
    ("port = 1".encode("utf-16"), "it is UTF-16 or UTF-32; save it as UTF-8"),
    ("port = 1".encode("utf-16-le"), "it is UTF-16 or UTF-32; save it as UTF-8"),
    ("port = 1".encode("utf-32"), "it is UTF-16 or UTF-32; save it as UTF-8"),
    (b"host = '\xe4'", r"it is not UTF-8 text \(byte 8\)"),
    (b"port = " + b"[" * 5_000, "it is nested too deeply"),
    (b"port = " + b"9" * 5_000, ""),
    (b"#" * 2_000_000, "it has more than 1,048,576 bytes"),
]


@pytest.mark.parametrize(("content", "said"), FILES, ids=lambda row: ascii(row[:12]))
def test_a_file_that_cannot_be_read_is_explained(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "sessionary.toml").write_bytes(content)
    with pytest.raises(InvalidRequestError, match=rf"settings file sessionary\.toml cannot be read: {said}"):
        effective({}, {})


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "sessionary.toml").mkdir()
    with pytest.raises(InvalidRequestError, match=r"settings file sessionary\.toml cannot be read: Is a directory"):
        effective({}, {})


@pytest.mark.parametrize(("key", "meant"), [("log-level", "log_level"), ("Port", "port"), ("databse", "database")])
def test_a_misspelt_key_of_the_file_is_told_with_the_one_that_is_meant(tmp_path: Path, key: str, meant: str) -> None:
    (tmp_path / "sessionary.toml").write_text(f"{key} = 1\n")
    with pytest.raises(InvalidRequestError, match=f"There is no setting '{key}' .* Is {meant} meant"):
        effective({}, {})


@pytest.mark.parametrize(
    "content", ["port = true", "port = 8080.5", "host = 5", "migrate = 'perhaps'", "sweep_seconds = nan", "port = [1]"]
)
def test_a_bad_value_in_the_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "sessionary.toml").write_text(content)
    with pytest.raises(
        InvalidRequestError, match=rf"The setting {content.partition(' ')[0]} \(file sessionary\.toml\)"
    ):
        effective({}, {})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("true", True), ("1", True), ("True", True), ("yes", True), ("on", True), ("Y", True)),
        *(("false", False), ("0", False), ("FALSE", False), ("no", False), ("off", False), ("N", False)),
    ],
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


@pytest.mark.parametrize(("url", "told"), URLS)
def test_a_password_is_never_shown(url: str, told: str) -> None:
    assert without_password(url) == told
    assert shown("database", url) == told


def test_the_place_of_the_data_is_told_so_that_it_is_found(tmp_path: Path) -> None:
    assert shown_place("sqlite:///sessionary.db") == str(tmp_path / "sessionary.db")
    assert shown_place("sqlite:////var/lib/a%20b.db") == "/var/lib/a b.db"
    assert shown_place("postgresql://ada:geheim@db/sessions") == "postgresql://ada:***@db/sessions"


def test_a_number_of_too_many_digits_in_the_file_is_told_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "sessionary.toml").write_text(f"port = {'9' * 5_000}\n")
    with pytest.raises(InvalidRequestError, match=r"a number in it has too many digits\.$"):
        effective({}, {})
