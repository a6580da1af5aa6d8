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

"""VolumeApi: what adopting asks of Cinder and Keystone."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import json
from typing import Any

from openstack import connection
from openstack import exceptions

# Of list with cluster; manage needs 3.16 for it, and transfers 3.55.
_MICROVERSION = '3.17'
_TRANSFERS = '3.55'
_PAGE = 1000


@dataclasses.dataclass(frozen=True)
class Location:
    """Whose LVs: host@backend#pool, or a cluster's; the other is None."""

    host: str | None = None
    cluster: str | None = None

    @property
    def query(self) -> dict[str, str]:
        """As requests name it."""
        return {name: value for name, value in dataclasses.asdict(self).items()
                if value}

    def __str__(self) -> str:
        return self.host or self.cluster or ''


@dataclasses.dataclass(frozen=True)
class Manageable:
    """One row of a listing in detail.

    What only some drivers tell is empty, or None, with the others.

    :ivar gib: the size that Cinder would record
    :ivar reason: why it is not safe to manage; empty if it is
    :ivar size: in bytes
    """

    reference: Mapping[str, str]
    gib: int
    safe: bool
    reason: str
    cinder_id: str | None
    source_id: str
    size: int | None
    layout: str
    tags: str

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Manageable:
        """Make one of what the API answers."""
        info = row.get('extra_info') or {}
        if not isinstance(info, dict):
            info = {}
        return cls(
            reference=row['reference'], gib=row['size'],
            safe=row['safe_to_manage'], reason=row['reason_not_safe'] or '',
            cinder_id=row['cinder_id'],
            source_id=info.get('source_id')
            or row['reference'].get('source-id', ''),
            size=int(info['size_bytes']) if 'size_bytes' in info else None,
            layout=info.get('layout', ''), tags=info.get('tags', ''))

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.reference.get('source-name')
                   or next(iter(self.reference.values())))


class VolumeApi:
    """Cinder, as the caller of the command may use it.

    Each method raises openstack.exceptions.SDKException if the API refuses,
    and keystoneauth1's ClientException if it cannot be reached.
    """

    def __init__(self, to: connection.Connection) -> None:
        self._connection = to

    def manageable(self, location: Location,
                   sort: str = 'reference:asc') -> Iterator[Manageable]:
        """All that can be listed there.

        Page by page: the SDK's own paging takes ids that these rows have not.
        """
        query: dict[str, Any] = location.query | {'limit': _PAGE, 'sort': sort}
        while True:
            rows = self._request('GET', '/manageable_volumes/detail',
                                 params=query)['manageable-volumes']
            yield from map(Manageable.of, rows)
            if not rows:
                return
            query['marker'] = json.dumps(rows[-1]['reference'])

    def manage(self, location: Location, reference: Mapping[str, str],
               fields: Mapping[str, Any]) -> str:
        """The id of the volume that Cinder begins to manage."""
        volume = {**location.query, 'ref': dict(reference), **fields}
        return str(self._request('POST', '/manageable_volumes', json={
            'volume': volume})['volume']['id'])

    def unmanage(self, volume_id: str) -> None:
        """Begin to give it back."""
        self._action(volume_id, {'os-unmanage': {}})

    def volume(self, volume_id: str) -> dict[str, Any] | None:
        """The volume; None if there is none."""
        try:
            found: dict[str, Any] = self._request(
                'GET', f'/volumes/{volume_id}')['volume']
        except exceptions.NotFoundException:
            return None
        return found

    def volumes_with(self, metadata: Mapping[str, str]
                     ) -> list[dict[str, Any]]:
        """The volumes of all projects that have this metadata."""
        found: list[dict[str, Any]] = self._request(
            'GET', '/volumes/detail', params={
                'all_tenants': 1, 'metadata': str(dict(metadata))})['volumes']
        # A cloud may have this filter switched off (resource_filters.json),
        # and a volume that is not ours must never be taken for ours.
        return [volume for volume in found
                if metadata.items() <= volume['metadata'].items()]

    def snapshots(self, volume_id: str) -> list[dict[str, Any]]:
        """A volume's snapshots."""
        found: list[dict[str, Any]] = self._request(
            'GET', '/snapshots/detail', params={
                'all_tenants': 1, 'volume_id': volume_id})['snapshots']
        return found

    def services(self) -> list[dict[str, Any]]:
        """The volume services that Cinder knows."""
        found: list[dict[str, Any]] = self._request(
            'GET', '/os-services', params={'binary': 'cinder-volume'}
            )['services']
        return found

    def pool(self, host: str) -> dict[str, Any]:
        """What the pool of that name can do; nothing if there is none."""
        pools = self._request('GET', '/scheduler-stats/get_pools',
                              params={'detail': True})['pools']
        for each in pools:
            if each['name'] == host:
                found: dict[str, Any] = each['capabilities']
                return found
        return {}

    def volume_types(self) -> dict[str, dict[str, str]]:
        """The extra specs of all volume types, by their names."""
        return {each['name']: each.get('extra_specs') or {}
                for each in self._request('GET', '/types', params={
                    'is_public': 'None'})['volume_types']}

    def free_quota(self, project_id: str | None) -> dict[str, int | None]:
        """How many volumes and gigabytes the project may yet have.

        :param project_id: None for the caller's own
        :returns: None where there is no limit
        """
        if project_id is None:
            limits = self._request('GET', '/limits')['limits']['absolute']
            found = {
                'volumes': (limits['maxTotalVolumes'],
                            limits['totalVolumesUsed']),
                'gigabytes': (limits['maxTotalVolumeGigabytes'],
                              limits['totalGigabytesUsed'])}
        else:
            quota = self._request('GET', f'/os-quota-sets/{project_id}',
                                  params={'usage': True})['quota_set']
            found = {name: (quota[name]['limit'],
                            quota[name]['in_use'] + quota[name]['reserved'])
                     for name in ('volumes', 'gigabytes')}
        return {name: None if limit < 0 else limit - used
                for name, (limit, used) in found.items()}

    def project_id(self, name_or_id: str) -> str | None:
        """The id of a project; None if Keystone shows the caller none."""
        identity: Any = self._connection.identity
        found = identity.find_project(name_or_id)
        return found.id if found else None

    def transfer(self, volume_id: str, project_id: str) -> None:
        """Hand the volume over to another project of the caller's."""
        for old in self._request('GET', '/volume-transfers',
                                 microversion=_TRANSFERS)['transfers']:
            # Its key is lost with whoever began it.
            if old['volume_id'] == volume_id:
                self._request('DELETE', f"/volume-transfers/{old['id']}",
                              microversion=_TRANSFERS)
        begun = self._request('POST', '/volume-transfers', json={
            'transfer': {'volume_id': volume_id}},
            microversion=_TRANSFERS)['transfer']
        there = VolumeApi(self._connection.connect_as(project_id=project_id))
        there._request('POST', f"/volume-transfers/{begun['id']}/accept",
                       json={'accept': {'auth_key': begun['auth_key']}},
                       microversion=_TRANSFERS)

    def _action(self, volume_id: str, action: Mapping[str, Any]) -> None:
        self._request('POST', f'/volumes/{volume_id}/action', json=action)

    def _request(self, method: str, path: str,
                 microversion: str = _MICROVERSION, **options: Any) -> Any:
        response = self._connection.block_storage.request(
            path, method, microversion=microversion, **options)
        exceptions.raise_from_response(response)
        return response.json() if response.content else None
