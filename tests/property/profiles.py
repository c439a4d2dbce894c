"""How long to search: `ci` takes the same short walk every time, `thorough` a long new one.

Choose with SESSIONARY_PROPERTY=thorough. Nothing is set globally: other tests use hypothesis too.
"""

import os

from hypothesis import HealthCheck, settings

_SLOW_IS_FINE = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)


def search(*, examples: int, steps: int = 20) -> settings:
    """Return the settings for a search of so many examples in `ci`, and twenty times as many in `thorough`."""
    if os.environ.get("SESSIONARY_PROPERTY", "ci") == "thorough":
        return settings(
            max_examples=20 * examples,
            stateful_step_count=2 * steps,
            deadline=None,
            print_blob=True,
            suppress_health_check=_SLOW_IS_FINE,
        )
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        print_blob=True,
        suppress_health_check=_SLOW_IS_FINE,
    )
