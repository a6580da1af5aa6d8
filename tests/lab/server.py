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

"""Server: a node that uses volumes over iSCSI, like a compute host."""

from __future__ import annotations

from collections.abc import Mapping
import json
import pathlib

from tests.lab import polling
from tests.lab.nodes import Node

_WRITER = pathlib.Path(__file__).with_name('writer.py')
_LOG = '/run/writer.log'
_PID = '/run/writer.pid'


class Server:
    """A node with an iSCSI initiator.

    :ivar connector: what Cinder needs to know of it to attach a volume
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.connector = {
            'initiator': f'iqn.2026-01.org.lab:{node.name}',
            'ip': node.address, 'host': node.name, 'multipath': False,
            'platform': 'x86_64', 'os_type': 'linux'}
        node.output(f"""set -e
mkdir -p /run/lock/iscsi
echo InitiatorName={self.connector['initiator']} \\
    >/etc/iscsi/initiatorname.iscsi
# Fail requests soon after the target has vanished.
echo node.session.timeo.replacement_timeout = 5 >/etc/iscsi/iscsid.conf
iscsid""")

    def connect(self, connection: Mapping[str, str]) -> str:
        """Log in to a target, and return the device node of its disk.

        :param connection: the connection_info of an attachment
        """
        login = _login(connection)
        settings = ''.join(
            f'{login} -o update -n node.session.auth.{name} '
            f"-v {connection[f'auth_{key}']}\n"
            for name, key in (('authmethod', 'method'),
                              ('username', 'username'),
                              ('password', 'password')))
        self._node.output(f'set -e\n{login} -o new\n{settings}'
                          f'{login} --login')
        find = ('iscsiadm -m session -P 3 | sed -n '
                f"'/{connection['target_iqn']}/,$ s/"
                ".*Attached scsi disk \\(sd[a-z]*\\).*/\\1/p' | head -1")
        return '/dev/' + polling.wait_for(
            'the disk of a target', lambda: self._node.output(find).strip())

    def disconnect(self, connection: Mapping[str, str]) -> None:
        """Log out, even if the target no longer exists."""
        login = _login(connection)
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


def _login(connection: Mapping[str, str]) -> str:
    return (f"iscsiadm -m node -T {connection['target_iqn']} "
            f"-p {connection['target_portal']}")
