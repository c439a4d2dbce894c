"""Error responses become errors, whatever server sent them."""

import copy
import json
import pickle

import httpx2
import pytest

import sessionary
from sessionary import (
    AuthenticationError,
    ConflictError,
    FieldError,
    InternalServerError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
    NotModifiedError,
    OverloadedError,
    PermissionDeniedError,
    PreconditionFailedError,
    RateLimitError,
    RequestTimeoutError,
    RequestTooLargeError,
    ResponseValidationError,
    SessionaryError,
    SessionNotFoundError,
    StoreUnavailableError,
    UnavailableError,
)
from sessionary.client.error_mapping import error_from_response
from sessionary.server.http.responses import problem_response
from tests.client.mock_servers import always, client_of

HTML = "<html><h1>Bad gateway</h1></html>"


def _every_error(error: type[SessionaryError] = SessionaryError) -> list[type[SessionaryError]]:
    return [error, *(below for child in error.__subclasses__() for below in _every_error(child))]


@pytest.mark.parametrize("kind", [kind for kind in _every_error() if kind.status], ids=lambda kind: kind.__name__)
def test_each_error_of_our_server_becomes_its_own_class(kind: type[SessionaryError]) -> None:
    error: SessionaryError
    if kind is MethodNotAllowedError:
        error = MethodNotAllowedError("GET, HEAD")
    elif kind is PreconditionFailedError:
        error = PreconditionFailedError(3)
    else:
        error = kind("Told.", field_errors=(FieldError("/newMessages/3/role", "Wrong."),))
    response = problem_response(error, [(b"x-request-id", b"r-1")])
    found = error_from_response(httpx2.Response(response.status, content=response.body, headers=response.headers))
    assert type(found) is kind
    assert (found.status, found.code, found.field_errors) == (error.status, error.code, error.field_errors)
    assert found.request_id == "r-1"
    if isinstance(found, MethodNotAllowedError):
        assert found.allowed == "GET, HEAD"
    elif isinstance(found, AuthenticationError):
        assert found.detail.startswith(f"{error.detail} Give")
    else:
        assert found.detail == error.detail


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, ResponseValidationError),
        (304, NotModifiedError),
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (402, InvalidRequestError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (405, MethodNotAllowedError),
        (408, RequestTimeoutError),
        (409, ConflictError),
        (412, PreconditionFailedError),
        (413, RequestTooLargeError),
        (422, InvalidRequestError),
        (429, RateLimitError),
        (500, InternalServerError),
        (502, UnavailableError),
        (503, UnavailableError),
        (504, UnavailableError),
        (599, InternalServerError),
    ],
)
@pytest.mark.parametrize("body", ["", HTML, '{"message": "Cut', "[]", '{"message": 7, "errors": "x"}'])
def test_an_unknown_error_body_gives_the_error_of_the_status(
    status: int, kind: type[SessionaryError], body: str
) -> None:
    error = error_from_response(httpx2.Response(status, content=body))
    assert type(error) is kind
    assert (error.status, error.code, error.request_id) == (status, kind.code, None)
    assert error.response is not None
    assert error.response.text == body
    assert str(error)


def test_the_message_of_a_vendors_error_is_shown() -> None:
    assert (
        str(error_from_response(httpx2.Response(404, json={"error": True, "message": "No such session"})))
        == "No such session"
    )
    assert str(error_from_response(httpx2.Response(400, json={"error": "Bad"}))) == "Bad"
    assert len(str(error_from_response(httpx2.Response(400, json={"message": "x" * 10_000})))) == 1_000


def test_an_unknown_code_is_shown_with_the_class_of_its_status() -> None:
    error = error_from_response(
        httpx2.Response(409, json={"code": "EDITED_MEANWHILE", "detail": "Edited.", "errors": [1, {}]})
    )
    assert type(error) is ConflictError
    assert (error.code, error.field_errors) == ("EDITED_MEANWHILE", (FieldError("", ""),))
    assert ConflictError.code == "CONFLICT"


def test_a_code_counts_only_with_its_own_status() -> None:
    assert type(error_from_response(httpx2.Response(400, json={"code": "SESSION_NOT_FOUND"}))) is InvalidRequestError
    assert type(error_from_response(httpx2.Response(404, json={"code": "SESSION_NOT_FOUND"}))) is SessionNotFoundError
    assert type(error_from_response(httpx2.Response(503, json={"code": "STORE_UNAVAILABLE"}))) is StoreUnavailableError
    assert type(error_from_response(httpx2.Response(503, json={"code": "OVERLOADED"}))) is OverloadedError
    assert type(error_from_response(httpx2.Response(503, json={"code": "CONNECTION_FAILED"}))) is UnavailableError


@pytest.mark.parametrize(
    ("tag", "version"), [('"7"', 7), ('"' + "9" * 5_000 + '"', 0), ('W/"7"', 0), ("7", 0), ("", 0)]
)
def test_a_failed_precondition_returns_the_current_version(tag: str, version: int) -> None:
    error = error_from_response(httpx2.Response(412, headers={"ETag": tag}))
    assert isinstance(error, PreconditionFailedError)
    assert error.version == version


def test_a_redirect_is_not_followed_and_its_target_is_named(flavour: str) -> None:
    respond = always(308, location="https://elsewhere.test/api")
    with (
        client_of(flavour, respond) as client,
        pytest.raises(ResponseValidationError, match=r"https://elsewhere\.test/api"),
    ):
        client.get_session("s")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "\u0663"}, None),
        ({"Retry-After": "Mon, 23 Nov 2026 10:00:30 GMT", "Date": "Mon, 23 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"Retry-After": "Mon, 23 Nov 2026 09:00:00 GMT", "Date": "Mon, 23 Nov 2026 10:00:00 GMT"}, 0.0),
        ({"Retry-After": "Mon, 23 Nov 2026 10:00:30 GMT"}, None),
    ],
)
def test_retry_after_is_parsed_in_both_formats(headers: dict[str, str], seconds: float | None) -> None:
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert error_from_response(httpx2.Response(503, headers=encoded)).retry_after == seconds


def test_every_error_is_copied_and_pickled_whole() -> None:
    for name in sessionary.__all__:
        kind = getattr(sessionary, name)
        if not (isinstance(kind, type) and issubclass(kind, SessionaryError)):
            continue
        response = httpx2.Response(kind.status or 599, json={"detail": "Too bad.", "code": kind.code})
        errors: list[SessionaryError] = [error_from_response(response)]
        if kind not in {MethodNotAllowedError, PreconditionFailedError}:
            errors.append(kind("Too bad."))
        for error in errors:
            for same in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own
                assert type(same) is type(error)
                assert (str(same), repr(same), same.args) == (str(error), repr(error), error.args)
                assert vars(same).keys() == vars(error).keys()


def test_an_error_survives_being_pickled() -> None:
    body = json.dumps({"detail": "Gone.", "code": "SESSION_NOT_FOUND"})
    error = error_from_response(httpx2.Response(404, content=body, request=httpx2.Request("GET", "http://server.test")))
    copied = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(copied) is sessionary.SessionNotFoundError
    assert (copied.status, copied.detail) == (404, "Gone.")
    assert copied.response is not None
    assert copied.response.status_code == 404
