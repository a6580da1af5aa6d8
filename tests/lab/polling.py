#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""Waiting for something that another process or the kernel does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import tenacity

# Minutes, so that a busy machine fails no test: a limit only ends a wait that
# would last forever.
SECONDS = 600
_PAUSE = tenacity.wait_fixed(0.1)

T = TypeVar('T')


def wait_for(what: str, ask: Callable[[], T],
             until: Callable[[T], bool] = bool, seconds: float = SECONDS,
             pause: tenacity.wait.wait_base = _PAUSE) -> T:
    """Ask until the answer is accepted, and return that answer.

    :param what: is awaited, for the error message
    :param until: whether it accepts an answer
    :param pause: between two questions
    :raises TimeoutError: no answer was accepted in time
    """
    try:
        return tenacity.Retrying(
            retry=tenacity.retry_if_not_result(until),
            stop=tenacity.stop_after_delay(seconds), wait=pause)(ask)
    except tenacity.RetryError as error:
        raise TimeoutError(
            f'timed out after {seconds} seconds waiting for {what}; last '
            f'answer: {error.last_attempt.result()!r}') from None
