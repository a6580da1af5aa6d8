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

"""Checks that are made before a plan is applied or a run is undone.

A plan that passes them is expected to succeed completely. The listing has the
driver's decisions about LVs, and Cinder's API answers most other questions. It
does not answer two, so the client decides them by the same rules: whether the
scheduler accepts the backend for a volume type (scheduler.py), and whether
cinder_lvm_manage accepts an LV for a volume type with provisioning:type.
"""

from __future__ import annotations

from collections import Counter
from collections import defaultdict
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import functools
import logging
import shlex
from typing import Any

from osc_volume_adopt import projects
from osc_volume_adopt import scheduler
from osc_volume_adopt import volume_names
from osc_volume_adopt.api import CinderApi
from osc_volume_adopt.api import Service
from osc_volume_adopt.api import VolumeType
from osc_volume_adopt.errors import BackendError
from osc_volume_adopt.manageable import Location
from osc_volume_adopt.manageable import LVM_MANAGE
from osc_volume_adopt.manageable import Manageable
from osc_volume_adopt.plan import Entry
from osc_volume_adopt.problems import Problem
from osc_volume_adopt.projects import Projects
from osc_volume_adopt.snapshots import Snapshot

LOG = logging.getLogger(__name__)


def require_service(api: CinderApi, location: Location) -> list[Service]:
    """Return the services that run the backend.

    Asking them first takes a moment; a request to a service that is down
    would block until Cinder's RPC timeout.

    :raises BackendError: none is up, or there is none
    """
    services = api.services()
    backend = location.name.partition('#')[0]
    running = [each for each in services if backend == (
        each.host if location.host else each.cluster)]
    if not running:
        known = sorted({name for each in services if (
            name := each.host if location.host else each.cluster)})
        raise BackendError(
            f'Cinder has no {location}: no cinder-volume service is named '
            f"{backend}. Known: {', '.join(known) or 'none'}.")
    if not any(each.up for each in running):
        seen = max(each.last_seen for each in running)
        remedy = 'Start it, then retry.'
        clusters = {each.cluster for each in running if each.cluster}
        # Not the cluster: Cinder's API refuses requests for it while the
        # service that it recorded first is down.
        others = [each.host for each in services
                  if each.up and each.cluster in clusters]
        if others:
            remedy = ('Start it, or let another service of its cluster do '
                      f'the work: use host {others[0]}.')
        raise BackendError(
            f'The cinder-volume service of {backend} is down (last seen '
            f'{seen}). {remedy}')
    # In a cluster, only the cluster can be disabled.
    if not any(each.enabled or each.cluster for each in running):
        raise BackendError(
            f'The cinder-volume service of {backend} is disabled. Enable it '
            f'with `openstack volume service set --enable {backend} '
            'cinder-volume`, then retry.')
    return running


def require_pool(api: CinderApi, location: Location) -> None:
    """Ensure that the backend is up, and has the pool, if one is named.

    Cinder ignores the pool when it lists the LVs of a backend. If none is
    named, it manages them in any suitable pool.

    :raises BackendError: the backend is not up, or does not have the pool
    """
    services = require_service(api, location)
    backend, _, pool = location.name.partition('#')
    # In a cluster, the scheduler knows the cluster's pools, not the hosts'.
    backends = {backend, *(each.cluster for each in services)}
    pools = sorted({name.partition('#')[2] for name in api.pools()
                    if name.partition('#')[0] in backends})
    if pool and pools and pool not in pools:
        raise BackendError(
            f'Cinder has no {location}: {backend} has no pool {pool}. Known: '
            f"{', '.join(pools)}.")
    if not pool and len(pools) > 1:
        LOG.warning('%s has several pools: %s. To name one, add # and its '
                    'name to the host', location, ', '.join(pools))


def require_services_of(api: CinderApi,
                        volumes: Iterable[Mapping[str, Any]]) -> None:
    """Ensure that the backends of these volumes can process requests.

    :raises BackendError: one cannot
    """
    hosts = {volume['os-vol-host-attr:host'].partition('#')[0]
             for volume in volumes if volume.get('os-vol-host-attr:host')}
    clusters = {each.host: each.cluster for each in api.services()
                } if hosts else {}
    for location in {Location(cluster=clusters[host])
                     if clusters.get(host) else Location(host=host)
                     for host in hosts}:
        require_service(api, location)


def problems(api: CinderApi, entries: Collection[Entry], parallel: int,
             access: Projects) -> list[Problem]:
    """Return everything that keeps these entries from being adopted.

    :param entries: those whose adoption has not started
    :param parallel: how many volumes are adopted at the same time
    :param access: access to the projects of these entries
    :raises BackendError: the backend is down, or does not exist
    """
    types: dict[Location, _Types] = {}
    found: list[Problem] = []
    for location, theirs in _by_location(entries).items():
        services = require_service(api, location)
        lvs = _Listing(api.manageable(location))
        types[location] = _Types(location, api, access, services)
        found += (problem for entry in theirs for problem
                  in types[location].problems(entry, lvs.find(entry)))
        found += _zone_problems(services, theirs)
        found += (problem for entry in theirs
                  for problem in lvs.problems(location, entry))
        if any(entry.snapshots for entry in theirs):
            found += _snapshot_problems(
                location, theirs, api.manageable_snapshots(location))
    if entries:
        found += _quota_problems(api, entries, parallel, access, types)
        found += volume_names.problems(
            entries, lambda entry: _project_of(entry, api, access),
            api.volumes_in)
    return found


