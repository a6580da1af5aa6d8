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

"""A demonstration: a real Cinder adopts LVs that it did not create.

`python -m tests.shows.demo`, as root. It makes a volume group on loop devices
and runs a Cinder on 127.0.0.1; both are gone at the end.
"""

from __future__ import annotations

import json
import textwrap
from typing import Any

from tests.lab import signals
from tests.lab import zoo
from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.volume_api import Reply


def main() -> None:
    """Run all steps; an unexpected answer of Cinder ends the program."""
    with ScratchVolumeGroup(physical_volumes=2) as vg:
        zoo.build(vg)
        _say('A volume group has LVs of every kind, none created by Cinder')
        _show_lvs(vg)
        _say('Cinder starts on it, with LVMManageDriver')
        with CinderDeployment(Backend(vg)) as cinder:
            print(f'Listening on {cinder.url}\nThe backend is {cinder.host}')
            _manage_and_unmanage(vg, cinder)
        _say('Cinder has stopped, and the volume group is removed')


def _manage_and_unmanage(vg: ScratchVolumeGroup,
                         cinder: CinderDeployment) -> None:
    api = cinder.api

    _say('List the LVs: the three largest, in summary')
    _show(api.manageable_volumes(sort='size:desc', limit=3))

    _say('List all LVs in detail')
    listed = api.manageable_volumes(detail=True, sort='reference:asc')
    for entry in listed.body['manageable-volumes']:
        _show_entry(entry)

    _say('One of them, as the API returns it')
    _show(api.manageable_volumes(
        detail=True, sort='reference:asc', limit=1,
        marker=json.dumps({'source-name': 'striped'})))

    _say('Manage size-1g-4m by its name: its size is rounded up to 2 GiB')
    by_name = _manage(cinder, {'source-name': 'size-1g-4m'},
                      name='from-lab', metadata={'origin': 'demo'})

    uuid = vg.names()['size-1.5g']
    _say(f'Manage size-1.5g by its UUID, {uuid}')
    by_id = _manage(cinder, {'source-id': uuid}, bootable=True)
    _show_lvs(vg, f'volume-{by_name}', f'volume-{by_id}')

    _say('Manage the thin pool: Cinder refuses, and logs the reason')
    refused = api.manage({'source-name': 'scratch-pool'})
    _show(refused)
    refused_id = refused.body['volume']['id']
    api.wait(refused_id, 'error')
    print(f'Status in the database: {cinder.database.status(refused_id)}')
    for line in cinder.log_text().splitlines():
        if 'WARNING cinder_lvm_manage' in line and refused_id in line:
            print(textwrap.fill(line, 79, subsequent_indent='    '))
    _check(api.delete(refused_id))
    api.wait_until_gone(refused_id)
    _show_lvs(vg, 'scratch-pool')

    _say('Unmanage the first volume: its LV has its old name again')
    _check(api.unmanage(by_name))
    api.wait_until_gone(by_name)
    _show_lvs(vg, 'size-1g-4m', f'volume-{by_id}')

    _say('Manage origin and its snapshot, then unmanage both')
    origin = _manage(cinder, {'source-name': 'origin'})
    _show(api.request('GET', 'manageable_snapshots/detail', params={
        'host': cinder.host, 'limit': 1, 'sort': 'reference:asc',
        'marker': json.dumps({'source-name': zoo.CLONE_IN_THE_MAKING})}))
    managed = api.request('POST', 'manageable_snapshots', {'snapshot': {
        'volume_id': origin, 'ref': {'source-name': 'thick-snapshot'}}})
    _show(managed)
    snapshot = managed.body['snapshot']['id']
    api.wait(snapshot, 'available', kind='snapshot')
    _show_lvs(vg, f'volume-{origin}', f'_snapshot-{snapshot}')
    _check(api.request('POST', f'snapshots/{snapshot}/action',
                       {'os-unmanage': {}}))
    api.wait_until_gone(snapshot, kind='snapshot')
    _check(api.unmanage(origin))
    api.wait_until_gone(origin)
    _show_lvs(vg, 'origin', 'thick-snapshot')


def _manage(cinder: CinderDeployment, ref: dict[str, str],
            **fields: Any) -> str:
    reply = cinder.api.manage(ref, **fields)
    _show(reply)
    volume_id: str = reply.body['volume']['id']
    volume = cinder.api.wait(volume_id, 'available')
    print(f"Status {volume['status']}, size {volume['size']} GiB, "
          f"bootable {volume['bootable']}, metadata {volume['metadata']}")
    return volume_id


def _say(title: str) -> None:
    print(f'\n{title}\n{"-" * len(title)}')


def _check(reply: Reply) -> None:
    if reply.status not in (200, 202):
        raise SystemExit(f'unexpected answer: {reply}')


def _show(reply: Reply) -> None:
    print(f'HTTP {reply.status}')
    print(json.dumps(reply.body, indent=2))
    _check(reply)


def _show_entry(entry: dict[str, Any]) -> None:
    name = entry['reference']['source-name']
    state = 'safe' if entry['safe_to_manage'] else entry['reason_not_safe']
    print(textwrap.fill(f"{name}: {entry['size']} GiB, {state}", 79,
                        subsequent_indent='    '))


def _show_lvs(vg: ScratchVolumeGroup, *names: str) -> None:
    """Print the visible LVs, or those with these names."""
    fields = ('lv_name', 'lv_attr', 'lv_size', 'pool_lv', 'origin', 'lv_tags')
    print('LV / Attr / bytes / Pool / Origin / Tags')
    for row in vg.report(*fields):
        if not row['lv_name'].startswith('[') and (
                not names or row['lv_name'] in names):
            print(' / '.join(row[field] for field in fields).rstrip(' /'))


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main()
