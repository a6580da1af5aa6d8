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

from collections import Counter
from collections import defaultdict
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
import functools

from osc_volume_adopt.api import Closed
from osc_volume_adopt.api import Manageable
from osc_volume_adopt.api import VolumeApi
from osc_volume_adopt.api import VolumeType
from osc_volume_adopt.plan import Entry
from osc_volume_adopt.plan import Plan

# The id of each project that a plan names, and the API with a token for it.
Receivers = Mapping[str, tuple[str, VolumeApi]]


def faults(plan: Plan, api: VolumeApi, entries: Collection[Entry],
           parallel: int, receivers: Receivers) -> list[str]:
    """All that keeps these entries of the plan from being adopted.

    :param entries: those that are yet to be begun
    :param parallel: so many are adopted at once
    :param receivers: of the projects that could be entered
    """
    if not entries:
        return []
    of_service = list(_of_service(plan, api))
    # Nobody could list the LVs of a service that is away.
    lvs = {} if of_service else _lvs(plan, api)
    types = _Types(plan, api, receivers)
    return [*of_service,
            *(fault for entry in entries for fault in types.faults(
                entry, lvs.get(frozenset(entry.reference.items())))),
            *_of_zones(api, entries),
            *_of_quotas(api, entries, parallel, receivers, types),
            *([] if of_service else _of_lvs(lvs, entries))]


def receivers(api: VolumeApi, entries: Collection[Entry]
              ) -> tuple[Receivers, list[str]]:
    """Ways into the projects that entries name, and where there is none."""
    found: dict[str, tuple[str, VolumeApi]] = {}
    against = []
    for name in sorted({entry.project for entry in entries
                        if entry.project}):
        project_id = api.project_id(name)
        if project_id is None:
            against.append(f'project {name}: there is none that you may see')
        elif project_id == api.own_project():
            found[name] = project_id, api
        else:
            try:
                found[name] = project_id, api.enter(project_id)
            except Closed as exc:
                against.append(
                    f'project {name}: volumes cannot be handed over to it, '
                    'for you get no token there (have you a role in it, and '
                    f'a password or the like?): {exc}')
    return found, against


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


class _Types:
    """The volume types, and what speaks against one for an entry."""

    def __init__(self, plan: Plan, api: VolumeApi,
                 receivers: Receivers) -> None:
        self._host = plan.location.host
        self._api = api
        self._receivers = receivers
        self._encrypted = functools.cache(api.is_encrypted)
        self._projects = functools.cache(api.type_projects)

    @functools.cached_property
    def _all(self) -> dict[str, VolumeType]:
        return self._api.volume_types()

    @functools.cached_property
    def _backend(self) -> str | None:
        """The volume_backend_name; None if it cannot be told."""
        if self._host is None:
            return None
        return self._api.pool(self._host).get('volume_backend_name')

    def of(self, entry: Entry) -> VolumeType | None:
        """The type that an entry names; None if it does not, or wrongly."""
        if entry.volume_type is None:
            return None
        return self._all.get(entry.volume_type) or next(
            (each for each in self._all.values()
             if each.id == entry.volume_type), None)

    def faults(self, entry: Entry, row: Manageable | None) -> Iterator[str]:
        """What speaks against its type; row is its LV, if there is one."""
        if entry.volume_type is None:
            return
        found = self.of(entry)
        what = f'{entry.source}: volume type {entry.volume_type}'
        if found is None:
            there = ', '.join(sorted(self._all))
            yield f'{what}: there is none such; there are {there}'
            return
        asked = _spec(found, 'volume_backend_name')
        # <or> and the like are for the scheduler to understand.
        if asked and self._backend and ' ' not in asked and (
                asked != self._backend):
            yield (f'{what}: is for backend {asked}, but {self._host} is '
                   f'{self._backend}')
        if self._encrypted(found.id):
            yield f'{what}: is encrypted, as nothing that is managed can be'
        if not found.is_public:
            owner = (self._receivers.get(entry.project, (None,))[0]
                     if entry.project else self._api.own_project())
            if owner and owner not in self._projects(found.id):
                yield f'{what}: is not open to project {owner}'
        thin = _asks_for_thin(found)
        if row and row.layout and thin is not None and (
                thin != ('thin' in row.layout.split(','))):
            yield (f"{what}: is for {'thin' if thin else 'thick'} volumes, "
                   f'and this LV is {row.layout}')