def _project_of(entry: Entry, api: CinderApi, access: Projects
                ) -> str | None:
    """Return the ID of the project of the entry's volume, if it is known."""
    if entry.project is None:
        return api.own_project()
    return access[entry.project].id if entry.project in access else None


def _by_location(entries: Iterable[Entry]) -> dict[Location, list[Entry]]:
    found: dict[Location, list[Entry]] = defaultdict(list)
    for entry in entries:
        found[entry.location].append(entry)
    return found


class _Types:
    """Volume types, and whether entries of one backend can have them."""

    def __init__(self, location: Location, api: CinderApi,
                 access: Projects, services: Iterable[Service]) -> None:
        self._location = location
        # In a cluster, the scheduler knows only the cluster's pools.
        self._clusters = {each.cluster for each in services if each.cluster}
        self._backends = {location.name, *self._clusters}
        self._api = api
        self._access = access
        self._unsuitable: dict[str, list[str]] = {}
        self._projects = functools.cache(api.type_projects)

    @functools.cached_property
    def _all(self) -> dict[str, VolumeType]:
        return self._api.volume_types()

    @functools.cached_property
    def _default(self) -> VolumeType | None:
        return self._api.default_volume_type()

    @functools.cached_property
    def _pools(self) -> list[dict[str, Any]]:
        """The capabilities of the pools that the location comprises."""
        return [capabilities
                for pool, capabilities in self._api.pools().items()
                if self._backends & {pool, pool.partition('#')[0]}]

    def of(self, entry: Entry) -> VolumeType | None:
        """Return the type of the entry's volume; None if there is none."""
        if entry.volume_type is None:
            return self._default
        return self._all.get(entry.volume_type) or next(
            (each for each in self._all.values()
             if each.id == entry.volume_type), None)

    def problems(self, entry: Entry, lv: Manageable | None
                 ) -> Iterator[Problem]:
        """Yield why the entry's volume cannot have its type.

        :param lv: the entry's LV, if it is listed
        """
        found = self.of(entry)
        if found is None:
            yield Problem(
                'no volume type is given, and Cinder has no default volume '
                'type' if entry.volume_type is None else
                f'volume type {entry.volume_type!r} not found; available '
                f"types: {', '.join(sorted(self._all))}", entry.source)
            return
        if found.id not in self._unsuitable:
            self._unsuitable[found.id] = self._find_unsuitable(found)
        for text in self._unsuitable[found.id]:
            yield Problem(text, entry.source)
        name = f'volume type {found.name!r}'
        owner = _project_of(entry, self._api, self._access)
        if not found.is_public and owner and (
                owner not in self._projects(found.id)):
            yield Problem(
                f'{name} is private, and project {owner} has no access to it',
                entry.source, f'run `openstack volume type set --project '
                              f'{owner} {shlex.quote(found.name)}`')
        provisioning = found.extra_specs.get('provisioning:type')
        # This is its rule type-provisioning. Other drivers have other rules.
        if (lv and lv.driver == LVM_MANAGE and lv.provisioning
                and provisioning not in (None, lv.provisioning)):
            yield Problem(
                f'{name} has provisioning:type = {provisioning}, but the LV '
                f'is {lv.provisioning}', entry.source)

    def _find_unsuitable(self, found: VolumeType) -> list[str]:
        """Return why no volume of the plan can have this type."""
        name = f'volume type {found.name!r}'
        texts = []
        if self._api.is_encrypted(found.id):
            texts.append(f'{name} is encrypted; managed volumes cannot use '
                         'it')
        if not self._pools:
            texts.append(f"Cinder's scheduler knows no pool of "
                         f'{self._location}' + self._if_disabled())
        unmet = [list(scheduler.unmet(found.extra_specs, capabilities))
                 for capabilities in self._pools]
        # One pool that fits is enough.
        if unmet and all(unmet):
            specs = ', '.join(f'{key} = {found.extra_specs[key]}'
                              for key in unmet[0])
            texts.append(f'{name} requires {specs}, which '
                         f'{self._location} does not offer')
        return texts

    def _if_disabled(self) -> str:
        # The list of services does not say whether their cluster is disabled.
        return ''.join(
            f'. If cluster {name} is disabled, run `openstack block storage '
            f'cluster set --enable {name}`'
            for name in sorted(self._clusters))


def _zone_problems(services: Iterable[Service],
                   entries: Iterable[Entry]) -> Iterator[Problem]:
    zones = {service.zone for service in services}
    for entry in entries:
        if entry.availability_zone and entry.availability_zone not in zones:
            yield Problem(
                f'availability zone {entry.availability_zone!r} is not that '
                f"of the backend, {', '.join(sorted(zones))}", entry.source)


