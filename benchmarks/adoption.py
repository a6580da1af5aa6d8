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

"""Measures adopting an LV, compared with the LVM commands that it needs.

`python -m benchmarks.adoption`, as root, from the top of the checkout. It
first measures the drivers alone, this one and Cinder's own: the calls that
Cinder makes to manage and unmanage one LV, in groups of several sizes. Then it
adopts 200 LVs over HTTP, one after another and eight at once. All figures are
multiples of a floor that is measured in turns with them: the bare commands
lvs, lvchange, lvrename and lvs for a manage, and lvs, lvrename and lvchange
for an unmanage. Fewer commands would not be safe: the LV has to be judged,
recorded, renamed, and checked.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from concurrent import futures
import itertools
import os
import pathlib
import tempfile
import time
from typing import Any
from typing import NamedTuple
from unittest import mock

from benchmarks import measure
from benchmarks.listing import one_lvs
from tests.lab import signals
from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.in_process import CinderInProcess
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.service_conf import IN_TREE

COUNTS = (10, 1_000, 10_000)
ROUNDS = 9
MANY = 200
PARALLEL = 8
BATCH = 40
LV = 'lv-00001'


class _Taken(NamedTuple):
    seconds: float
    commands: int


class _Floor(NamedTuple):
    """The seconds that the bare commands take."""

    manage: float
    unmanage: float


def main() -> None:
    """Print two tables."""
    with (tempfile.TemporaryDirectory() as state,
          CinderInProcess(pathlib.Path(state),
                          privileged_daemon=True) as cinder):
        measure.publish('adoption', 'Adopting one LV, by the drivers alone',
                        [row for count in COUNTS
                         for row in _of_one(cinder, count)])
    measure.publish('adoption_http', f'Adopting {MANY} LVs over HTTP',
                    list(_of_many()))


def _of_one(cinder: CinderInProcess, count: int) -> Iterator[measure.Row]:
    with (ScratchVolumeGroup() as vg,
          mock.patch.dict(os.environ, vg.environment)):
        vg.populate(count)
        this, in_tree = cinder.driver(vg), cinder.driver(vg, IN_TREE)

        def ours() -> tuple[_Taken, _Taken]:
            volume = cinder.record_volume()
            return (_taken(lambda: _manage(this, volume)),
                    _taken(lambda: this.unmanage(volume)))

        def theirs() -> _Taken:
            volume = cinder.record_volume()
            taken = _taken(lambda: _manage(in_tree, volume))
            # Its unmanage does not restore the name.
            vg.lvm('lvrename', vg.name, volume.name, LV)
            return taken

        works: dict[str, Callable[[], Any]] = {
            'floor': lambda: _bare(vg, LV), 'ours': ours, 'theirs': theirs}
        # The first round starts the daemon.
        measure.turns(1, **works)
        found = measure.turns(ROUNDS, **works)
    managed, unmanaged = zip(*found['ours'], strict=True)
    for driver, what, takens in (('this', 'manage', managed),
                                 ('this', 'unmanage', unmanaged),
                                 ('in-tree', 'manage', found['theirs'])):
        yield {'LVs': count, 'driver': driver, 'what': what,
               'commands': takens[0].commands,
               **measure.ratio([each.seconds for each in takens],
                               [getattr(each, what)
                                for each in found['floor']])}


def _manage(driver: Any, volume: Any) -> None:
    """Call the driver as cinder/volume/flows/manager/manage_existing.py does.
    """
    reference = {'source-name': LV}
    driver.manage_existing_get_size(volume, reference)
    driver.manage_existing(volume, reference)


def _taken(work: Callable[[], None]) -> _Taken:
    with measure.counted_commands() as commands:
        return _Taken(measure.seconds(work), commands())


def _bare(vg: ScratchVolumeGroup, lv: str) -> _Floor:
    def lvm(*command: str) -> float:
        return measure.seconds(lambda: vg.lvm(*command))

    manage = (one_lvs(vg)
              + lvm('lvchange', '--addtag', 'a', f'{vg.name}/{lv}')
              + lvm('lvrename', vg.name, lv, f'{lv}-a')
              + one_lvs(vg))
    unmanage = (one_lvs(vg)
                + lvm('lvrename', vg.name, f'{lv}-a', lv)
                + lvm('lvchange', '--deltag', 'a', f'{vg.name}/{lv}'))
    return _Floor(manage, unmanage)


def _of_many() -> Iterator[measure.Row]:
    with (ScratchVolumeGroup('ours') as ours,
          ScratchVolumeGroup('theirs', beside=ours) as theirs):
        # One more LV for the bare commands, and one to start the daemons with.
        bare, first = (f'lv-{2 * MANY + each:05}' for each in range(2))
        ours.populate(2 * MANY + 2)
        theirs.populate(2 * MANY + 2)
        backends = [
            Backend(ours, {'lvm_manage_without_device_mapper': 'true'}),
            Backend(theirs, name='theirs', volume_driver=IN_TREE)]
        with CinderDeployment(*backends) as cinder:
            works: dict[tuple[str, int], Callable[[], float]] = {
                (driver, parallel): _adopting(
                    cinder, backend.host, parallel,
                    itertools.count(MANY * (parallel > 1)))
                for driver, backend in zip(('this', 'in-tree'), backends,
                                           strict=True)
                for parallel in (1, PARALLEL)}
            for backend in backends:
                _adopt(cinder, backend.host, first)
            found = measure.turns(
                MANY // BATCH, floor=lambda: _bare(ours, bare).manage,
                **{' '.join(map(str, key)): work
                   for key, work in works.items()})
    for driver, parallel in works:
        yield {'driver': driver, 'at once': parallel,
               **measure.ratio(found[f'{driver} {parallel}'],
                               found['floor'])}


def _adopting(cinder: CinderDeployment, host: str, parallel: int,
              numbers: Iterator[int]) -> Callable[[], float]:
    """Return a function that adopts a batch and returns the seconds per LV."""
    def adopt() -> float:
        names = [f'lv-{number:05}'
                 for number in itertools.islice(numbers, BATCH)]
        with futures.ThreadPoolExecutor(parallel) as pool:
            return measure.seconds(lambda: list(pool.map(
                lambda name: _adopt(cinder, host, name), names))) / BATCH
    return adopt


def _adopt(cinder: CinderDeployment, host: str, name: str) -> None:
    volume = cinder.api.manage({'source-name': name}, host=host).body['volume']
    while (status := cinder.api.show(volume['id']).body['volume']['status']
           ) != 'available':
        if status.startswith('error'):
            raise SystemExit(f'{name} is in status {status}')
        time.sleep(0.2)


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main()
