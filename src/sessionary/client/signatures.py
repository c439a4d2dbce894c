"""Signatures that list every option by name, for ``help``, ``inspect``, ``mock`` and editors."""

import inspect
from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any, TypeVar, get_args, get_type_hints

from msgspec import UNSET

Function = TypeVar("Function", bound=Callable[..., Any])


def signature_with_options(function: Callable[..., Any]) -> Signature:
    """Return a function's signature with its ``**options: Unpack[…]`` replaced by one parameter for each option.

    Parameters whose name begins with an underscore are private and left out.
    """
    signature = inspect.signature(function)
    shown: list[Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.kind is Parameter.VAR_KEYWORD:
            (options,) = get_args(parameter.annotation)
            shown += [
                Parameter(name, Parameter.KEYWORD_ONLY, default=UNSET, annotation=kind)
                for name, kind in get_type_hints(options).items()
            ]
        elif not parameter.name.startswith("_"):
            shown.append(parameter)
    return signature.replace(parameters=shown)


def show_options(function: Function) -> Function:
    """Decorate a function so that its signature lists its options."""
    shown: Any = function
    shown.__signature__ = signature_with_options(function)
    return function


def describe_raw_method(method: Function, make_spec: Callable[..., Any], result: Any) -> Function:
    """Give a method of ``with_raw_response`` the name and arguments of the function that makes its request."""
    shown: Any = method
    shown.__name__ = make_spec.__name__
    shown.__qualname__ = f"with_raw_response.{make_spec.__name__}"
    shown.__doc__ = f"Call ``{make_spec.__name__}`` and return an APIResponse: the result with the HTTP response."
    shown.__signature__ = signature_with_options(make_spec).replace(return_annotation=result)
    shown.__annotations__ = {**make_spec.__annotations__, "return": result}
    return method
