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
import re
from typing import Any
from urllib import parse

from keystoneauth1 import exceptions as connection_errors
from openstack import connection
from openstack import exceptions

# Of list with cluster; manage needs 3.16 for it, and transfers 3.55.
_MICROVERSION = '3.17'
_TRANSFERS = '3.55'
_PAGE = 1000
_TOLD = ('source_id', 'size_bytes', 'size_bytes_managed', 'layout', 'tags')


class Repeated(exceptions.SDKException):
    """A listing has no end."""


class Closed(Exception):
    """The caller gets no token for a project."""


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
    :ivar size_managed: the same once it is managed
    :ivar more: what else the driver tells
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
    size_managed: int | None = None
    more: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Manageable:
        """Make one of what the API answers."""
        info = row.get('extra_info') or {}
        if not isinstance(info, dict):
            info = {}
        info = {name: text for name, text in info.items() if text is not None}
        return cls(
            reference=row['reference'], gib=row['size'],
            safe=row['safe_to_manage'], reason=row['reason_not_safe'] or '',
            cinder_id=row['cinder_id'],
            source_id=info.get('source_id')
            or row['reference'].get('source-id', ''),
            size=_number(info.get('size_bytes')),
            layout=info.get('layout', ''), tags=info.get('tags', ''),
            size_managed=_number(info.get('size_bytes_managed')),
            more={name: text for name, text in info.items()
                  if name not in _TOLD})

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.reference.get('source-name')
                   or next(iter(self.reference.values())))

    @property
    def is_of_this_driver(self) -> bool:
        """Whether LVMManageDriver lists it: no other tells all of these."""
        return (bool(self.source_id and self.layout)
                and self.size is not None and 'attr' in self.more)

    @property
    def reasons(self) -> Iterator[tuple[str, str]]:
        """Each reason why it is not safe, and its remedy, if that is told."""
        if not self.is_of_this_driver:
            yield self.reason, ''
            return
        for text in _outside_brackets(self.reason):
            yield _with_remedy(text)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _outside_brackets(text: str) -> list[str]:
    """What semicolons part; those in brackets, in remedies, part nothing."""
    parts, depth = [''], 0
    for piece in re.split(r'(; |[()])', text):
        depth += (piece == '(') - (piece == ')')
        if piece == '; ' and depth == 0:
            parts.append('')
        else:
            parts[-1] += piece
    return parts


def _with_remedy(text: str) -> tuple[str, str]:
    """A reason, and the remedy in the last brackets; empty if none."""
    depth = 0
    for position in range(len(text) - 1, -1, -1):
        depth += (text[position] == ')') - (text[position] == '(')
        if text[-1] == ')' and depth == 0:
            return text[:position].rstrip(), text[position + 1:-1]
    return text, ''


@dataclasses.dataclass(frozen=True)
class VolumeType:
    """A volume type, and whether all projects may use it."""

    id: str
    name: str
    extra_specs: Mapping[str, str]
    is_public: bool


