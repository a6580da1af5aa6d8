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

"""ManageableClient: requests on manageable volumes and snapshots.

Tempest's own clients use the older os-volume-manage, which cannot list.
"""

from __future__ import annotations

import json
from typing import Any
from urllib import parse

from tempest.lib.common import rest_client
from tempest.lib.services.volume import base_client


class ManageableClient(base_client.BaseClient):
    """Lists and manages; needs microversion 3.8 or newer.

    Each method returns the body of the response. A status of 400 or more
    raises an exception of tempest.lib. Tempest's waiters work with it.
    """

    @property
    def resource_type(self) -> str:
        """What Tempest's waiters call a method for: show_volume."""
        return 'volume'

    def show_volume(self, volume_id: str) -> rest_client.ResponseBody:
        """Return a volume, even if the scheduler has not chosen its pool yet.

        Until then, the host of a volume that is managed by cluster is one
        without a pool, which Tempest's own client does not accept.
        """
        response, body = self.get(f'volumes/{volume_id}')
        self.expected_success(200, response.status)
        return rest_client.ResponseBody(response, json.loads(body))

    def list_volumes(self, detail: bool = False,
                     **query: Any) -> rest_client.ResponseBody:
        """Return one page.

        :param query: host or cluster, and sort, marker, limit and offset
        """
        return self._list('manageable_volumes', detail, query)

    def list_snapshots(self, detail: bool = False,
                       **query: Any) -> rest_client.ResponseBody:
        """Return one page.

        :param query: host or cluster, and sort, marker, limit and offset
        """
        return self._list('manageable_snapshots', detail, query)

    def manage_volume(self, **fields: Any) -> rest_client.ResponseBody:
        """Manage an LV as a volume; fields are those of the request."""
        return self._manage('manageable_volumes', 'volume', fields)

    def manage_snapshot(self, **fields: Any) -> rest_client.ResponseBody:
        """Manage an LV as a snapshot; fields are those of the request."""
        return self._manage('manageable_snapshots', 'snapshot', fields)

    def _list(self, path: str, detail: bool,
              query: dict[str, Any]) -> rest_client.ResponseBody:
        # A marker is the reference of an entry.
        words = {key: json.dumps(value) if isinstance(value, dict) else value
                 for key, value in query.items()}
        response, body = self.get(f"{path}{'/detail' if detail else ''}"
                                  f'?{parse.urlencode(words)}')
        self.expected_success(200, response.status)
        return rest_client.ResponseBody(response, json.loads(body))

    def _manage(self, path: str, kind: str,
                fields: dict[str, Any]) -> rest_client.ResponseBody:
        response, body = self.post(path, json.dumps({kind: fields}))
        self.expected_success(202, response.status)
        return rest_client.ResponseBody(response, json.loads(body))
