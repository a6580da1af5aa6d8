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

"""Server: a node that connects to exports over iSCSI, like a compute host."""

from __future__ import annotations

import json
import pathlib

from tests.lab import polling
from tests.lab.lio import Export
from tests.lab.nodes import Node

_WRITER = pathlib.Path(__file__).with_name('writer.py')
_LOG = '/run/writer.log'
_PID = '/run/writer.pid'


class Server:
    """A node with an iSCSI initiator."""

    def __init__(self, node: Node) -> None:
        self._node = node
        name = f'iqn.2026-01.org.lab:{node.name}'
        node.output(f"""set -e
mkdir -p /run/lock/iscsi
echo InitiatorName={name} >/etc/iscsi/initiatorname.iscsi
# Fail requests soon after the target has vanished.
echo node.session.timeo.replacement_timeout = 5 >/etc/iscsi/iscsid.conf
iscsid""")

    def connect(self, export: Export) -> str:
        """Log in to an export, and return the device node of its disk."""
        login = _node(export)
        self._node.output(f'{login} -o new && {login} --login')
        find = (f"iscsiadm -m session -P 3 | sed -n '/{export.target}/,$ s/"
                ".*Attached scsi disk \\(sd[a-z]*\\).*/\\1/p' | head -1")
        return '/dev/' + polling.wait_for(
            'the disk of an export', lambda: self._node.output(find).strip())

    def disconnect(self, export: Export) -> None:
        """Log out, even if the target no longer exists."""
        login = _node(export)
        self._node.output(f'{login} --logout; {login} -o delete')

    def begin_writing(self, device: str) -> None:
        """Start to write to a disk and to verify that, until it fails."""
        self._node.output(
            f'setsid python3 {_WRITER} write {device} </dev/null >{_LOG} '
            f'2>&1 &\necho $! >{_PID}')

    def writes(self) -> list[int]:
        """Return the number of each write that was acknowledged."""
        return [int(line) for line in self._node.output(
            f'cat {_LOG}').splitlines() if line.isdigit()]

    def is_writing(self) -> bool:
        """Return whether the writing has not failed yet."""
        return self._node.run(f'kill -0 $(cat {_PID})').status == 0

    def stop_writing(self) -> list[int]:
        """Stop writing, and return what writes() returns after that."""
        self._node.run(f'kill $(cat {_PID})')
        polling.wait_for('the writer to end', lambda: not self.is_writing())
        return self.writes()

    def read(self, device: str) -> list[int]:
        """Return the numbers that were written, one for each block."""
        numbers: list[int] = json.loads(self._node.output(
            f'python3 {_WRITER} read {device}'))
        return numbers


def _node(export: Export) -> str:
    return f'iscsiadm -m node -T {export.target} -p {export.portal}'