class VolumeApi:
    """Cinder, as the caller of the command may use it.

    Each method raises openstack.exceptions.SDKException if the API refuses,
    and keystoneauth1's ClientException if it cannot be reached.
    """

    def __init__(self, to: connection.Connection) -> None:
        self._connection = to

    def manageable(self, location: Location) -> Iterator[Manageable]:
        """All that can be listed there, each once.

        Page by page: the SDK's own paging takes ids that these rows have not.

        :raises Repeated: the driver does not heed markers
        """
        query: dict[str, Any] = location.query | {
            'limit': _PAGE, 'sort': 'reference:asc'}
        marker = None
        while True:
            rows = self._request('GET', '/manageable_volumes/detail',
                                 params=query)['manageable-volumes']
            yield from map(Manageable.of, rows)
            if not rows:
                return
            if rows[-1]['reference'] == marker:
                raise Repeated(f'{location} lists {marker} again and again: '
                               'its driver does not heed markers')
            marker = rows[-1]['reference']
            query['marker'] = json.dumps(marker)

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
        # A cloud may have this filter switched off (resource_filters.json),
        # and a volume that is not ours must never be taken for ours.
        return [volume for volume in self._pages('volumes', {
                    'metadata': str(dict(metadata))})
                if metadata.items() <= volume['metadata'].items()]

    def snapshots(self, volume_id: str) -> list[dict[str, Any]]:
        """A volume's snapshots."""
        return [snapshot for snapshot in self._pages('snapshots', {
                    'volume_id': volume_id})
                if snapshot['volume_id'] == volume_id]

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

    def volume_types(self) -> dict[str, VolumeType]:
        """All volume types, public or not, by their names."""
        return {each['name']: VolumeType(
                    each['id'], each['name'], each.get('extra_specs') or {},
                    each.get('is_public', True))
                for each in self._request('GET', '/types', params={
                    'is_public': 'None'})['volume_types']}

    def is_encrypted(self, type_id: str) -> bool:
        """Whether volumes of that type are encrypted."""
        return bool(self._request('GET', f'/types/{type_id}/encryption'
                                  ).get('provider'))

    def type_projects(self, type_id: str) -> set[str]:
        """The projects that may use a type that is not public."""
        return {each['project_id'] for each in self._request(
            'GET', f'/types/{type_id}/os-volume-type-access'
            )['volume_type_access']}

    def zones(self) -> set[str]:
        """The availability zones that are available."""
        return {each['zoneName'] for each in self._request(
                    'GET', '/os-availability-zone')['availabilityZoneInfo']
                if each['zoneState']['available']}

    def own_project(self) -> str:
        """The id of the project whose token is used."""
        found = self._connection.current_project_id
        if found:
            return str(found)
        # Without Keystone the endpoint tells, /v3/PROJECT.
        path = parse.urlsplit(
            self._connection.block_storage.get_endpoint() or '').path
        return path.rstrip('/').rpartition('/')[2]

    def quota(self, project_id: str) -> dict[str, dict[str, int]]:
        """Of each of a project's resources: limit, in_use and reserved."""
        quota = self._request('GET', f'/os-quota-sets/{project_id}',
                              params={'usage': True})['quota_set']
        return {name: value for name, value in quota.items()
                if isinstance(value, dict)}

    def project_id(self, name_or_id: str) -> str | None:
        """The id of a project; None if Keystone shows the caller none."""
        identity: Any = self._connection.identity
        found = identity.find_project(name_or_id)
        return found.id if found else None

    def enter(self, project_id: str) -> VolumeApi:
        """The same with a token for another project of the caller's.

        :raises Closed: Keystone gives the caller none
        """
        other = self._connection.connect_as(project_id=project_id)
        try:
            other.session.get_token()
        except (connection_errors.Unauthorized,
                connection_errors.Forbidden) as exc:
            raise Closed(str(exc)) from exc
        if other.current_project_id != project_id:
            raise Closed('this way of authentication is for one project only')
        return VolumeApi(other)

    def transfer(self, volume_id: str, receiver: VolumeApi) -> None:
        """Hand the volume over to the receiver's project, or keep it."""
        # Its key is lost with whoever began an older one.
        self.withdraw(volume_id)
        begun = self._request('POST', '/volume-transfers', json={
            'transfer': {'volume_id': volume_id}},
            microversion=_TRANSFERS)['transfer']
        try:
            receiver._request(
                'POST', f"/volume-transfers/{begun['id']}/accept",
                json={'accept': {'auth_key': begun['auth_key']}},
                microversion=_TRANSFERS)
        except exceptions.HttpException:
            self.withdraw(volume_id)
            raise

    def withdraw(self, volume_id: str) -> None:
        """Hand the volume over no more, if that was begun."""
        for begun in self._request(
                'GET', '/volume-transfers', params={'all_tenants': 1},
                microversion=_TRANSFERS)['transfers']:
            if begun['volume_id'] == volume_id:
                self._request('DELETE', f"/volume-transfers/{begun['id']}",
                              microversion=_TRANSFERS)

    def _pages(self, collection: str,
               query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """All of them in all projects, by the links to the next page."""
        page: Mapping[str, Any] | None = {'all_tenants': 1, **query}
        while page is not None:
            body = self._request('GET', f'/{collection}/detail', params=page)
            yield from body[collection]
            following = [link['href']
                         for link in body.get(f'{collection}_links', ())
                         if link['rel'] == 'next']
            # Behind a proxy the link's host may be another: what it asks for
            # is taken, and no more.
            page = (dict(parse.parse_qsl(parse.urlsplit(following[0]).query))
                    if following else None)

    def _action(self, volume_id: str, action: Mapping[str, Any]) -> None:
        self._request('POST', f'/volumes/{volume_id}/action', json=action)

    def _request(self, method: str, path: str,
                 microversion: str = _MICROVERSION, **options: Any) -> Any:
        response = self._connection.block_storage.request(
            path, method, microversion=microversion, **options)
        exceptions.raise_from_response(response)
        return response.json() if response.content else None
