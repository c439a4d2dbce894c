"""How long to search: SESSIONARY_PROPERTY chooses.

`ci`, the default, takes the same walk every time; `glance` too, but shows a failure as it was found, without the
minutes that making it smaller takes; `thorough` takes a long new walk. Nothing is set globally: other tests use
hypothesis too.
"""

import os

from hypothesis import HealthCheck, Phase, settings

_SLOW_IS_FINE = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
_WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)


def search(*, examples: int, steps: int = 20) -> settings:
    """Return the settings for a search of so many examples in `ci`, and twenty times as many in `thorough`."""
    effort = os.environ.get("SESSIONARY_PROPERTY", "ci")
    thorough = effort == "thorough"
    return settings(
        max_examples=20 * examples if thorough else examples,
        stateful_step_count=2 * steps if thorough else steps,
        derandomize=not thorough,
        database=None,
        deadline=None,
        phases=_WITHOUT_SHRINKING if effort == "glance" else tuple(Phase),
        print_blob=True,
        suppress_health_check=_SLOW_IS_FINE,
    )
