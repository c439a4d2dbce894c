"""The limits file replaces the default limits of some organisations and tokens; errors in it name the entry."""

from pathlib import Path

import pytest

from sessionary.errors import InvalidRequestError
from sessionary.server.config import Settings
from sessionary.server.limits_file import load_limits
from sessionary.server.operations.limits import Quota, RateLimit

TOKEN = "0123456789abcdef0123"


def settings_with_file(tmp_path: Path, content: str | bytes, **given: float) -> Settings:
    path = tmp_path / "limits.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Settings(limits_file=str(path), **given)  # type: ignore[arg-type]  # the keyword names are those of Settings


def test_by_default_nothing_is_limited() -> None:
    limits = load_limits(Settings())

    assert not limits.has_rate_limits
    assert not limits.has_quotas


def test_the_settings_are_the_limits_for_everyone() -> None:
    limits = load_limits(
        Settings(
            organisation_rate=50,
            organisation_burst=100,
            organisation_sessions=7,
            organisation_stored_bytes=8,
            token_rate=0.5,
        )
    )

    assert limits.organisation_rate == RateLimit(requests_per_second=50, burst=100)
    assert limits.token_rate.capacity == 1
    assert limits.quota == Quota(sessions=7, stored_bytes=8)
    assert (limits.has_rate_limits, limits.has_quotas) == (True, True)


def test_the_file_replaces_single_limits_and_inherits_the_rest(tmp_path: Path) -> None:
    content = f"""
        [organisations.acme]
        requests_per_second = 200
        [organisations."with space"]
        sessions = 0
        stored_bytes = 1_000
        [tokens.{TOKEN}]
        burst = 3
    """

    limits = load_limits(
        settings_with_file(
            tmp_path,
            content,
            organisation_rate=50,
            organisation_burst=60,
            organisation_sessions=7,
            token_rate=2,
        )
    )

    assert limits.organisation_rates["acme"].capacity == 200
    assert limits.organisation_rates["with space"] == RateLimit(requests_per_second=50, burst=60)
    assert limits.quotas == {"acme": Quota(sessions=7), "with space": Quota(stored_bytes=1_000)}
    assert limits.token_rates == {TOKEN: RateLimit(requests_per_second=2, burst=3)}


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert load_limits(settings_with_file(tmp_path, "")) == load_limits(Settings())


def test_a_limit_for_one_organisation_or_token_turns_limiting_on(tmp_path: Path) -> None:
    assert load_limits(settings_with_file(tmp_path, "[organisations.acme]\nsessions = 1\n")).has_quotas
    assert load_limits(settings_with_file(tmp_path, f"[tokens.{TOKEN}]\nrequests_per_second = 1\n")).has_rate_limits


INVALID = [
    (b"\xff", "cannot be read"),
    ("[organisations", "cannot be read"),
    ("[organisations.acme]\nburst = 5\n".encode("utf-16"), "it is UTF-16 or UTF-32; save it as UTF-8"),
    ("[organisations.acme]\nburst = [5]\n", "burst: it must be a whole number"),
    ("[organisations.acme]\nsessions = 1e99\n", "sessions: it must be a whole number"),
    ("[organisations.acme]\nsessions = 2026-11-28\n", "sessions: it must be a whole number"),
    ("[organisations.acme]\nrequests_per_second = inf\n", "requests_per_second: it must be a number"),
    ("x = " + "[" * 5_000, "nested too deeply"),
    ("x = " + "9" * 5_000, "cannot be read"),
    ("organisations = 5", "organisations must be a table"),
    ("[organisation.acme]\nburst = 1\n", "there is no table 'organisation'. Did you mean organisations?"),
    ("[organisations]\nacme = 5\n", "organisations.acme is not valid"),
    (
        "[organisations.acme]\nrequests = 5\n",
        "organisations.acme is not valid: there is no 'requests'. Known names: requests_per_second, burst,",
    ),
    (
        "[organisations.acme]\nburst = -1\n",
        "organisations.acme is not valid: burst: it must be a whole number of at least 0",
    ),
    (
        "[organisations.acme]\nburst = 2.5\n",
        "organisations.acme is not valid: burst: it must be a whole number",
    ),
    (
        "[organisations.acme]\nrequests_per_second = nan\n",
        "acme is not valid: requests_per_second: it must be a number",
    ),
    (
        "[organisations.acme]\nrequests_per_second = 'x'\n",
        "acme is not valid: requests_per_second: it must be a number of at least 0",
    ),
    ("[organisations.acme]\nburst = 5\n", "organisations.acme are not valid: a burst needs requests per second"),
    ('[organisations."a\\u0000"]\nburst = 5\n', "this is not a valid name of an organisation"),
    ("[tokens.website]\nburst = 5\n", "tokens.website is not valid: tokens are identified by their id"),
    (f"[tokens.{TOKEN}]\nsessions = 5\n", f"tokens.{TOKEN} is not valid: there is no 'sessions'."),
]


@pytest.mark.parametrize(("content", "expected"), INVALID)
def test_an_invalid_file_is_refused_with_the_entry_named(tmp_path: Path, content: str | bytes, expected: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        load_limits(settings_with_file(tmp_path, content))

    assert expected in error.value.detail
    assert str(tmp_path / "limits.toml") in error.value.detail


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"limits file .*nowhere\.toml cannot be read"):
        load_limits(Settings(limits_file=str(tmp_path / "nowhere.toml")))


def test_a_burst_without_a_rate_is_refused_in_the_settings_too() -> None:
    with pytest.raises(
        InvalidRequestError, match="The limits of token are not valid: a burst needs requests per second"
    ):
        load_limits(Settings(token_burst=5))
