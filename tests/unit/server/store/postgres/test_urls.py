"""What a URL of PostgreSQL may say, and what is said of one that cannot be honoured."""

import pytest

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.postgres.urls import read_url


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://u@h/n", (("h", None),)),
        ("postgres://u@h:1/n", (("h", 1),)),
        ("postgresql://u@a:1,b:2,c/n", (("a", 1), ("b", 2), ("c", None))),
        ("postgresql://u@a,b/n?port=1,2", (("a", 1), ("b", 2))),
        ("postgresql://u@a,b/n?port=3", (("a", 3), ("b", 3))),
        ("postgresql://u@[::1]:5,[fe80::2]/n", (("::1", 5), ("fe80::2", None))),
        ("postgresql:///n?host=::1,b:4", (("::1", None), ("b", 4))),
        ("postgresql://%2Frun%2Fpg/n", (("/run/pg", None),)),
        ("postgresql:///n", ((None, None),)),
    ],
)
def test_hosts_are_read_in_their_order(url: str, hosts: object) -> None:
    assert read_url(url).hosts == hosts


def test_a_password_is_decoded_and_never_shown() -> None:
    target = read_url("postgresql://a%40b:p%2Fq%23r@s@h:1/n%20m")
    assert (target.user, target.password, target.database) == ("a@b", "p/q#r@s", "n m")
    assert target.shown == "h:1/n m"


@pytest.mark.parametrize(
    "url",
    ["postgresql://u:s3cret#x@h/n", "postgresql://u:s3/cret@h/n", "postgresql://u@h:0/n", "postgresql://u@h:70000/n",
     "postgresql://u@a,,b/n", "postgresql://u@[::1/n", "postgresql://u@h/n?x", "postgresql://u@a,b/n?port=1,2,3"],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(StoreUnavailableError, match="cannot be read") as refused:
        read_url(url)
    assert "s3" not in refused.value.detail


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("pool_timeout=s3cret", "pool_timeout"),
        ("connection_limit=5", "connection_limit"),
        ("ssl=true", "sslmode"),
        ("sslmode=no-verify", "sslmode .*verify-full"),
        ("channel_binding=always", "channel_binding .*prefer"),
        ("target_session_attrs=standby", "target_session_attrs .*read-write"),
        ("pgbouncer=true", "session mode"),
        ("connect_timeout=soon", "connect_timeout"),
        ("channel_binding=require&sslmode=prefer", "needs sslmode=require"),
    ],
)
def test_a_parameter_that_cannot_be_honoured_is_named(query: str, said: str) -> None:
    with pytest.raises(StoreUnavailableError, match=said) as refused:
        read_url(f"postgresql://u:s3cret@h/n?{query}")
    assert "s3cret" not in refused.value.detail


def test_what_providers_print_is_honoured() -> None:
    target = read_url("postgresql://u:p@h/n?sslmode=require&channel_binding=require")
    assert target.verified, "the driver cannot bind the channel: the certificate is verified instead"
    prisma = read_url("postgresql://u:p@h/n?schema=app&pgbouncer=false&connect_timeout=7&sslmode=verify-full")
    assert (prisma.settings, prisma.seconds_max) == ({"search_path": '"app"'}, 7.0)
    options = read_url("postgresql://u@h/n?application_name=web&options=-c%20search_path%3Da%5C%2Cb%20endpoint%3Dx")
    assert options.settings == {"search_path": "a,b", "application_name": "web"}
    assert options.startup == {"options": "endpoint=x"}
