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

"""Clouds as operators run them, with Keystone.

In two_hosts() and cluster(), cinder-api, cinder-scheduler and a cinder-volume
on each of two hosts use MariaDB and RabbitMQ. In a guest, where starting a
process takes long, the cloud is smaller: in one_process(), Cinder is one
process, and the databases are SQLite. But a guest has a device-mapper, so this
cloud also has iSCSI, Glance with an image, and backups.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
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
from tests.lab.cluster import SharedBackend
from tests.lab.deployment import Backend
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.service_conf import SCRIPTS
from tests.lab.volume_api import wait_for_pools

# Each is the name of a host, of its backend and of its volume group.
_NAMES = ('one', 'two')
_CHECKOUT = pathlib.Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Cloud:
    """A running cloud.

    :ivar cinder_url: of the volume API, version 3
    :ivar pools: of all backends, host@backend#pool; in a cluster, its name is
        in the host's place
    :ivar groups: their volume groups
    :ivar image: id of a public image; None where there is no Glance
    :ivar shared: the hosts of a cluster; None where there is no cluster
    """

    identity: keystone.Keystone
    cinder_url: str
    pools: list[str]
    groups: list[ScratchVolumeGroup]
    image: str | None
    shared: SharedBackend | None


@contextlib.contextmanager
def two_hosts(folder: pathlib.Path, volume_driver: str) -> Iterator[Cloud]:
    """Run a cloud with a backend of this driver on each of two hosts.

    :param folder: for its files and logs
    """
    with contextlib.ExitStack() as cleanup:
        backends = _backends(cleanup, volume_driver)
        identity, conf = _services(cleanup, folder)
        port = cleanup.enter_context(controller.running(folder, conf))
        for backend in backends:
            name = f'cinder-volume-{backend.name}'
            path = _write(folder / f'{name}.conf', [backend], conf,
                          {'DEFAULT': {'host': backend.name}})
            _start(cleanup, folder / f'{name}.log', backends,
                   str(SCRIPTS / 'cinder-volume'), '--config-file', str(path),
                   up=lambda: True)
        yield _cloud(identity, port,
                     [backend.volume_group for backend in backends])


@contextlib.contextmanager
def cluster(folder: pathlib.Path) -> Iterator[Cloud]:
    """Run a cloud whose two hosts are a cluster, with one backend.

    :param folder: for its files and logs
    """
    with contextlib.ExitStack() as cleanup:
        group = cleanup.enter_context(ScratchVolumeGroup('shared'))
        identity, conf = _services(cleanup, folder)
        port = cleanup.enter_context(controller.running(folder, conf))
        shared = SharedBackend(folder, group)
        shared.start(conf, cleanup)
        yield _cloud(identity, port, [group], shared=shared)


@contextlib.contextmanager
def one_process(folder: pathlib.Path, volume_driver: str) -> Iterator[Cloud]:
    """Run a cloud with few processes, two backends and device-mapper.

    :param folder: for its files and logs
    """
    with contextlib.ExitStack() as cleanup:
        backends = _backends(cleanup, volume_driver, device_mapper=True,
                             options=service_conf.ISCSI)
        databases = {name: f'sqlite:///{folder}/{name}.sqlite'
                     for name in ('keystone', 'cinder', 'glance')}
        identity = cleanup.enter_context(
            keystone.running(folder, databases['keystone']))
        images_url = cleanup.enter_context(glance.running(
            folder, databases['glance'], identity.conf()))
        identity.offer('image', 'glance', images_url)
        image = _image(identity, images_url)
        port = processes.free_port()
        path = _write(
            folder / 'cinder.conf', backends,
            _conf(identity, 'fake://', databases['cinder']),
            {'DEFAULT': {'glance_api_servers': images_url,
                         'osapi_volume_listen_port': port,
                         'osapi_volume_workers': 1}})
        _start(cleanup, folder / 'cinder.log', backends, '-m',
               'tests.lab.cinder_server', str(path),
               up=lambda: processes.accepts(port))
        yield _cloud(identity, port,
                     [backend.volume_group for backend in backends], image)


def _backends(cleanup: contextlib.ExitStack, volume_driver: str,
              device_mapper: bool = False,
              options: Mapping[str, str] = {}) -> list[Backend]:
    one = cleanup.enter_context(ScratchVolumeGroup(
        _NAMES[0], device_mapper=device_mapper))
    two = cleanup.enter_context(ScratchVolumeGroup(
        _NAMES[1], device_mapper=device_mapper, beside=one))
    return [Backend(group, options, group.name, volume_driver)
            for group in (one, two)]


def _services(cleanup: contextlib.ExitStack, folder: pathlib.Path
              ) -> tuple[keystone.Keystone, service_conf.Sections]:
    """Run MariaDB, RabbitMQ and Keystone.

    :returns: Keystone, and what every service of Cinder has in its
        configuration
    """
    databases = cleanup.enter_context(
        infrastructure.mariadb(folder, ('keystone', 'cinder')))
    transport_url = cleanup.enter_context(infrastructure.rabbitmq(folder))
    identity = cleanup.enter_context(
        keystone.running(folder, databases['keystone']))
    return identity, _conf(identity, transport_url, databases['cinder'])


def _conf(identity: keystone.Keystone, transport_url: str,
          database: str) -> service_conf.Sections:
    return {
        'DEFAULT': {'transport_url': transport_url,
                    'auth_strategy': 'keystone'},
        'database': {'connection': database},
        'keystone_authtoken': identity.conf(),
    }


def _write(path: pathlib.Path, backends: list[Backend],
           *conf: service_conf.Sections) -> pathlib.Path:
    sections = {backend.name: backend.section() for backend in backends}
    return service_conf.write(path, service_conf.cinder(path, sections), *conf)


def _start(cleanup: contextlib.ExitStack, log: pathlib.Path,
           backends: list[Backend], *arguments: str,
           up: Callable[[], object]) -> None:
    """Start a Python program that uses the volume groups of the backends."""
    path = f"{SCRIPTS}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    cleanup.enter_context(processes.running(
        sys.executable, *arguments, log=log, cwd=_CHECKOUT,
        environment={**backends[0].volume_group.environment, 'PATH': path},
        up=up))


def _cloud(identity: keystone.Keystone, port: int,
           groups: list[ScratchVolumeGroup], image: str | None = None,
           shared: SharedBackend | None = None) -> Cloud:
    """Add Cinder to the catalog, and wait for a pool of each volume group."""
    url = f'http://127.0.0.1:{port}/v3'
    identity.offer('block-storage', 'cinder', url)
    pools = wait_for_pools(lambda: identity.admin.get(
        f'{url}/scheduler-stats/get_pools').json(), len(groups))
    return Cloud(identity, url, pools, groups, image, shared)


def _image(identity: keystone.Keystone, images_url: str) -> str:
    """Make a public image, and return its id."""
    url = f'{images_url}/v2/images'
    image = identity.admin.post(url, json={
        'name': 'raw', 'visibility': 'public', 'disk_format': 'raw',
        'container_format': 'bare'}).json()['id']
    identity.admin.put(f'{url}/{image}/file', data=os.urandom(units.Mi),
                       headers={'Content-Type': 'application/octet-stream'})
    return str(image)