def _snapshot_problems(location: Location, entries: Iterable[Entry],
                       listed: Iterable[Snapshot]) -> Iterator[Problem]:
    by_place = {snapshot.lv.place: snapshot for snapshot in listed}
    for entry in entries:
        for planned in entry.snapshots:
            name = planned.lv_name
            snapshot = by_place.get((location, name))
            if snapshot is None:
                yield Problem(f'its snapshot {name} not found on {location}',
                              entry.source)
            elif planned.source_id != snapshot.lv.source_id:
                yield Problem(
                    f'another snapshot is named {name} now: its UUID is '
                    f'{snapshot.lv.source_id}, not {planned.source_id}',
                    entry.source)
            elif snapshot.origin != entry.lv_name:
                yield Problem(f'{name} is a snapshot of {snapshot.origin}',
                              entry.source)
            elif not snapshot.can_follow:
                for reason in snapshot.lv.reasons:
                    yield Problem(
                        f'its snapshot {name} is not safe to manage: '
                        f'{reason.statement}', entry.source, reason.remedy)


def _quota_problems(api: CinderApi, entries: Collection[Entry], parallel: int,
                    access: Projects, types: Mapping[Location, _Types]
                    ) -> Iterator[Problem]:
    own = api.own_project()
    by_project: dict[str, list[Entry]] = defaultdict(list)
    names = {own: 'your project'}
    for entry in entries:
        if entry.project is None:
            by_project[own].append(entry)
        elif entry.project in access:
            project_id = access[entry.project].id
            by_project[project_id].append(entry)
            names.setdefault(project_id, f'project {entry.project}')
    # Until a volume is transferred, it counts against the caller's quota. Each
    # worker transfers its volume before it starts the next one.
    passing = sorted((entry for project_id, theirs in by_project.items()
                      if project_id != own for entry in theirs
                      if not projects.direct(entry, access)),
                     key=lambda entry: entry.gib)
    by_project[own] += passing[-parallel:]
    for project_id, theirs in by_project.items():
        yield from _quota_problems_of(names[project_id],
                                      api.quota(project_id), theirs, types)


def _quota_problems_of(project: str, quota: Mapping[str, Mapping[str, int]],
                       entries: Collection[Entry],
                       types: Mapping[Location, _Types]
                       ) -> Iterator[Problem]:
    wanted: Counter[str] = Counter()
    for entry in entries:
        of_type = types[entry.location].of(entry)
        for suffix in ['', f'_{of_type.name}'] if of_type else ['']:
            wanted[f'volumes{suffix}'] += 1
            # Each snapshot counts as its volume does.
            wanted[f'gigabytes{suffix}'] += entry.gib * (
                1 + len(entry.snapshots))
            if entry.snapshots:
                wanted[f'snapshots{suffix}'] += len(entry.snapshots)
    for name, count in wanted.items():
        of = quota.get(name, {'limit': -1})
        left = of['limit'] - of.get('in_use', 0) - of.get('reserved', 0)
        if of['limit'] >= 0 and count > left:
            yield Problem(f'the quota of {project} for {name} is too small: '
                          f'{count} needed, {left} left')
    largest = quota.get('per_volume_gigabytes', {}).get('limit', -1)
    for entry in entries:
        if 0 <= largest < entry.gib:
            yield Problem(
                f'a volume of {entry.gib} GiB exceeds the limit of '
                f'{largest} GiB per volume in {project}', entry.source)


class _Listing:
    """The LVs that the backend lists now."""

    def __init__(self, lvs: Iterable[Manageable]) -> None:
        self._by_reference = {}
        self._by_id = {}
        for lv in lvs:
            self._by_reference[frozenset(lv.reference.items())] = lv
            if lv.source_id:
                self._by_id[lv.source_id] = lv

    def find(self, entry: Entry) -> Manageable | None:
        """Return the LV that the entry refers to."""
        return (self._by_reference.get(frozenset(entry.reference.items()))
                or self._by_id.get(entry.reference.get('source-id', '')))

    def problems(self, location: Location,
                 entry: Entry) -> Iterator[Problem]:
        """Yield why the LV cannot be managed as planned."""
        lv = self.find(entry)
        if lv is None:
            renamed = self._by_id.get(entry.source_id)
            yield Problem(
                f'the LV is now named {renamed.name}' if renamed
                else f'LV not found on {location}', entry.source)
        elif entry.source_id and lv.source_id != entry.source_id:
            yield Problem(
                f'another LV has this name now: its UUID is {lv.source_id}, '
                f'not {entry.source_id}', entry.source)
        elif not lv.safe:
            for reason in lv.reasons:
                yield Problem(f'not safe to manage: {reason.statement}',
                              entry.source, reason.remedy)
        elif entry.size is not None and lv.size != entry.size:
            yield Problem(f'the LV has {lv.size} bytes now, but '
                          f'{entry.size} in the plan', entry.source)
        elif lv.gib != entry.gib:
            yield Problem(f'the LV has {lv.gib} GiB now, but {entry.gib} in '
                          'the plan', entry.source)
