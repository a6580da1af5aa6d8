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

"""Attempts: operations on volumes of a cluster, and how each of them ends.

Cinder accepts a request and performs it later. So an operation has ended when
the status of its volume shows that.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import re
import time
from typing import Any

import tenacity

from tests.lab import polling
from tests.lab.cluster_hosts import Cluster
from tests.lab.volume_api import Reply

# An initiator that never connects: the export is only created.
_CONNECTOR = {'initiator': 'iqn.2026-01.org.lab:server', 'ip': '10.9.0.254',
              'host': 'server', 'multipath': False, 'platform': 'x86_64',
              'os_type': 'linux'}
_PAUSE = tenacity.wait_fixed(0.3)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How an operation ended.

    :ivar error: Cinder's error; empty if the operation succeeded
    :ivar seconds: from the request to the end
    :ivar host: the host whose cinder-volume received it; empty if none did
    :ivar result: what the API returned
    """

    error: str
    seconds: float
    host: str
    result: Any

    def __str__(self) -> str:
        how = 'refused' if self.error else 'done'
        return f'{how}, {self.seconds:.0f} s'


class Attempts:
    """The operations, each of which returns its Outcome."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._api = cluster.api

    def create(self, name: str) -> Outcome:
        """Create a volume of 1 GiB; the result is its ID."""
        return self._volume('POST', 'volumes',
                            {'volume': {'size': 1, 'name': name}})

    def manage(self, lv_name: str, host: str | None = None) -> Outcome:
        """Manage an LV; the result is the volume's ID.

        :param host: host@backend#pool; by default, the request names the
            cluster
        """
        backend = {'host': host} if host else {'cluster': self._cluster.name}
        return self._volume('POST', 'manageable_volumes', {'volume': {
            **backend, 'ref': {'source-name': lv_name}}})

    def _volume(self, method: str, path: str, body: Any) -> Outcome:
        start = time.monotonic()
        reply = self._send(method, path, body)
        if reply.status >= 400:
            return self._outcome(start, reply, error=str(reply.body))
        volume_id = reply.body['volume']['id']
        return self._ended(start, reply, volume_id, ('available',),
                           result=volume_id)

    def extend(self, volume_id: str) -> Outcome:
        """Extend a volume by 1 GiB."""
        volume = self._api.show(volume_id).body['volume']
        return self._act(volume_id, {'os-extend': {
            'new_size': volume['size'] + 1}}, volume['status'])

    def unmanage(self, volume_id: str) -> Outcome:
        """Unmanage a volume."""
        return self._act(volume_id, {'os-unmanage': {}}, 'gone')

    def delete(self, volume_id: str) -> Outcome:
        """Delete a volume."""
        start = time.monotonic()
        reply = self._send('DELETE', f'volumes/{volume_id}')
        return self._ended(start, reply, volume_id, ('gone',))

    def create_snapshot(self, volume_id: str) -> Outcome:
        """Take a snapshot of a volume; the result is its ID."""
        start = time.monotonic()
        reply = self._send('POST', 'snapshots', {'snapshot': {
            'volume_id': volume_id, 'force': True}}, '3.65')
        if reply.status >= 400:
            return self._outcome(start, reply, error=str(reply.body))
        snapshot_id = reply.body['snapshot']['id']
        return self._ended(start, reply, snapshot_id, ('available',),
                           'snapshot', snapshot_id)

    def delete_snapshot(self, snapshot_id: str) -> Outcome:
        """Delete a snapshot."""
        start = time.monotonic()
        reply = self._send('DELETE', f'snapshots/{snapshot_id}')
        return self._ended(start, reply, snapshot_id, ('gone',), 'snapshot')

    def attach(self, volume_id: str,
               connector: Mapping[str, Any] = _CONNECTOR) -> Outcome:
        """Attach a volume; the result is the attachment."""
        start = time.monotonic()
        reply = self._api.attach(volume_id, connector)
        if reply.status >= 400:
            return self._outcome(start, reply, error=str(reply.body))
        return self._outcome(start, reply, result=reply.body['attachment'])

    def detach(self, attachment_id: str) -> Outcome:
        """Delete an attachment."""
        start = time.monotonic()
        reply = self._send('DELETE', f'attachments/{attachment_id}')
        return self._outcome(
            start, reply, error=str(reply.body) if reply.status >= 400 else '')

    def list(self) -> Outcome:
        """List what the cluster can manage; the result is the rows."""
        start = time.monotonic()
        reply = self._api.request(
            'GET', 'manageable_volumes/detail',
            params={'cluster': self._cluster.name}, microversion='3.17')
        if reply.status >= 400:
            return self._outcome(start, reply, error=str(reply.body))
        return self._outcome(start, reply,
                             result=reply.body['manageable-volumes'])

    def _act(self, volume_id: str, action: Any, status: str) -> Outcome:
        start = time.monotonic()
        reply = self._send('POST', f'volumes/{volume_id}/action', action)
        return self._ended(start, reply, volume_id, (status,))

    def _send(self, method: str, path: str, body: Any = None,
              microversion: str = '3.70') -> Reply:
        return self._api.request(method, path, body,
                                 microversion=microversion)

    def _ended(self, start: float, reply: Reply, resource_id: str,
               statuses: tuple[str, ...], kind: str = 'volume',
               result: Any = None) -> Outcome:
        if reply.status >= 400:
            return self._outcome(start, reply, error=str(reply.body))

        def status() -> str:
            found = self._send('GET', f'{kind}s/{resource_id}')
            return ('gone' if found.status == 404
                    else str(found.body[kind]['status']))

        last = polling.wait_for(
            f'the end of an operation on {kind} {resource_id}', status,
            lambda status: status in statuses or 'error' in status,
            pause=_PAUSE)
        return self._outcome(
            start, reply, error='' if last in statuses
            else f'status {last}', result=result)

    def _outcome(self, start: float, reply: Reply, error: str = '',
                 result: Any = None) -> Outcome:
        seconds = time.monotonic() - start
        return Outcome(error, seconds, self._receiver(reply), result)

    def _receiver(self, reply: Reply) -> str:
        """Return the host in whose log the request appeared first."""
        found = {}
        for node in self._cluster.nodes:
            if not node.is_running:
                continue
            first = node.run(f'grep --max-count 1 {reply.request_id} '
                             f'{self._cluster.log(node)}').output
            if match := re.match(r'\S+ \S+', first):
                found[match[0]] = node.name
        return found[min(found)] if found else ''
