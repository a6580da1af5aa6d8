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

"""A cloud as operators run theirs: Keystone, and Cinder in its processes.

cinder-api, cinder-scheduler and a cinder-volume on each of two hosts, with
MariaDB and RabbitMQ between them. Where starting processes is dear the cloud
is smaller: Cinder in one process, and SQLite. That one has a device-mapper,
and what can be done there alone: iSCSI, Glance with an image, and backups.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
import configparser
import contextlib
import dataclasses
import functools
import os
import pathlib
import subprocess
import sys
import sysconfig
from typing import Any

from oslo_utils import units

from tests.lab import glance
from tests.lab import infrastructure
from tests.lab import keystone
from tests.lab import processes
from tests.lab.deployment import Backend
from tests.lab.deployment import cinder_conf
from tests.lab.deployment import ISCSI
from tests.lab.deployment import wait_for_pools
from tests.lab.scratch import ScratchVolumeGroup

# Of the hosts; each has a backend and a volume group of its own, so called.
NAMES = ('one', 'two')
_SCRIPTS = pathlib.Path(sysconfig.get_path('scripts'))
_CHECKOUT = pathlib.Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Cloud:
    """A cloud that runs.

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
    """Within it, a cloud with two backends of this driver is up.

    :param folder: for its files and logs
    :param small: in few processes and with device-mapper
    """
    scratch = functools.partial(ScratchVolumeGroup, device_mapper=small,
                                physical_volumes=1)
    with contextlib.ExitStack() as cleanup:
        one = cleanup.enter_context(scratch(NAMES[0]))
        two = cleanup.enter_context(scratch(NAMES[1], beside=one))
        backends = [
            Backend(group, ISCSI if small
                    or not volume_driver.startswith('cinder_lvm_manage')
                    else {'lvm_manage_without_device_mapper': 'true'},
                    group.name, volume_driver)
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
        port = processes.free_port()
        image = None
        images: dict[str, str] = {}
        if small:
            images_url = cleanup.enter_context(glance.running(
                folder, databases['glance'], identity.conf()))
            identity.offer('image', 'glance', images_url)
            image = _image(identity, images_url)
            images = {'glance_api_servers': images_url}
        conf: dict[str, dict[str, Any]] = {
            'DEFAULT': {
                'transport_url': transport_url,
                'auth_strategy': 'keystone',
                'osapi_volume_listen_port': port,
                'osapi_volume_workers': '1',
                **images,
            },
            'database': {
                'connection': databases['cinder'],
                'sqlite_synchronous': 'false',
            },
            'keystone_authtoken': identity.conf(),
        }
        start = _one_process if small else _processes
        start(cleanup, folder, conf, backends, one.environment)
        url = f'http://127.0.0.1:{port}/v3'
        identity.offer('block-storage', 'cinder', url)
        pools = wait_for_pools(lambda: identity.admin.get(
            f'{url}/scheduler-stats/get_pools').json(), len(NAMES))
        yield Cloud(identity, url, pools, (one, two), image)


def _image(identity: keystone.Keystone, images_url: str) -> str:
    """The id of a new image that all may use."""
    url = f'{images_url}/v2/images'
    image = identity.admin.post(url, json={
        'name': 'raw', 'visibility': 'public', 'disk_format': 'raw',
        'container_format': 'bare'}).json()['id']
    identity.admin.put(f'{url}/{image}/file', data=os.urandom(units.Mi),
                       headers={'Content-Type': 'application/octet-stream'})
    return str(image)


def _one_process(cleanup: contextlib.ExitStack, folder: pathlib.Path,
                 conf: Mapping[str, Mapping[str, Any]],
                 backends: list[Backend],
                 environment: Mapping[str, str]) -> None:
    conf_path = _write(folder / 'cinder.conf', conf, backends)
    cleanup.enter_context(processes.running(
        sys.executable, '-m', 'tests.lab.cinder_server', str(conf_path),
        log=folder / 'cinder.log', environment=environment, cwd=_CHECKOUT,
        up=lambda: processes.accepts(
            int(conf['DEFAULT']['osapi_volume_listen_port']))))


def _processes(cleanup: contextlib.ExitStack, folder: pathlib.Path,
               conf: Mapping[str, Mapping[str, Any]],
               backends: list[Backend],
               environment: Mapping[str, str]) -> None:
    common = _write(folder / 'cinder.conf', conf, [])
    with (folder / 'cinder-manage.log').open('wb') as log:
        subprocess.run(
            [_SCRIPTS / 'cinder-manage', '--config-file', common, 'db',
             'sync'], check=True, stdout=log, stderr=log)

    def start(command: str, conf_path: pathlib.Path, name: str,
              port: int | None = None) -> None:
        cleanup.enter_context(processes.running(
            str(_SCRIPTS / command), '--config-file', str(conf_path),
            log=folder / f'{name}.log',
            environment={**environment, 'PATH': _path()},
            up=lambda: port is None or processes.accepts(port)))

    for backend in backends:
        host = {'DEFAULT': {**conf['DEFAULT'], 'host': backend.name}}
        start('cinder-volume',
              _write(folder / f'cinder-{backend.name}.conf',
                     {**conf, **host}, [backend]),
              f'cinder-volume-{backend.name}')
    start('cinder-scheduler', common, 'cinder-scheduler')
    start('cinder-api', common, 'cinder-api',
          int(conf['DEFAULT']['osapi_volume_listen_port']))


def _write(path: pathlib.Path, sections: Mapping[str, Mapping[str, Any]],
           backends: list[Backend]) -> pathlib.Path:
    conf = configparser.ConfigParser(interpolation=None)
    conf.read_dict(cinder_conf(path, backends))
    conf.read_dict(sections)
    with path.open('w') as file:
        conf.write(file)
    return path


def _path() -> str:
    return f"{_SCRIPTS}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
