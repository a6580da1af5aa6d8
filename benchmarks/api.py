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

"""Measures the parts of the time that a listing over HTTP takes.

`python -m benchmarks.api`, as root, from the top of the checkout. Asks Cinder
for a page of 1,000 entries, in groups of several sizes, of which none or half
of the LVs are managed. All of Cinder is one process here, with messages in
memory; the time that a message broker takes is not included.
"""

from __future__ import annotations

from collections.abc import Iterator
import json
import re
import statistics

from benchmarks import measure
from benchmarks.listing import COUNTS
from benchmarks.listing import name_of
from benchmarks.listing import PAGE
from benchmarks.listing import volume_id
from tests.lab import signals
from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.scratch import ScratchVolumeGroup

ROUNDS = 5
OURS = ('driver', 'LVM')
PARTS = ('API', 'RPC', "Cinder's volumes", *OURS)


def main() -> None:
    """Print a table."""
    measure.publish('api', 'GET manageable_volumes/detail?limit=1000',
                    list(_rows()))


def _rows() -> Iterator[measure.Row]:
    for count in COUNTS:
        for managed in (False, True):
            with ScratchVolumeGroup() as vg:
                vg.populate(count, name_of(managed))
                with CinderDeployment(
                        Backend(vg, {
                            'lvm_manage_without_device_mapper': 'true'}),
                        server='benchmarks.timed_server') as cinder:
                    if managed:
                        _record(cinder, count)
                    yield {'LVs': count,
                           'managed': 'half' if managed else 'none',
                           **_parts(cinder)}


def _record(cinder: CinderDeployment, count: int) -> None:
    """Record the volumes that have the LVs' names in Cinder's database."""
    volume = cinder.api.manage({'source-name': 'lv-00000'}).body['volume']
    cinder.api.wait(volume['id'], 'available')
    cinder.database.copy_volume(volume['id'],
                                map(volume_id, range(1, count, 2)))
    cinder.api.unmanage(volume['id'])
    cinder.api.wait_until_gone(volume['id'])


def _parts(cinder: CinderDeployment) -> measure.Row:
    _asked(cinder)
    rounds = [_asked(cinder) for _ in range(ROUNDS)]
    parts = {name: statistics.median(each[name] for each in rounds)
             for name in PARTS}
    total = statistics.median(each['total'] for each in rounds)
    ours = sum(parts[name] for name in OURS)
    return {'seconds': round(total, 3),
            **{name: round(spent, 3) for name, spent in parts.items()},
            'share of driver and LVM': f'{ours / total:.0%}'}


def _asked(cinder: CinderDeployment) -> dict[str, float]:
    """Return the seconds of each part of a request, without its own parts."""
    written = cinder.log_path.stat().st_size
    replies = []
    total = measure.seconds(lambda: replies.append(
        cinder.api.manageable_volumes(detail=True, limit=PAGE)))
    if replies[0].status != 200:
        raise SystemExit(f'a listing was answered with {replies[0]}')
    spent: dict[str, float] = {}
    for line in re.findall('^spent (.*)$', cinder.log_text(written),
                           re.MULTILINE):
        spent |= json.loads(line)
    return {'total': total,
            'API': total - spent['call'],
            'RPC': spent['call'] - spent['volumes'] - spent['driver'],
            "Cinder's volumes": spent['volumes'],
            'driver': spent['driver'] - spent['lvm'],
            'LVM': spent['lvm']}


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main()
