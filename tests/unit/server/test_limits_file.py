"""The limits file says for some what the settings say for all, and a mistake in it is named."""

from pathlib import Path

import pytest

from sessionary.errors import InvalidRequestError
from sessionary.server.config import Settings
from sessionary.server.limits_file import limits_from
from sessionary.server.operations.limits import Quota, RateLimit

TOKEN = "0123456789abcdef0123"


def settings_with(tmp_path: Path, content: str | bytes, **given: float) -> Settings:
    path = tmp_path / "limits.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Settings(limits_file=str(path), **given)  # type: ignore[arg-type]  # names as a test spells them


def test_by_default_nothing_is_limited() -> None:
    limits = limits_from(Settings())

    assert not limits.has_rates
    assert not limits.has_quotas


def test_the_settings_are_for_everyone() -> None:
    limits = limits_from(
        Settings(
            organisation_rate=50,
            organisation_burst=100,
            organisation_sessions=7,
            organisation_stored_bytes=8,
            token_rate=0.5,
        )
    )

    assert limits.organisation_rate == RateLimit(requests_per_second=50, burst=100)
    assert limits.token_rate.at_once == 1
    assert limits.quota == Quota(sessions=7, stored_bytes=8)
    assert (limits.has_rates, limits.has_quotas) == (True, True)


def test_the_file_is_for_some_and_says_only_what_differs(tmp_path: Path) -> None:
    content = f"""
        [organisations.acme]
        requests_per_second = 200
        [organisations."with space"]
        sessions = 0
        stored_bytes = 1_000
        [tokens.{TOKEN}]
        burst = 3
    """

    limits = limits_from(
        settings_with(
            tmp_path,
            content,
            organisation_rate=50,
            organisation_burst=60,
            organisation_sessions=7,
            token_rate=2,
        )
    )

    assert limits.organisation_rates["acme"].at_once == 200
    assert limits.organisation_rates["with space"] == RateLimit(requests_per_second=50, burst=60)
    assert limits.quotas == {"acme": Quota(sessions=7), "with space": Quota(stored_bytes=1_000)}
    assert limits.token_rates == {TOKEN: RateLimit(requests_per_second=2, burst=3)}


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert limits_from(settings_with(tmp_path, "")) == limits_from(Settings())


def test_a_limit_for_one_is_a_limit(tmp_path: Path) -> None:
    assert limits_from(settings_with(tmp_path, "[organisations.acme]\nsessions = 1\n")).has_quotas
    assert limits_from(settings_with(tmp_path, f"[tokens.{TOKEN}]\nrequests_per_second = 1\n")).has_rates


MISTAKES = [
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
    ("[organisation.acme]\nburst = 1\n", "knows organisations and tokens, not 'organisation'. Is organisations meant?"),
    ("[organisations]\nacme = 5\n", "organisations.acme is not valid"),
    (
        "[organisations.acme]\nrequests = 5\n",
        "organisations.acme is not valid: there is no 'requests'. There are requests_per_second, burst,",
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
    ('[organisations."a\\u0000"]\nburst = 5\n', "no organisation can have this name"),
    ("[tokens.website]\nburst = 5\n", "tokens.website is not valid: a token is named by its id"),
    (f"[tokens.{TOKEN}]\nsessions = 5\n", f"tokens.{TOKEN} is not valid: there is no 'sessions'."),
]


@pytest.mark.parametrize(("content", "said"), MISTAKES)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, content: str | bytes, said: str) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        limits_from(settings_with(tmp_path, content))

    assert said in refusal.value.detail
    assert str(tmp_path / "limits.toml") in refusal.value.detail


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"limits file .*nowhere\.toml cannot be read"):
        limits_from(Settings(limits_file=str(tmp_path / "nowhere.toml")))


def test_a_burst_without_a_rate_is_a_mistake_in_the_settings_too() -> None:
    with pytest.raises(
        InvalidRequestError, match="The limits of token are not valid: a burst needs requests per second"
    ):
        limits_from(Settings(token_burst=5))
