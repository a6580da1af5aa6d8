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


"""SharedBackend: two cinder-volume services of one cluster; Cluster: a Cinder.

Both services run on this machine, each as if on a host of its own, and share a
volume group. lvmlockd_stand_in.py stands in for LVM's lock manager and
recorded_targets.py for LIO's targets. cluster_hosts.py has real hosts.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import sys
from typing import Any

import sqlalchemy

from tests.lab import controller
from tests.lab import infrastructure
from tests.lab import polling
from tests.lab import processes
from tests.lab import recorded_targets
from tests.lab import service_conf
from tests.lab.faulty_lvm import FaultyLvm
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.service_conf import SCRIPTS
from tests.lab.shared_lvm import SharedLvm
from tests.lab.volume_api import PROJECT
from tests.lab.volume_api import VolumeApi
from tests.lab.volume_api import wait_for_pools

HOSTS = ('node1', 'node2')
# The names with which requests refer to the backend.
CLUSTER = 'lab@lvm#lvm'
_DRIVER = 'cinder_lvm_manage.driver.LVMManageDriver'
_CHECKOUT = pathlib.Path(__file__).parents[2]


class Node:
    """A host with cinder-volume.

    :ivar lvm: its LVM commands; a test can make one of them fail
    :ivar log_path: of cinder-volume
    """

    def __init__(self, name: str, folder: pathlib.Path, shared_lvm: SharedLvm,
                 group: ScratchVolumeGroup,
                 cleanup: contextlib.ExitStack) -> None:
        self.name = name
        self._conf_path = folder / f'{name}.conf'
        self._options_path = folder / f'{name}-options.conf'
        self.log_path = folder / f'{name}.log'
        self._exports = folder / f'{name}-exports'
        commands = folder / f'{name}-commands'
        commands.mkdir()
        stand_ins = folder / f'{name}-stand-ins'
        stand_ins.mkdir()
        recorded_targets.write(stand_ins, self._exports)
        self.lvm = FaultyLvm(
            commands, group.name,
            f'{stand_ins}{os.pathsep}{shared_lvm.path(name)}',
            [recorded_targets.COMMAND])
        self._environment = {**group.environment, 'PYTHONPATH': str(_CHECKOUT)}
        self._cleanup = cleanup

    def configure(self, backend: service_conf.Options,
                  conf: service_conf.Sections) -> None:
        """Write its cinder.conf."""
        service_conf.write(
            self._conf_path,
            service_conf.cinder(self._conf_path, {'lvm': backend}), conf, {
                'DEFAULT': {'host': self.name, 'cluster': 'lab',
                            # Logging them takes longer than anything else.
                            'log_options': 'false'},
                'oslo_concurrency': {
                    'lock_path': self._conf_path.with_suffix('.lock')}})

    def start(self, **options: str) -> None:
        """Start cinder-volume, and return when it can be used.

        :param options: of [DEFAULT], for this process
        """
        written = len(self.log())
        service_conf.write(self._options_path, {'DEFAULT': options})
        self._process = self._cleanup.enter_context(processes.running(
            sys.executable, str(SCRIPTS / 'cinder-volume'), '--config-file',
            str(self._conf_path), '--config-file', str(self._options_path),
            log=self.log_path, cwd=_CHECKOUT,
            environment={**self._environment,
                         'PATH': f'{self.lvm.path}{os.pathsep}{SCRIPTS}'},
            up=lambda: 'post RPC initialization completed' in self.log(
                written)))

    def kill(self) -> None:
        """Kill cinder-volume and the commands that it runs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def is_up(self) -> bool:
        """Return whether cinder-volume runs."""
        return self._process.poll() is None

    def log(self, skip: int = 0) -> str:
        """Return its log, without this number of characters at its start."""
        return (self.log_path.read_text(errors='replace')[skip:]
                if self.log_path.exists() else '')

    def lose_exports(self) -> None:
        """Remove its exports, as when the kernel of a host stops."""
        for path in self._exports.glob('*'):
            path.unlink()

    def exports(self) -> dict[str, list[str]]:
        """Return the initiators of each export, by the LV's name."""
        return {path.name.rpartition(':')[2]: path.read_text().split()
                for path in self._exports.glob('*')}


class SharedBackend:
    """The hosts of a cluster, on which cinder-volume runs.

    :ivar group: their volume group
    :ivar nodes: by name
    :ivar lvm: which host has which LV active
    """

    def __init__(self, folder: pathlib.Path,
                 group: ScratchVolumeGroup) -> None:
        """Describe the hosts; start() starts their services.

        :param folder: for their files and logs
        """
        self._folder = folder
        self.group = group

    def start(self, conf: service_conf.Sections,
              cleanup: contextlib.ExitStack) -> None:
        """Start cinder-volume on each host, until `cleanup` stops it.

        :param conf: what is added to the options that every Cinder of the labs
            has
        """
        state = self._folder / 'shared'
        state.mkdir()
        self.lvm = SharedLvm(state)
        backend = {
            **service_conf.lvm_backend(self.group, 'lvm', _DRIVER),
            'target_helper': 'lioadm',
            'lvm_manage_without_device_mapper': False,
            'lvm_manage_local_coordinator': True}
        self.nodes = {}
        for name in HOSTS:
            node = Node(name, self._folder, self.lvm, self.group, cleanup)
            node.configure(backend, conf)
            node.start()
            self.nodes[name] = node

    def exports(self) -> list[tuple[str, str]]:
        """Return each export: its host and the name of its LV."""
        return [(name, lv) for name, node in self.nodes.items()
                for lv in node.exports()]


