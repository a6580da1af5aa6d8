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

"""Measures a listing, beside the one lvs command that it cannot do without.

`python -m benchmarks.listing`, as root, from the top of the checkout. For
groups of several sizes and kinds, managed or not, it counts the LVM commands
of get_manageable_volumes, compares its time with that of one bare lvs of the
same fields, taken in turns, and measures its memory and CPU time. A page has
the 1,000 entries that Cinder's API asks for at most (osapi_max_limit).
Cinder's own driver is measured while a listing takes less than three minutes;
for larger groups its time is estimated, and marked as such.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from typing import Any
from typing import NamedTuple
from unittest import mock
import uuid

from cinder import context
from cinder import objects
from oslo_utils import units

from benchmarks import measure
from cinder_lvm_manage.logical_volume import FIELDS
from tests.lab import signals
from tests.lab import zoo
from tests.lab.in_process import CinderInProcess
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.service_conf import IN_TREE

COUNTS = (10, 100, 1_000, 10_000, 50_000)
PAGE = 1_000
ROUNDS = 7
# Where LVM itself takes that many seconds, fewer rounds are enough: other work
# of the machine makes less of a difference.
SLOW, SLOW_ROUNDS = 5, 3
# In seconds. Cinder's own driver is not run if it is estimated to take longer.
PATIENCE = 180


class Content(NamedTuple):
    """The kinds of LVs in a group.

    :ivar thin: whether half of them are thin, and half of those snapshots
    :ivar managed: whether half of them are Cinder's volumes
    """

    thin: bool
    managed: bool

    def __str__(self) -> str:
        return (f"{'half thin' if self.thin else 'linear'}, "
                f"{'half' if self.managed else 'none'} managed")


def volume_id(number: int) -> str:
    """Return the ID of the volume that has the LV with this number."""
    return str(uuid.UUID(int=number))


def name_of(managed: bool) -> Callable[[int], str]:
    """Return a function that returns the name of the LV with a number."""
    return lambda number: (f'volume-{volume_id(number)}'
                           if managed and number % 2 else f'lv-{number:05}')


def main(names: list[str]) -> None:
    """Print a table of all kinds, or with `active` one of active LVs.

    The latter needs device-mapper.
    """
    if names == ['active']:
        with _cinder() as cinder:
            measure.publish('listing_active', 'Listing 1,000 active LVs',
                            list(_active(cinder)))
        return
    with _cinder() as cinder:
        measure.publish('listing', 'Listing manageable volumes',
                        list(_rows(cinder)))


@contextlib.contextmanager
def _cinder() -> Iterator[CinderInProcess]:
    with (tempfile.TemporaryDirectory() as state,
          CinderInProcess(pathlib.Path(state),
                          privileged_daemon=True) as cinder):
        yield cinder


def _rows(cinder: CinderInProcess) -> Iterator[measure.Row]:
    theirs: list[tuple[int, float]] = []
    for count in COUNTS:
        for content in (Content(False, False), Content(False, True),
                        Content(True, False), Content(True, True)):
            with (ScratchVolumeGroup() as vg,
                  mock.patch.dict(os.environ, vg.environment)):
                _fill(vg, count, content)
                known = _volumes(count) if content.managed else []
                driver = cinder.driver(vg)
                yield _row(vg, count, content, 'page',
                           _Listing(driver, known, PAGE))
                if count > PAGE:
                    yield _row(vg, count, content, 'all at once',
                               _Listing(driver, known, count))
                if not any(content):
                    yield _row(vg, count, content, 'all, by pages',
                               _Pages(driver, known), rounds=1)
                    yield _in_tree(cinder, vg, count, theirs)


def _active(cinder: CinderInProcess) -> Iterator[measure.Row]:
    with (ScratchVolumeGroup(device_mapper=True) as vg,
          mock.patch.dict(os.environ, vg.environment)):
        vg.populate(PAGE)
        _write_file_systems(vg)
        for state, contents in (('n', False), ('y', False), ('y', True)):
            vg.lvm('vgchange', '--activate', state, vg.name)
            driver = cinder.driver(vg, lvm_manage_without_device_mapper=False,
                                   lvm_manage_read_contents=contents)
            listing = _Listing(driver, [], PAGE)
            yield {'active': {'n': 0, 'y': PAGE}[state],
                   'contents': 'yes' if contents else 'no',
                   **_row(vg, PAGE, Content(False, False), 'page', listing),
                   **_disk_use(vg, listing)}


def _write_file_systems(vg: ScratchVolumeGroup) -> None:
    """Give each LV an ext4 file system."""
    with tempfile.NamedTemporaryFile() as image:
        device, first, size = vg.extents(vg.names()['lv-00000'])
        image.truncate(size)
        subprocess.run(['mkfs.ext4', '-q', image.name], check=True)
        data = pathlib.Path(image.name).read_bytes()
    with open(device, 'r+b') as disk:
        # populate() places the LVs one after another.
        for number in range(PAGE):
            disk.seek(first + number * size)
            disk.write(data[:units.Mi])
        os.fsync(disk.fileno())


def _disk_use(vg: ScratchVolumeGroup, listing: _Listing) -> measure.Row:
    """Count the reads of the physical volume, by LVM and by the driver.

    The kernel drops its cache of a device when the device is closed.
    """
    before = _reads(vg)
    listing()
    requests, sectors = (after - earlier for after, earlier
                         in zip(_reads(vg), before, strict=True))
    return {'reads per LV': round(requests / PAGE, 2),
            'KiB per LV': round(sectors / 2 / PAGE)}


def _reads(vg: ScratchVolumeGroup) -> tuple[int, int]:
    # Documentation/block/stat.rst of the kernel: read I/Os, merges, sectors.
    device = pathlib.Path(vg.physical_volumes[0])
    requests, _, sectors, *_ = pathlib.Path(
        '/sys/class/block', device.name, 'stat').read_text().split()
    return int(requests), int(sectors)


def _fill(vg: ScratchVolumeGroup, count: int, content: Content) -> None:
    name = name_of(content.managed)
    if content.thin:
        vg.restore(zoo.half_thin(vg.name, count, name))
    else:
        vg.populate(count, name)


def _volumes(count: int) -> list[objects.Volume]:
    """Return the volumes that cinder-volume would pass to the driver."""
    admin = context.get_admin_context()
    return [objects.Volume(admin, id=volume_id(number), _name_id=None)
            for number in range(1, count, 2)]


class _Listing:
    """Lists from the start.

    :ivar shown: the number of LVs in the last listing
    """

    def __init__(self, driver: Any, known: list[objects.Volume],
                 limit: int) -> None:
        self._driver = driver
        self._known = known
        self._limit = limit
        self.shown = 0

    def __call__(self, marker: object = None) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self._driver.get_manageable_volumes(
            self._known, marker, self._limit, None, ['reference'], ['asc'])
        self.shown = len(entries)
        return entries


class _Pages(_Listing):
    """Lists the whole group, page by page."""

    def __init__(self, driver: Any, known: list[objects.Volume]) -> None:
        super().__init__(driver, known, PAGE)

    def __call__(self, marker: object = None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while entries := super().__call__(marker):
            found += entries
            marker = entries[-1]['reference']
        self.shown = len(found)
        return found


def _row(vg: ScratchVolumeGroup, count: int, content: Content, what: str,
         listing: _Listing, rounds: int = ROUNDS) -> measure.Row:
    # The commands of the first listing are counted, which starts the daemon.
    with measure.counted_commands() as commands:
        listing()
        number = commands()
    if one_lvs(vg) > SLOW:
        rounds = min(rounds, SLOW_ROUNDS)
    found = measure.turns(rounds, floor=lambda: one_lvs(vg),
                          ours=lambda: measure.cost(listing))
    return {'LVs': count, 'content': str(content), 'driver': 'this',
            'listing': what, 'shown': listing.shown, 'commands': number,
            **measure.ratio([each.seconds for each in found['ours']],
                            found['floor']),
            **measure.mean_use(found['ours'])}


def _in_tree(cinder: CinderInProcess, vg: ScratchVolumeGroup, count: int,
             done: list[tuple[int, float]]) -> measure.Row:
    row = {'LVs': count, 'content': str(Content(False, False)),
           'driver': 'in-tree', 'listing': 'all at once'}
    expected = _estimated(done, count)
    if expected > PATIENCE:
        floor = statistics.median(one_lvs(vg) for _ in range(3))
        return row | {
            'shown': 'estimated', 'commands': 2 * count + 1,
            'times floor': round(expected / floor),
            'spread': '', 'seconds': round(expected), 'floor': floor}
    driver = cinder.driver(vg, IN_TREE)
    listing = _Listing(driver, [], count)
    rounds = 3 if expected < 20 else 1
    with measure.counted_commands() as commands:
        found = measure.turns(rounds, floor=lambda: one_lvs(vg),
                              theirs=lambda: measure.cost(listing))
        number = commands() // rounds
    taken = [each.seconds for each in found['theirs']]
    done.append((count, statistics.median(taken)))
    return row | {'shown': listing.shown, 'commands': number,
                  **measure.ratio(taken, found['floor']),
                  **measure.mean_use(found['theirs'])}


def _estimated(done: list[tuple[int, float]], count: int) -> float:
    """Return the seconds to expect, if time is a power of the number of LVs.

    The power is that of the last two listings.

    :param done: the number of LVs and the seconds of each listing so far
    """
    if len(done) < 2:
        return 0.0
    (few, less), (many, more) = done[-2:]
    power = math.log(more / less) / math.log(many / few)
    return more * (count / many) ** power


def one_lvs(vg: ScratchVolumeGroup) -> float:
    """Return the seconds of a bare lvs with the fields that the driver reads.
    """
    return measure.seconds(lambda: vg.lvm(
        'lvs', '--all', '--reportformat', 'json', '--units', 'b',
        '--nosuffix', '--binary', '--options', ','.join(FIELDS), vg.name))


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main(sys.argv[1:])
