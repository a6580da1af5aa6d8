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

"""Whether what a plan says holds: the types, the projects, room, the LVs."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterator
import itertools

from cinder_lvm_manage.client.api import VolumeApi
from cinder_lvm_manage.client.plan import Entry
from cinder_lvm_manage.client.plan import Plan


def faults(plan: Plan, api: VolumeApi,
           entries: Collection[Entry]) -> list[str]:
    """All that keeps these entries of the plan from being adopted.

    :param entries: those that are yet to be begun
    """
    of_service = list(_of_service(plan, api))
    return [*of_service, *_of_types(plan, api, entries),
            *_of_projects(api, entries),
            # Nobody could list them.
            *([] if of_service else _of_lvs(plan, api, entries))]


def _of_service(plan: Plan, api: VolumeApi) -> Iterator[str]:
    host = plan.location.host
    if host is None:
        return
    service = host.partition('#')[0]
    states = [each['state'] for each in api.services()
              if each['host'] == service]
    if not states:
        yield f'host {host}: Cinder has no volume service {service}'
    elif 'up' not in states:
        yield f'host {host}: its volume service is {states[0]}'


def _of_types(plan: Plan, api: VolumeApi,
              entries: Collection[Entry]) -> Iterator[str]:
    wanted = {entry.volume_type for entry in entries if entry.volume_type}
    if not wanted:
        return
    types = api.volume_types()
    backend = (api.pool(plan.location.host).get('volume_backend_name')
               if plan.location.host else None)
    for name in sorted(wanted):
        if name not in types:
            yield f'volume type {name}: there is none'
            continue
        asked = types[name].get('volume_backend_name')
        if asked and backend and asked != backend:
            yield (f'volume type {name}: is for backend {asked}, but '
                   f'{plan.location} is {backend}')


def _of_projects(api: VolumeApi, entries: Collection[Entry]) -> Iterator[str]:
    # Cinder counts each volume as the caller's before it is handed over.
    yield from _of_quota(api, 'your project', None, entries)
    for name, others in itertools.groupby(
            sorted((entry for entry in entries if entry.project),
                   key=lambda entry: entry.project or ''),
            key=lambda entry: entry.project or ''):
        project_id = api.project_id(name)
        if project_id is None:
            yield f'project {name}: there is none that you may see'
        else:
            yield from _of_quota(api, f'project {name}', project_id,
                                 list(others))


def _of_quota(api: VolumeApi, whose: str, project_id: str | None,
              entries: Collection[Entry]) -> Iterator[str]:
    free = api.free_quota(project_id)
    for name, wanted in (('volumes', len(entries)),
                         ('gigabytes', sum(entry.gib for entry in entries))):
        left = free[name]
        if left is not None and wanted > left:
            yield (f'{whose}: {wanted} {name} are to be adopted, but its '
                   f'quota leaves {left}')


def _of_lvs(plan: Plan, api: VolumeApi,
            entries: Collection[Entry]) -> Iterator[str]:
    if not entries:
        return
    there = {frozenset(row.reference.items()): row
             for row in api.manageable(plan.location)}
    by_id = {row.source_id: row for row in there.values() if row.source_id}
    for entry in entries:
        row = (there.get(frozenset(entry.reference.items()))
               or by_id.get(entry.reference.get('source-id', '')))
        if row is None:
            yield f'{entry.source}: is not there any more'
        elif entry.source_id and row.source_id != entry.source_id:
            yield (f'{entry.source}: is another LV now, {row.source_id} and '
                   f'not {entry.source_id}')
        elif not row.safe:
            yield f'{entry.source}: {row.reason}'
        elif entry.size is not None and row.size != entry.size:
            yield (f'{entry.source}: has {row.size} bytes now, and '
                   f'{entry.size} in the plan')
        elif row.gib != entry.gib:
            yield (f'{entry.source}: has {row.gib} GiB now, and {entry.gib} '
                   'in the plan')
