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

"""VolumeApi: Cinder's volume API over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

import requests
import tenacity

from tests.lab import polling

# Cinder's routes accept no project id but of hexadecimal digits.
PROJECT = 'ab' * 16

# A slow Cinder should not spend its time on answering.
_PAUSE = tenacity.wait_exponential(multiplier=0.1, exp_base=1.4, max=3)


class Reply(NamedTuple):
    """What the API answered: the status code and the JSON, if any.

    :ivar request_id: by which the services' logs name the request
    """

    status: int
    body: Any
    request_id: str = ''


class VolumeApi:
    """The volume API of a Cinder without Keystone.

    :ivar token: an administrator's
    """

    token = f'admin:{PROJECT}'

    def __init__(self, url: str, host: str) -> None:
        """Describe whom to ask.

        :param url: with the project
        :param host: the backend, for requests that name none
        """
        self._url = url
        self._host = host
        self._session = requests.Session()
        self._session.headers['X-Auth-Token'] = self.token

    def request(self, method: str, path: str, json: Any = None,
                params: Mapping[str, str | int] | None = None,
                microversion: str = '3.70') -> Reply:
        """Send a request, and return the answer whatever its status code."""
        response = self._session.request(
            method, f'{self._url}/{path}', json=json, params=params,
            headers={'OpenStack-API-Version': f'volume {microversion}'},
            timeout=polling.SECONDS)
        return Reply(response.status_code,
                     response.json() if response.content else None,
                     response.headers.get('x-openstack-request-id', ''))

    def manageable_volumes(self, detail: bool = False,
                           **query: str | int) -> Reply:
        path = 'manageable_volumes/detail' if detail else 'manageable_volumes'
        return self.request('GET', path, params={'host': self._host} | query)

    def manage(self, ref: Any, **volume_fields: Any) -> Reply:
        return self.request('POST', 'manageable_volumes', {
            'volume': {'host': self._host, 'ref': ref} | volume_fields})

    def show(self, volume_id: str) -> Reply:
        return self.request('GET', f'volumes/{volume_id}')

    def create(self, size: int, **volume_fields: Any) -> Reply:
        return self.request('POST', 'volumes', {
            'volume': {'size': size} | volume_fields})

    def unmanage(self, volume_id: str) -> Reply:
        return self.request('POST', f'volumes/{volume_id}/action',
                            {'os-unmanage': {}})

    def delete(self, volume_id: str) -> Reply:
        return self.request('DELETE', f'volumes/{volume_id}')

    def set_status(self, volume_id: str, status: str) -> Reply:
        """Reset the status of a volume, as an administrator can."""
        return self.request('POST', f'volumes/{volume_id}/action',
                            {'os-reset_status': {'status': status}})

    def attach(self, volume_id: str, connector: Mapping[str, Any]) -> Reply:
        """Attach a volume without a server, for which Cinder would ask Nova.

        :returns: the answer to the request that creates the attachment
        """
        reply = self.request('POST', 'attachments', {'attachment': {
            'volume_uuid': volume_id, 'connector': connector}})
        if reply.status == 200:
            attachment_id = reply.body['attachment']['id']
            self.request('POST', f'attachments/{attachment_id}/action',
                         {'os-complete': {}})
        return reply

    def wait(self, resource_id: str, *statuses: str,
             kind: str = 'volume') -> dict[str, Any]:
        """Return a volume once it has one of these statuses.

        :param kind: snapshot or backup, for another resource than a volume
        :raises RuntimeError: its status became another one of an error
        """
        def ended(found: dict[str, Any]) -> bool:
            return (found['status'] in statuses
                    or found['status'].startswith('error'))

        found: dict[str, Any] = polling.wait_for(
            f"status {' or '.join(statuses)} of {kind} {resource_id}",
            lambda: self._ask_for(resource_id, kind).body[kind], ended,
            pause=_PAUSE)
        if found['status'] not in statuses:
            raise RuntimeError(f'{kind} {resource_id} did not become '
                               f"{' or '.join(statuses)}: {found}")
        return found

    def wait_until_gone(self, resource_id: str, kind: str = 'volume') -> None:
        """Return once Cinder has no such volume.

        :param kind: snapshot or backup, for another resource than a volume
        :raises RuntimeError: Cinder failed to delete or to unmanage it
        """
        def ended(reply: Reply) -> bool:
            return (reply.status == 404 or reply.body[kind]['status']
                    in ('error_deleting', 'error_unmanaging'))

        reply = polling.wait_for(
            f'removal of {kind} {resource_id}',
            lambda: self._ask_for(resource_id, kind), ended, pause=_PAUSE)
        if reply.status != 404:
            raise RuntimeError(f'Cinder did not remove {kind} {resource_id}: '
                               f'{reply}')

    def _ask_for(self, resource_id: str, kind: str) -> Reply:
        return self.request('GET', f'{kind}s/{resource_id}')


def wait_for_pools(ask: Callable[[], Any], count: int) -> list[str]:
    """Return the names of the scheduler's pools once it has this number.

    Until cinder-volume has reported a pool, the scheduler places no volume
    there.

    :param ask: returns Cinder's answer to GET scheduler-stats/get_pools
    """
    answer = polling.wait_for(
        f'{count} pools in the scheduler', ask,
        lambda answer: len(answer['pools']) == count,
        pause=tenacity.wait_fixed(0.5))
    return sorted(pool['name'] for pool in answer['pools'])
