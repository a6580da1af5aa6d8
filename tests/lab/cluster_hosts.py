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

"""Cluster: a real Cinder whose nodes share a volume group.

cinder-volume runs on each node, under LVM's real lock manager. MariaDB,
RabbitMQ, etcd, cinder-scheduler and cinder-api run on this machine, as on a
controller.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent import futures
import contextlib
import json
import pathlib

from tests.lab import controller
from tests.lab import infrastructure
from tests.lab import nodes
from tests.lab import polling
from tests.lab import service_conf
from tests.lab.nodes import Node
from tests.lab.service_conf import SCRIPTS
from tests.lab.volume_api import PROJECT
from tests.lab.volume_api import VolumeApi
from tests.lab.volume_api import wait_for_pools

VOLUME_GROUP = 'vg'
_BACKEND = 'lvm'
# What cinder-volume logs when its driver can be used.
_READY = 'Driver post RPC initialization completed successfully'
_SERVICE_PID = '/run/service.pid'
_CHECKOUT = pathlib.Path(__file__).parents[2]

_START_UNIT = """
unit=/lib/systemd/system/{unit}.service
settings=$(sed -n 's/^EnvironmentFile=-//p' $unit)
[ ! -f "$settings" ] || . "$settings"
eval "$(sed -n 's/^ExecStartPre=//p' $unit)"
command=$(sed -n 's/^ExecStart=//p' $unit)
if grep -q Type=notify $unit; then
    eval "setsid $command" </dev/null >/dev/null 2>&1 &
else
    eval "$command"
fi
"""


def on_each(do: Callable[[Node], object], hosts: Sequence[Node]) -> None:
    """Do something on several nodes at the same time."""
    with futures.ThreadPoolExecutor() as pool:
        list(pool.map(do, hosts))


def start_lock_manager(node: Node) -> None:
    """Configure and start lvmlockd and sanlock.

    A watchdog resets the node if sanlock cannot renew its lease.
    """
    node.output(f"""set -e
sed -i 's/# use_lvmlockd = 0/use_lvmlockd = 1/' /etc/lvm/lvm.conf
echo 'local {{ host_id = {node.number} }}' >/etc/lvm/lvmlocal.conf
""")
    if node.kind.watchdog:
        node.output("sed -i 's/^sanlock_opts=.*/sanlock_opts=/' "
                    '/etc/default/sanlock')
        start_unit(node, 'wdmd')
    for unit in ('sanlock', 'lvmlockd'):
        start_unit(node, unit)


def start_unit(node: Node, unit: str) -> None:
    """Start the service of a systemd unit; a node does not run systemd."""
    node.output(_START_UNIT.format(unit=unit))
    if unit == 'lvmlockd':
        polling.wait_for(unit, lambda: node.run(
            'lvmlockctl --info').status == 0)


def create_group(node: Node) -> None:
    """Make the shared volume group."""
    node.output(f'vgcreate --shared --setautoactivation n {VOLUME_GROUP} '
                f'{node.kind.disk}')


def join_group(node: Node) -> None:
    """Start the group's locks on another node."""
    start = f'vgchange --lockstart {VOLUME_GROUP}'
    # Without udevd, the device node of the LV with the locks appears too late.
    node.output(f'{start} || {{ dmsetup mknodes; {start}; }}')


def create_inactive(node: Node, lv_name: str) -> None:
    """Make an LV of 64 MiB that is active on no node."""
    node.output('lvcreate --yes --activate n --zero n --wipesignatures n '
                f'--size 64m --name {lv_name} {VOLUME_GROUP}')


def is_free(node: Node, lv_name: str) -> bool:
    """Return whether a node can activate an LV; it is inactive afterwards."""
    path = f'{VOLUME_GROUP}/{lv_name}'
    return node.run(f'lvchange --activate y {path} && '
                    f'lvchange --activate n {path}').status == 0


def restart(node: Node) -> None:
    """Boot a node that was killed, with its locks."""
    node.start()
    start_lock_manager(node)
    join_group(node)


