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

"""CinderApi: the requests to Cinder and Keystone that adoption needs."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import json
from typing import Any
from urllib import parse

from keystoneauth1 import exceptions as connection_errors
from openstack import connection
from openstack import exceptions

from osc_volume_adopt.errors import BackendError
from osc_volume_adopt.errors import TokenError
from osc_volume_adopt.manageable import Location
from osc_volume_adopt.manageable import Manageable
from osc_volume_adopt.snapshots import Snapshot

# Listing a cluster needs it; manage needs 3.16 for a cluster.
_MICROVERSION = '3.17'
_TRANSFERS = '3.55'
_PAGE = 1000
# Seconds to wait for an answer: if the network drops packets, none comes. A
# backend lists its LVs while the request waits, up to Cinder's RPC timeout.
_TIMEOUT = 120
_TIMEOUT_OF_LISTING = 600
# The name of this error in Cinder's answers, cinder/api/openstack/wsgi.py.
_NOT_FOUND = 'itemNotFound'


@dataclasses.dataclass(frozen=True)
class Service:
    """A cinder-volume.

    :ivar host: host@backend
    :ivar cluster: cluster@backend; None outside a cluster
    :ivar last_seen: when it last reported to Cinder, in UTC
    """

    host: str
    cluster: str | None
    zone: str
    up: bool
    enabled: bool
    last_seen: str


@dataclasses.dataclass(frozen=True)
class VolumeType:
    """A volume type, and whether all projects may use it."""

    id: str
    name: str
    extra_specs: Mapping[str, str]
    is_public: bool

    @classmethod
    def from_api(cls, answer: Mapping[str, Any]) -> VolumeType:
        """Return the type of an API's answer."""
        return cls(answer['id'], answer['name'],
                   answer.get('extra_specs') or {},
                   answer.get('is_public', True))


