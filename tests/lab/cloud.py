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

"""A cloud as operators run it: Keystone, and Cinder in several processes.

cinder-api, cinder-scheduler and a cinder-volume on each of two hosts use
MariaDB and RabbitMQ. In a guest, where starting a process takes long, the
cloud is smaller: Cinder is one process, and the databases are SQLite. But a
guest has a device-mapper, so this cloud also has iSCSI, Glance with an image,
and backups.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import os
import pathlib
import sys

from oslo_utils import units

from tests.lab import controller
from tests.lab import glance
from tests.lab import infrastructure
from tests.lab import keystone
from tests.lab import processes
from tests.lab import service_conf
from tests.lab.deployment import Backend
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.service_conf import SCRIPTS
from tests.lab.volume_api import wait_for_pools

# Each is the name of a host, of its backend and of its volume group.
NAMES = ('one', 'two')
_CHECKOUT = pathlib.Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Cloud:
    """A running cloud.

    :ivar cinder_url: of the volume API, version 3
    :ivar pools: of both backends, host@backend#pool
    :ivar groups: their volume groups
    :ivar image: id of a public image; None where there is no Glance
    """

    identity: keystone.Keystone
    cinder_url: str
    pools: list[str]
    groups: tuple[ScratchVolumeGroup, ...]
    image: str | None


@contextlib.contextmanager
def running(folder: pathlib.Path, volume_driver: str,
            small: bool = False) -> Iterator[Cloud]:
    """Run a cloud with two backends of this driver.

    :param folder: for its files and logs
    :param small: use few processes, and device-mapper
    """
    scratch = functools.partial(ScratchVolumeGroup, device_mapper=small,
                                physical_volumes=1)
    with contextlib.ExitStack() as cleanup:
        one = cleanup.enter_context(scratch(NAMES[0]))
        two = cleanup.enter_context(scratch(NAMES[1], beside=one))
        backends = [
            Backend(group, service_conf.ISCSI if small else {}, group.name,
                    volume_driver)
            for group in (one, two)]
        if small:
            databases = {name: f'sqlite:///{folder}/{name}.sqlite'
                         for name in ('keystone', 'cinder', 'glance')}
            transport_url = 'fake://'
        else:
            databases = cleanup.enter_context(
                infrastructure.mariadb(folder, ('keystone', 'cinder')))
            transport_url = cleanup.enter_context(
                infrastructure.rabbitmq(folder))
        identity = cleanup.enter_context(
            keystone.running(folder, databases['keystone']))
        image = None
        images: dict[str, str] = {}
        if small:
            images_url = cleanup.enter_context(glance.running(
                folder, databases['glance'], identity.conf()))
            identity.offer('image', 'glance', images_url)
            image = _image(identity, images_url)
            images = {'glance_api_servers': images_url}
        conf: service_conf.Sections = {
            'DEFAULT': {
                'transport_url': transport_url,
                'auth_strategy': 'keystone',
                **images,
            },
            'database': {'connection': databases['cinder']},
            'keystone_authtoken': identity.conf(),
        }
        cinder = _Cinder(cleanup, folder, conf, one.environment)
        port = (cinder.start_one_process if small
                else cinder.start_processes)(backends)
        url = f'http://127.0.0.1:{port}/v3'
        identity.offer('block-storage', 'cinder', url)
        pools = wait_for_pools(lambda: identity.admin.get(
            f'{url}/scheduler-stats/get_pools').json(), len(NAMES))
        yield Cloud(identity, url, pools, (one, two), image)


def _image(identity: keystone.Keystone, images_url: str) -> str:
    """Make a public image, and return its id."""
    url = f'{images_url}/v2/images'
    image = identity.admin.post(url, json={
        'name': 'raw', 'visibility': 'public', 'disk_format': 'raw',
        'container_format': 'bare'}).json()['id']
    identity.admin.put(f'{url}/{image}/file', data=os.urandom(units.Mi),
                       headers={'Content-Type': 'application/octet-stream'})
    return str(image)


@dataclasses.dataclass(frozen=True)
class _Cinder:
    """The services of Cinder, which `cleanup` stops.

    :ivar conf: what they all have in their configuration
    """

    cleanup: contextlib.ExitStack
    folder: pathlib.Path
    conf: service_conf.Sections
    environment: dict[str, str]

    def start_one_process(self, backends: list[Backend]) -> int:
        """Start all of Cinder, and return the port of the API."""
        port = processes.free_port()
        conf = self._write('cinder', backends,
                           {'DEFAULT': {'osapi_volume_listen_port': port,
                                        'osapi_volume_workers': 1}})
        self._start('cinder', '-m', 'tests.lab.cinder_server', str(conf),
                    up=lambda: processes.accepts(port))
        return port

    def start_processes(self, backends: list[Backend]) -> int:
        """Start all of Cinder, and return the port of the API."""
        port = self.cleanup.enter_context(
            controller.running(self.folder, self.conf))
        for backend in backends:
            name = f'cinder-volume-{backend.name}'
            conf = self._write(name, [backend],
                               {'DEFAULT': {'host': backend.name}})
            self._start(name, str(SCRIPTS / 'cinder-volume'), '--config-file',
                        str(conf), up=lambda: True)
        return port

    def _write(self, name: str, backends: list[Backend],
               own: service_conf.Sections) -> pathlib.Path:
        path = self.folder / f'{name}.conf'
        sections = {backend.name: backend.section() for backend in backends}
        return service_conf.write(path, service_conf.cinder(path, sections),
                                  self.conf, own)

    def _start(self, name: str, *arguments: str,
               up: Callable[[], object]) -> None:
        """Start a Python program that logs to `name`.log."""
        path = f"{SCRIPTS}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        self.cleanup.enter_context(processes.running(
            sys.executable, *arguments, log=self.folder / f'{name}.log',
            cwd=_CHECKOUT, environment={**self.environment, 'PATH': path},
            up=up))