class Cluster:
    """A running cluster.

    :ivar name: as requests name it, cluster@backend#pool
    :ivar nodes: the hosts of cinder-volume
    :ivar api: a client of cinder-api
    :ivar url: of cinder-api, with the project
    """

    name = f'lab@{_BACKEND}#{_BACKEND}'

    def __init__(self, running: Sequence[Node], url: str,
                 folder: pathlib.Path, conf: service_conf.Sections) -> None:
        self.nodes = running
        self.url = url
        self.api = VolumeApi(url, self.name)
        self._folder = folder
        self._conf = conf

    def start_service(self, node: Node) -> None:
        """Start cinder-volume, and return when it can be used."""
        path = self._folder / f'{node.name}.conf'
        state = '/var/lib/cinder'
        service_conf.write(
            path, service_conf.cinder(path, {_BACKEND: _backend(node)}),
            self._conf, {
                'DEFAULT': {'host': node.name, 'cluster': 'lab',
                            'my_ip': node.address, 'state_path': state},
                'oslo_concurrency': {'lock_path': f'{state}/lock'}})
        started = self._starts(node)
        node.output(f"""
mkdir -p {state} /etc/target
cd {_CHECKOUT}
# A virtual machine's root file system, 9p, has no Unix sockets.
export PATH={SCRIPTS}:$PATH TMPDIR=/run
setsid cinder-volume --config-file {path} </dev/null >>{self.log(node)} 2>&1 &
echo $! >{_SERVICE_PID}""")
        polling.wait_for(f'cinder-volume of {node.name}',
                         lambda: self._starts(node) > started)

    def kill_service(self, node: Node) -> None:
        """Kill cinder-volume with all that it has started."""
        node.output(f'kill -KILL -- -$(cat {_SERVICE_PID})')

    def reset(self, volume_id: str) -> None:
        """Reset the status that a failed operation has left.

        The new status is in-use if the volume is attached, else available.
        """
        volume = self.api.show(volume_id).body['volume']
        status = 'in-use' if volume['attachments'] else 'available'
        self.api.request('POST', f'volumes/{volume_id}/action', {
            'os-reset_status': {'status': status,
                                'attach_status': 'attached' if
                                volume['attachments'] else 'detached'}})

    def log(self, node: Node) -> str:
        """Return the path of cinder-volume's log, on the node."""
        return str(self._folder / f'cinder-volume-{node.name}.log')

    def node(self, name: str) -> Node:
        """Return the node of that name."""
        node, = (node for node in self.nodes if node.name == name)
        return node

    def lvs(self) -> dict[str, dict[str, str]]:
        """Return the name, UUID, size and tags of each LV, by its name."""
        node = next(node for node in self.nodes if node.is_running)
        printed = node.output(
            'lvs --reportformat json --options lv_name,lv_uuid,lv_size,lv_tags'
            f' {VOLUME_GROUP} 2>/dev/null')
        return {row['lv_name']: row
                for row in json.loads(printed)['report'][0]['lv']}

    def active(self, node: Node) -> set[str]:
        """Return the LVs that are active on a node."""
        return set(node.output(
            'lvs --noheadings --options lv_name --select lv_active=active '
            f'{VOLUME_GROUP} 2>/dev/null').split())

    def targets(self, node: Node) -> set[str]:
        """Return the volumes that a node exports."""
        return {name.rpartition(':volume-')[2] for name in node.output(
            'ls /sys/kernel/config/target/iscsi 2>/dev/null || true').split()
            if ':volume-' in name}

    def exporting(self, volume_id: str) -> str:
        """Return the name of the only node that exports a volume.

        :raises ValueError: none does, or several do
        """
        name, = (node.name for node in self.nodes
                 if node.is_running and volume_id in self.targets(node))
        return name

    def owner_and_other(self, volume_id: str) -> tuple[Node, Node]:
        """Return the node that exports a volume, and the other one."""
        name = self.exporting(volume_id)
        owner, other = sorted(self.nodes, key=lambda node: node.name != name)
        return owner, other

    def _starts(self, node: Node) -> int:
        """Return how often the driver has started on a node."""
        # The API says that a service is up before its driver is.
        return int(node.run(f"grep --count '{_READY}' {self.log(node)} "
                            '2>/dev/null').output or 0)


def _backend(node: Node) -> service_conf.Options:
    return {
        'volume_driver': service_conf.OURS,
        'volume_backend_name': _BACKEND,
        'volume_group': VOLUME_GROUP,
        'lvm_type': 'default',
        'lvm_suppress_fd_warnings': 'true',
        'target_helper': 'lioadm',
        'target_protocol': 'iscsi',
        'target_ip_address': node.address,
        'volume_clear': 'none',
    }


@contextlib.contextmanager
def running(folder: pathlib.Path,
            hosts: Sequence[Node]) -> Iterator[Cluster]:
    """Run Cinder on nodes that have the volume group.

    :param folder: for its files and logs
    """
    with contextlib.ExitStack() as cleanup:
        databases = cleanup.enter_context(infrastructure.mariadb(
            folder, ('cinder',), nodes.ADDRESS))
        conf: service_conf.Sections = {
            'DEFAULT': {
                'transport_url': cleanup.enter_context(
                    infrastructure.rabbitmq(folder, nodes.ADDRESS)),
                **service_conf.UNLIMITED,
                # Starting cinder-rtstool can take that long on a guest.
                'rpc_response_timeout': 300,
            },
            'database': {'connection': databases['cinder']},
            'coordination': {'backend_url': cleanup.enter_context(
                infrastructure.etcd(folder, nodes.ADDRESS))},
        }
        port = cleanup.enter_context(controller.running(folder, conf))
        cluster = Cluster(hosts, f'http://127.0.0.1:{port}/v3/{PROJECT}',
                          folder, conf)
        on_each(cluster.start_service, hosts)
        wait_for_pools(lambda: cluster.api.request(
            'GET', 'scheduler-stats/get_pools').body, 1)
        yield cluster
