"""Making the operations of a client look like the methods they are: to ``help``, ``inspect``, ``mock`` and editors."""

import inspect
from collections.abc import Callable
from inspect import Parameter, Signature
from types import FunctionType
from typing import Any, Final, TypeVar, get_args, get_type_hints

from msgspec import UNSET

Function = TypeVar("Function", bound=Callable[..., Any])

_SELF: Final = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)


class Description:
    """How a function shows itself: its name, what it takes and what it answers."""

    def __init__(self, make: Callable[..., Any], answer: Any) -> None:
        """Take everything but the answer's type from what makes the call."""
        self._make: Final = make
        self._annotations: Final = {**make.__annotations__, "return": answer}
        self._bound: Final = signature_with_options(make).replace(return_annotation=answer)
        self._unbound: Final = self._bound.replace(parameters=[_SELF, *self._bound.parameters.values()])

    def bound(self, function: Function, owner: str, name: str) -> Function:
        """Describe a function of one client."""
        return self._described(function, owner, name, self._bound)

    def unbound(self, function: Function, owner: str, name: str) -> Function:
        """Describe a function that takes the client first."""
        return self._described(function, owner, name, self._unbound)

    def _described(self, function: Function, owner: str, name: str, signature: Signature) -> Function:
        shown: Any = function
        shown.__name__ = name
        shown.__qualname__ = f"{owner}.{name}"
        shown.__doc__ = self._make.__doc__
        shown.__annotations__ = self._annotations
        shown.__signature__ = signature
        return function


def answer_of(make: Callable[..., Any]) -> Any:
    """Tell what a call or a walk answers with in the end, from the type of what makes it."""
    return get_args(make.__annotations__["return"])[0]


def signature_with_options(function: Callable[..., Any]) -> Signature:
    """Show a function's signature with each option that its ``**options: Unpack[…]`` takes, by name."""
    signature = inspect.signature(function)
    shown: list[Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.kind is Parameter.VAR_KEYWORD:
            (options,) = get_args(parameter.annotation)
            shown += [
                Parameter(name, Parameter.KEYWORD_ONLY, default=UNSET, annotation=kind)
                for name, kind in get_type_hints(options).items()
            ]
        else:
            shown.append(parameter)
    return signature.replace(parameters=shown)


def showing_options(function: Function) -> Function:
    """Have a function show each of its options in its signature."""
    shown: Any = function
    shown.__signature__ = signature_with_options(function)
    return function


class Method:
    """What stands in a client's class for an operation.

    It says that it is a function, for tools that look into a class without asking for its attributes, ``mock`` among
    them, must take it for one: the function is what the class itself gives out.
    """

    function: Callable[..., Any]
    """Takes the client, then what the operation takes."""

    def give_out(self, function: Callable[..., Any]) -> None:
        """Have the class itself give out this function."""
        self.function = function

    @property  # type: ignore[misc]  # the type of an object may be told otherwise
    def __class__(self) -> type:
        return FunctionType

    def __getattr__(self, name: str) -> Any:
        if name == "function":
            raise AttributeError(name)
        return getattr(self.function, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Carry out the operation of the client that comes first."""
        return self.function(*args, **kwargs)
