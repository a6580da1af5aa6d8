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

"""What a listing costs, beside the one lvs command that it cannot do without.

`python -m benchmarks.listing`, as root, from the top of the checkout. Prints,
for groups of more and more LVs, the LVM commands of get_manageable_volumes
and its time as a multiple of one bare lvs of the same fields, both measured
in turns in this run; and of Cinder's own driver in the smallest group. A page
is what Cinder's API asks for: 1,000 at most (osapi_max_limit).
"""

from __future__ import annotations

from collections.abc import Callable
import os
import pathlib
import statistics
import tempfile
import time
from typing import Any
from unittest import mock

from oslo_concurrency import processutils

from cinder_lvm_manage.logical_volume import FIELDS
from cinder_lvm_manage.volume_group import VolumeGroup
from tests.lab.in_process import CinderInProcess
from tests.lab.in_process import IN_TREE
from tests.lab.scratch import ScratchVolumeGroup

COUNTS = (100, 1_000, 10_000)
PAGE = 1_000
ROUNDS = 7


def main() -> None:
    """Print a line for each group and driver."""
    print(f"{'LVs':>6} {'shown':>6} {'driver':>8} {'commands':>8} "
          f"{'seconds':>8} "
          f"{'times one lvs':>13} {'(spread)':>14}")
    with (tempfile.TemporaryDirectory() as state,
          CinderInProcess(pathlib.Path(state),
                          privileged_daemon=True) as cinder):
        for count in COUNTS:
            with (ScratchVolumeGroup() as vg,
                  mock.patch.dict(os.environ, vg.environment)):
                vg.populate(count)
                ours = cinder.driver(vg)
                for limit in sorted({min(count, PAGE), count}):
                    _report(count, limit, 'ours', vg, ours, ROUNDS)
                if count == min(COUNTS):
                    theirs = cinder.driver(vg, IN_TREE)
                    _report(count, count, 'in-tree', vg, theirs, 1)


def _report(count: int, limit: int, name: str, vg: ScratchVolumeGroup,
            driver: Any, rounds: int) -> None:
    listing = _Listing(driver, limit)
    listing()
    pairs = [(_seconds(lambda: _one_lvs(vg)), _seconds(listing))
             for _ in range(rounds)]
    ratios = [ours / floor for floor, ours in pairs]
    seconds = statistics.median(ours for _, ours in pairs)
    spread = f'{min(ratios):.2f}..{max(ratios):.2f}'
    print(f'{count:6} {limit:6} {name:>8} {listing.commands:8} {seconds:8.3f} '
          f'{statistics.median(ratios):13.2f} {spread:>14}', flush=True)


class _Listing:
    """A listing from the start; counts the commands of the last one."""

    def __init__(self, driver: Any, limit: int) -> None:
        self._driver = driver
        self._limit = limit
        self.commands = 0

    def __call__(self) -> None:
        with (mock.patch.object(VolumeGroup, '_run_privileged',
                                side_effect=VolumeGroup._run_privileged,
                                autospec=True) as through_daemon,
              mock.patch.object(processutils, 'execute',
                                side_effect=processutils.execute) as direct):
            entries = self._driver.get_manageable_volumes(
                [], None, self._limit, None, ['reference'], ['asc'])
        if len(entries) != self._limit:
            raise SystemExit(f'{len(entries)} of {self._limit} LVs listed')
        self.commands = through_daemon.call_count + direct.call_count


def _one_lvs(vg: ScratchVolumeGroup) -> None:
    vg.lvm('lvs', '--all', '--reportformat', 'json', '--units', 'b',
           '--nosuffix', '--binary', '--options',
           ','.join(FIELDS), vg.name)


def _seconds(function: Callable[[], None]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == '__main__':
    main()
