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

"""Answers of backends, which all workers of a run share."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
import threading
import time
from typing import Any

from osc_volume_adopt import check
from osc_volume_adopt import errors
from osc_volume_adopt.api import CinderApi
from osc_volume_adopt.manageable import Location
from osc_volume_adopt.manageable import Manageable

# Seconds for which an answer about a service holds.
ASK_AGAIN = 20


class Listings:
    """What backends list, each answer for all workers that wait for it."""

    def __init__(self, api: CinderApi) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._latest: dict[tuple[str, Location],
                           tuple[float, tuple[Manageable, ...]]] = {}

    def volumes(self, location: Location, since: float | None = None
                ) -> tuple[Manageable, ...]:
        """Return the LVs, as listed after a moment.

        :param since: the moment, by time.monotonic(); None for now
        """
        return self._listed('volumes', location, since, lambda: tuple(
            self._api.manageable(location)))

    def snapshots(self, location: Location, since: float | None = None
                  ) -> tuple[Manageable, ...]:
        """Return the LVs of snapshots, as listed after a moment.

        :param since: the moment, by time.monotonic(); None for now
        """
        return self._listed('snapshots', location, since, lambda: tuple(
            snapshot.lv for snapshot in
            self._api.manageable_snapshots(location)))

    def _listed(self, what: str, location: Location, since: float | None,
                ask: Callable[[], tuple[Manageable, ...]]
                ) -> tuple[Manageable, ...]:
        since = time.monotonic() if since is None else since
        with self._lock:
            started, lvs = self._latest.get((what, location), (0.0, ()))
            if started < since:
                started = time.monotonic()
                lvs = ask()
                self._latest[what, location] = started, lvs
            return lvs


class Services:
    """Whether backends can process requests; asked from time to time only."""

    def __init__(self, api: CinderApi) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, str]] = {}

    def problem(self, volume: Mapping[str, Any]) -> str:
        """Return why the volume's backend cannot; empty if it can."""
        host = volume.get('os-vol-host-attr:host') or ''
        with self._lock:
            asked, problem = self._known.get(host, (float('-inf'), ''))
            if time.monotonic() - asked > ASK_AGAIN:
                problem = self._ask(volume)
                self._known[host] = time.monotonic(), problem
            return problem

    def _ask(self, volume: Mapping[str, Any]) -> str:
        try:
            check.require_services_of(self._api, [volume])
        except errors.BackendError as exc:
            return str(exc)
        except errors.API_ERRORS:
            # The worker that waits for the volume meets the same error.
            return ''
        return ''