class CinderApi:
    """Cinder, with the token of the user who runs the command.

    Each method raises openstack.exceptions.SDKException if the API refuses,
    and keystoneauth1's ClientException if it cannot be reached.
    """

    def __init__(self, to: connection.Connection) -> None:
        self._connection = to

    def manageable(self, location: Location) -> Iterator[Manageable]:
        """Yield all LVs that the backend lists, each once.

        The SDK's own paging needs IDs, which these rows do not have.

        :raises BackendError: the driver ignores markers
        """
        return (Manageable.from_api(row, location)
                for row in self._rows('volumes', location))

    def manageable_snapshots(self, location: Location) -> Iterator[Snapshot]:
        """Yield all snapshots that the backend lists, each once.

        :raises BackendError: the driver ignores markers
        """
        return (Snapshot.from_api(row, location)
                for row in self._rows('snapshots', location))

    def _rows(self, what: str, location: Location
              ) -> Iterator[Mapping[str, Any]]:
        query: dict[str, Any] = location.query | {
            'limit': _PAGE, 'sort': 'reference:asc'}
        marker = None
        while True:
            rows = self._request(
                'GET', f'/manageable_{what}/detail', params=query,
                timeout=_TIMEOUT_OF_LISTING)[f'manageable-{what}']
            yield from rows
            if not rows:
                return
            if rows[-1]['reference'] == marker:
                raise BackendError(
                    f'Cannot list {location}: its driver ignores the marker '
                    f'{marker} and returns the same page again.')
            marker = rows[-1]['reference']
            query['marker'] = json.dumps(marker)

    def manage(self, location: Location, reference: Mapping[str, str],
               fields: Mapping[str, Any]) -> str:
        """Have Cinder manage an LV; return the ID of its volume."""
        volume = {**location.query, 'ref': dict(reference), **fields}
        return str(self._request('POST', '/manageable_volumes', json={
            'volume': volume})['volume']['id'])

    def may_manage(self, location: Location) -> bool:
        """Return whether Cinder lets this token list a backend's LVs.

        Cinder's policies have the same default for that and for managing.
        """
        try:
            self._request('GET', '/manageable_volumes',
                          params=location.query | {'limit': 1})
        except exceptions.ForbiddenException:
            return False
        return True

    def manage_snapshot(self, volume_id: str, reference: Mapping[str, str],
                        fields: Mapping[str, Any]) -> str:
        """Have Cinder manage an LV as a snapshot; return the snapshot's ID.

        The snapshot belongs to the project of the token, whichever project
        owns the volume.
        """
        snapshot = {'volume_id': volume_id, 'ref': dict(reference), **fields}
        return str(self._request('POST', '/manageable_snapshots', json={
            'snapshot': snapshot})['snapshot']['id'])

    def snapshot(self, snapshot_id: str) -> dict[str, Any] | None:
        """Return the snapshot, or None if there is none."""
        return self._found(f'/snapshots/{snapshot_id}', 'snapshot')

    def unmanage_snapshot(self, snapshot_id: str) -> None:
        """Have Cinder unmanage a snapshot."""
        self._request('POST', f'/snapshots/{snapshot_id}/action',
                      json={'os-unmanage': {}})

    def set_image_properties(self, volume_id: str,
                             properties: Mapping[str, str]) -> None:
        """Set image metadata of a volume, which keeps its other ones."""
        self._request('POST', f'/volumes/{volume_id}/action', json={
            'os-set_image_metadata': {'metadata': dict(properties)}})

    def unmanage(self, volume_id: str) -> None:
        """Have Cinder unmanage a volume."""
        self._request('POST', f'/volumes/{volume_id}/action',
                      json={'os-unmanage': {}})

    def volume(self, volume_id: str) -> dict[str, Any] | None:
        """Return the volume, or None if there is none."""
        return self._found(f'/volumes/{volume_id}', 'volume')

    def volumes_with(self, metadata: Mapping[str, str]
                     ) -> list[dict[str, Any]]:
        """Return the volumes of all projects that have this metadata."""
        # A cloud may have disabled this filter (resource_filters.json), so
        # the answer may have other volumes.
        return [volume for volume in self._of_all('volumes', {
                    'metadata': str(dict(metadata))})
                if metadata.items() <= volume['metadata'].items()]

    def volumes_in(self, project_id: str) -> Iterator[dict[str, Any]]:
        """Yield the volumes of a project."""
        # A cloud may have disabled this filter, too.
        return (volume for volume in self._of_all('volumes', {
                    'project_id': project_id})
                if volume['os-vol-tenant-attr:tenant_id'] == project_id)

    def all_volumes(self) -> Iterator[dict[str, Any]]:
        """Yield the volumes of all projects."""
        return self._of_all('volumes', {})

    def snapshots(self, volume_id: str) -> list[dict[str, Any]]:
        """Return a volume's snapshots."""
        return [snapshot for snapshot in self._of_all('snapshots', {
                    'volume_id': volume_id})
                if snapshot['volume_id'] == volume_id]

    def services(self) -> list[Service]:
        """Return every cinder-volume that Cinder knows."""
        return [Service(each['host'], each.get('cluster'), each['zone'],
                        each['state'] == 'up', each['status'] == 'enabled',
                        each['updated_at'] or 'never')
                for each in self._request('GET', '/os-services', params={
                    'binary': 'cinder-volume'})['services']]

    def pools(self) -> dict[str, dict[str, Any]]:
        """Return the capabilities of each pool that the scheduler knows."""
        return {each['name']: each['capabilities'] for each in self._request(
            'GET', '/scheduler-stats/get_pools',
            params={'detail': True})['pools']}

    def volume_types(self) -> dict[str, VolumeType]:
        """Return all volume types, public or not, by their names."""
        return {each['name']: VolumeType.from_api(each)
                for each in self._pages('/types', 'volume_types', {
                    'is_public': 'None'})}

    def default_volume_type(self) -> VolumeType | None:
        """Return the type of volumes for which none is given, if any."""
        found = self._found('/types/default', 'volume_type')
        return VolumeType.from_api(found) if found else None

    def is_encrypted(self, type_id: str) -> bool:
        """Return whether volumes of that type are encrypted."""
        return bool(self._request('GET', f'/types/{type_id}/encryption'
                                  ).get('provider'))

    def type_projects(self, type_id: str) -> set[str]:
        """Return the projects that may use a private type."""
        return {each['project_id'] for each in self._request(
            'GET', f'/types/{type_id}/os-volume-type-access'
            )['volume_type_access']}

    def own_project(self) -> str:
        """Return the ID of the project of the token."""
        found = self._connection.current_project_id
        if found:
            return str(found)
        # Without Keystone, the endpoint ends with it: /v3/PROJECT.
        path = parse.urlsplit(
            self._connection.block_storage.get_endpoint() or '').path
        return path.rstrip('/').rpartition('/')[2]

    def quota(self, project_id: str) -> dict[str, dict[str, int]]:
        """Return limit, in_use and reserved of each resource of a project."""
        quota = self._request('GET', f'/os-quota-sets/{project_id}',
                              params={'usage': True})['quota_set']
        return {name: value for name, value in quota.items()
                if isinstance(value, dict)}

    def project_id(self, name_or_id: str) -> str | None:
        """Return the ID of a project; None if it is not visible."""
        identity: Any = self._connection.identity
        found = identity.find_project(name_or_id)
        return found.id if found else None

    def project_name(self, project_id: str) -> str:
        """Return the name of a project; its ID if it is not visible."""
        identity: Any = self._connection.identity
        try:
            found = identity.find_project(project_id)
        except (exceptions.SDKException, connection_errors.ClientException):
            # There is no Keystone, or it does not show projects to this user.
            return project_id
        return str(found.name) if found else project_id

    def for_project(self, project_id: str) -> CinderApi:
        """Return the API with a token of the same user for another project.

        :raises TokenError: Keystone issues none
        """
        other = self._connection.connect_as(project_id=project_id)
        try:
            other.session.get_token()
        except (connection_errors.Unauthorized,
                connection_errors.Forbidden) as exc:
            raise TokenError(str(exc)) from exc
        if other.current_project_id != project_id:
            raise TokenError('these credentials are for one project only')
        return CinderApi(other)

    def transfer(self, volume_id: str, receiver: CinderApi) -> None:
        """Transfer the volume to the receiver's project.

        If the receiver cannot accept it, the transfer is cancelled.
        """
        try:
            created = self._create_transfer(volume_id)
        except exceptions.BadRequestException:
            # There may be an older transfer. Only its creator has the key
            # with which it can be accepted.
            self.cancel_transfer(volume_id)
            created = self._create_transfer(volume_id)
        try:
            receiver._request(
                'POST', f"/volume-transfers/{created['id']}/accept",
                json={'accept': {'auth_key': created['auth_key']}},
                microversion=_TRANSFERS)
        except exceptions.HttpException:
            self.cancel_transfer(volume_id)
            raise

    def _create_transfer(self, volume_id: str) -> dict[str, str]:
        created: dict[str, str] = self._request(
            'POST', '/volume-transfers', json={
                'transfer': {'volume_id': volume_id}},
            microversion=_TRANSFERS)['transfer']
        return created

    def cancel_transfer(self, volume_id: str) -> None:
        """Cancel the volume's transfer, if there is one."""
        for each in self._request(
                'GET', '/volume-transfers',
                params={'all_tenants': 1, 'volume_id': volume_id},
                microversion=_TRANSFERS)['transfers']:
            if each['volume_id'] == volume_id:
                self._request('DELETE', f"/volume-transfers/{each['id']}",
                              microversion=_TRANSFERS)

    def _of_all(self, collection: str,
                query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Yield what all projects have."""
        return self._pages(f'/{collection}/detail', collection,
                           {'all_tenants': '1', **query})

    def _pages(self, path: str, collection: str,
               query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Yield a collection, following the links of each page."""
        page: Mapping[str, str] | None = query
        while page is not None:
            body = self._request('GET', path, params=page)
            yield from body[collection]
            # volumes_links, snapshots_links or volume_type_links.
            following = [link['href'] for name, links in body.items()
                         if name.endswith('_links') for link in links
                         if link['rel'] == 'next']
            # Behind a proxy the link's host may be unreachable: only its
            # query is used.
            page = (dict(parse.parse_qsl(parse.urlsplit(following[0]).query))
                    if following else None)

    def _found(self, path: str, key: str) -> dict[str, Any] | None:
        """Return what is there, or None if Cinder says that nothing is.

        :raises NotFoundException: a proxy says so, perhaps because it does
            not reach Cinder
        """
        try:
            found: dict[str, Any] = self._request('GET', path)[key]
        except exceptions.NotFoundException as exc:
            if exc.response is None or _NOT_FOUND not in exc.response.text:
                raise
            return None
        return found

    def _request(self, method: str, path: str,
                 microversion: str = _MICROVERSION, **options: Any) -> Any:
        response = self._connection.block_storage.request(
            path, method, microversion=microversion,
            **{'timeout': _TIMEOUT, **options})
        exceptions.raise_from_response(response)
        try:
            return response.json() if response.content else None
        except ValueError as exc:
            # A proxy can answer with a page and status 200. Without the path,
            # equal failures have equal texts.
            server = parse.urlsplit(response.url or '').netloc
            raise exceptions.SDKException(
                f'An answer of {server} to a {method} request is not JSON: '
                'something other than Cinder may have sent it') from exc