def _spec(volume_type: VolumeType, name: str) -> str | None:
    specs = volume_type.extra_specs
    return specs.get(name) or specs.get(f'capabilities:{name}')


def _asks_for_thin(volume_type: VolumeType) -> bool | None:
    """Whether it asks for thin volumes, or thick; None if for neither."""
    kind = volume_type.extra_specs.get('provisioning:type')
    if kind in ('thin', 'thick'):
        return kind == 'thin'
    wanted = (_spec(volume_type, 'thin_provisioning_support') or '').split()
    return {'true': True, 'false': False}.get(
        wanted[-1].lower() if wanted else '')


def _of_zones(api: VolumeApi, entries: Collection[Entry]) -> Iterator[str]:
    wanted = {entry.availability_zone for entry in entries
              if entry.availability_zone}
    there = api.zones() if wanted else set()
    for name in sorted(wanted - there):
        yield (f'availability zone {name}: is not available; there are '
               + ', '.join(sorted(there)))


def _of_quotas(api: VolumeApi, entries: Collection[Entry], parallel: int,
               receivers: Receivers, types: _Types) -> Iterator[str]:
    own = api.own_project()
    by_project: dict[str, list[Entry]] = defaultdict(list)
    names = {own: 'your project'}
    for entry in entries:
        if entry.project is None:
            by_project[own].append(entry)
        elif entry.project in receivers:
            project_id = receivers[entry.project][0]
            by_project[project_id].append(entry)
            names.setdefault(project_id, f'project {entry.project}')
    # Cinder counts each volume as the caller's until it is handed over, which
    # is done before the next one is begun.
    passing = sorted((entry for project_id, theirs in by_project.items()
                      if project_id != own for entry in theirs),
                     key=lambda entry: entry.gib)
    by_project[own] += passing[-parallel:]
    for project_id, theirs in by_project.items():
        yield from _of_quota(names[project_id], api.quota(project_id),
                             theirs, types)


def _of_quota(whose: str, quota: Mapping[str, Mapping[str, int]],
              entries: Collection[Entry], types: _Types) -> Iterator[str]:
    wanted: Counter[str] = Counter()
    for entry in entries:
        of_type = types.of(entry)
        for suffix in ['', f'_{of_type.name}'] if of_type else ['']:
            wanted[f'volumes{suffix}'] += 1
            wanted[f'gigabytes{suffix}'] += entry.gib
    for name, count in wanted.items():
        of = quota.get(name, {'limit': -1})
        left = (of['limit'] - of.get('in_use', 0) - of.get('reserved', 0))
        if of['limit'] >= 0 and count > left:
            yield (f'{whose}: {count} {name} are to be adopted, but its '
                   f'quota leaves {left}')
    largest = quota.get('per_volume_gigabytes', {}).get('limit', -1)
    for entry in entries:
        if 0 <= largest < entry.gib:
            yield (f'{entry.source}: has {entry.gib} GiB, but a volume of '
                   f'{whose} may have no more than {largest}')


def _lvs(plan: Plan, api: VolumeApi
         ) -> dict[frozenset[tuple[str, str]], Manageable]:
    return {frozenset(row.reference.items()): row
            for row in api.manageable(plan.location)}


def _of_lvs(there: Mapping[frozenset[tuple[str, str]], Manageable],
            entries: Collection[Entry]) -> Iterator[str]:
    by_id = {row.source_id: row for row in there.values() if row.source_id}
    for entry in entries:
        row = (there.get(frozenset(entry.reference.items()))
               or by_id.get(entry.reference.get('source-id', '')))
        if row is None:
            renamed = by_id.get(entry.source_id)
            yield (f'{entry.source}: is called {renamed.name} now' if renamed
                   else f'{entry.source}: is not there any more')
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