class Cluster(SharedBackend):
    """A context manager: the running services, with the rest of Cinder.

    :ivar url: of cinder-api, with a project
    :ivar api: a client of cinder-api
    """

    def __init__(self, folder: pathlib.Path,
                 group: ScratchVolumeGroup) -> None:
        super().__init__(folder, group)
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Cluster:
        with contextlib.ExitStack() as cleanup:
            folder = self._folder
            databases = cleanup.enter_context(
                infrastructure.mariadb(folder, ['cinder']))
            self._database = sqlalchemy.create_engine(databases['cinder'])
            cleanup.callback(self._database.dispose)
            transport_url = cleanup.enter_context(
                infrastructure.rabbitmq(folder))
            common: service_conf.Sections = {
                'DEFAULT': {'transport_url': transport_url,
                            # Commands of periodic tasks would be counted.
                            'periodic_interval': 3600,
                            **service_conf.UNLIMITED},
                'database': {'connection': databases['cinder']}}
            port = cleanup.enter_context(controller.running(folder, common))
            self.start(common, cleanup)
            self.url = f'http://127.0.0.1:{port}/v3/{PROJECT}'
            self.api = VolumeApi(self.url, '')
            wait_for_pools(lambda: self.api.request(
                'GET', 'scheduler-stats/get_pools').body, 1)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._cleanup.close()

    def manage(self, lv_name: str, **volume_fields: Any) -> str:
        """Start to manage an LV, and return the volume's id."""
        reply = self.api.request('POST', 'manageable_volumes', {'volume': {
            'cluster': CLUSTER, 'ref': {'source-name': lv_name},
            **volume_fields}})
        if reply.status != 202:
            raise RuntimeError(f'{reply}')
        volume_id: str = reply.body['volume']['id']
        return volume_id

    def attach(self, volume_id: str, initiator: str = 'iqn.lab:one') -> Any:
        """Attach a volume, and return the attachment."""
        reply = self.api.attach(volume_id, {
            'initiator': initiator, 'host': 'compute', 'ip': '127.0.0.1',
            'multipath': False})
        if reply.status != 200:
            raise RuntimeError(f'{reply}')
        return reply.body['attachment']

    def detach(self, attachment: Any) -> int:
        """Delete an attachment, and return the status code."""
        return self.api.request('DELETE', f'attachments/{attachment["id"]}'
                                ).status

    def left(self) -> tuple[dict[str, str], set[str], dict[str, str],
                            list[tuple[str, str]]]:
        """Return what a test has left, and drop the locks of all hosts.

        :returns: the UUIDs of the LVs by name, all tags, the hosts of active
            LVs, and the exports
        """
        names = self.group.names()
        tags = set().union(*map(self.group.tags, names))
        active = self.lvm.active()
        for host in HOSTS:
            self.lvm.expire(host)
        return names, tags, active, self.exports()

    def clear(self) -> None:
        """Remove what a failed test has left, and start all services."""
        for name, node in self.nodes.items():
            node.lvm.resume()
            node.lose_exports()
            self.lvm.expire(name)
        if self.group.names():
            self.group.lvm('lvremove', '--yes', self.group.name)
        for node in self.nodes.values():
            if not node.is_up():
                node.start()

    def wait_for_end(self, volume_id: str) -> str:
        """Return the status of a volume once its manage has ended."""
        status: str = polling.wait_for(
            f'the end of the manage of {volume_id}',
            lambda: self.api.show(volume_id).body['volume']['status'],
            lambda status: status in ('available', 'error'))
        return status

    def wait_until_halted(self) -> Node:
        """Return the node whose LVM command has halted."""
        halted, *_ = polling.wait_for(
            'an LVM command to halt', lambda: [
                node for node in self.nodes.values() if node.lvm.halted])
        return halted

    def let_answer(self, host: str) -> None:
        """Make a given service answer the next request by cluster.

        RabbitMQ passes requests to the services in turn.
        """
        def answered_by_another() -> bool:
            lvm = self.nodes[host].lvm
            lvm.mend()
            self.api.request('GET', 'manageable_volumes',
                             params={'cluster': CLUSTER})
            return not lvm.calls

        polling.wait_for(f'the turn of {host}', answered_by_another)

    def report_down(self, host: str) -> None:
        """Have Cinder regard a service that was killed as down at once."""
        with self._database.begin() as connection:
            connection.execute(sqlalchemy.text(
                'UPDATE services SET updated_at = :long_ago '
                'WHERE host = :host'), {
                    'long_ago': '2000-01-01', 'host': f'{host}@lvm'})

    def fail(self, host: str) -> None:
        """Simulate that a host fails; its cinder-volume was killed before.

        Its locks expire, and its exports are lost.
        """
        self.lvm.expire(host)
        self.nodes[host].lose_exports()
