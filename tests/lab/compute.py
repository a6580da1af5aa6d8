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

"""A Nova with one compute host, on libvirt and QEMU without KVM.

Placement and all services of Nova run, each in a process of its own, with
MariaDB and RabbitMQ. There are no Neutron and no Glance, because its servers
have no networks and boot from volumes: a few lines answer that there are no
ports. The URL of an image is part of each notification, but nothing is fetched
from it.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import http.server
import json
import pathlib
import shutil
import subprocess
import sys
import threading
import urllib.parse

import tenacity

from tests.lab import infrastructure
from tests.lab import polling
from tests.lab import processes
from tests.lab import service_conf
from tests.lab import wsgi
from tests.lab.keystone import Keystone
from tests.lab.service_conf import ETC
from tests.lab.service_conf import SCRIPTS

# What libvirt and QEMU write to. libvirtd has no options for some of them.
_LIBVIRT_FOLDERS = ('/etc/libvirt', '/run/libvirt', '/var/cache/libvirt',
                    '/var/lib/libvirt', '/var/log/libvirt')
_LIBVIRTD_CONF = """
auth_unix_ro = "none"
auth_unix_rw = "none"
host_uuid = "6bd0d5ae-62a4-4d6f-9f1c-3c7c9a5f1e55"
"""
# The servers' disks belong to root, and there may be no control groups.
_QEMU_CONF = """
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
remember_owner = 0
"""
_SECONDS = 600
_CHECKOUT = pathlib.Path(__file__).parents[2]


@contextlib.contextmanager
def running(folder: pathlib.Path, identity: Keystone,
            report: Callable[[str], None]) -> Iterator[str]:
    """Run Nova, and add it to the catalog; return the URL of its API.

    The mount namespace must be the caller's own: see private_libvirt().

    :param folder: for its files and logs
    :param report: called with what is up
    """
    # Nova sends tokens of a service along with those of its users.
    identity.grant_to_admin('service')
    with contextlib.ExitStack() as cleanup:
        nothing_url = cleanup.enter_context(_nothing())
        # With SQLite, "database is locked" ends the build of a server.
        databases = cleanup.enter_context(infrastructure.mariadb(
            folder, ('placement', 'nova_api', 'nova', 'nova_cell0')))
        report('MariaDB')
        cleanup.enter_context(_libvirt(folder))
        report('libvirt')
        transport_url = cleanup.enter_context(infrastructure.rabbitmq(folder))
        report('RabbitMQ')
        cleanup.enter_context(_placement(folder, databases['placement'],
                                         identity))
        report('Placement')
        home = folder / 'nova'
        (home / 'instances').mkdir(parents=True)
        conf_path = service_conf.write(
            home / 'nova.conf', service_conf.nova(
                home / 'nova.conf', databases, transport_url, identity.conf(),
                nothing_url))
        _create_cell(folder, conf_path, databases)
        report("Nova's database")
        for service, command in (
                ('nova-conductor', [SCRIPTS / 'nova-conductor']),
                ('nova-scheduler', [SCRIPTS / 'nova-scheduler']),
                ('nova-compute',
                 [sys.executable, '-m', 'tests.lab.nova_compute'])):
            cleanup.enter_context(processes.running(
                *map(str, command), '--config-file', str(conf_path),
                log=folder / f'{service}.log', up=lambda: True, cwd=_CHECKOUT,
                # Otherwise they wait a minute for requests, and none come.
                seconds_to_stop=5))
        shutil.copy(ETC / 'nova' / 'api-paste.ini', home)
        url = cleanup.enter_context(wsgi.serving(
            'nova.wsgi.osapi_compute:application',
            log=folder / 'nova-api.log',
            environment={'OS_NOVA_CONFIG_DIR': str(home)})) + '/v2.1'
        identity.offer('compute', 'nova', url)
        report("Nova's API")
        polling.wait_for('a hypervisor', lambda: identity.admin.get(
            f'{url}/os-hypervisors').json()['hypervisors'], seconds=_SECONDS,
            pause=tenacity.wait_fixed(3))
        yield url


def private_libvirt() -> None:
    """Hide the libvirt of this machine, in this mount namespace.

    Call it before any other function, in a process that `unshare --mount` has
    started.
    """
    for path in _LIBVIRT_FOLDERS:
        pathlib.Path(path).mkdir(parents=True, exist_ok=True)
        subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', path], check=True)


@contextlib.contextmanager
def _libvirt(folder: pathlib.Path) -> Iterator[None]:
    etc, run = pathlib.Path('/etc/libvirt'), pathlib.Path('/run/libvirt')
    (etc / 'libvirtd.conf').write_text(_LIBVIRTD_CONF)
    (etc / 'qemu.conf').write_text(_QEMU_CONF)
    with (processes.running(
              processes.required('virtlogd'), '--pid-file',
              str(run / 'virtlogd.pid'), log=folder / 'virtlogd.log',
              up=(run / 'virtlogd-sock').exists),
          processes.running(
              processes.required('libvirtd'), '--pid-file',
              str(run / 'libvirtd.pid'), log=folder / 'libvirtd.log',
              up=(run / 'libvirt-sock').exists)):
        yield


@contextlib.contextmanager
def _placement(folder: pathlib.Path, database: str,
               identity: Keystone) -> Iterator[None]:
    home = folder / 'placement'
    home.mkdir()
    service_conf.write(home / 'placement.conf', service_conf.placement(
        database, identity.conf()))
    with wsgi.serving(
            'placement.wsgi.api:application', log=folder / 'placement.log',
            environment={'OS_PLACEMENT_CONFIG_DIR': str(home)}) as url:
        identity.offer('placement', 'placement', url)
        yield


def _create_cell(folder: pathlib.Path, conf_path: pathlib.Path,
                 databases: dict[str, str]) -> None:
    with (folder / 'nova-manage.log').open('wb') as log:
        for command in (
                ('api_db', 'sync'),
                ('cell_v2', 'map_cell0', '--database_connection',
                 databases['nova_cell0']),
                ('db', 'sync'),
                ('cell_v2', 'create_cell', '--name', 'cell1')):
            subprocess.run([SCRIPTS / 'nova-manage', '--config-file',
                            conf_path, *command],
                           check=True, stdout=log, stderr=log)


class _Nothing(http.server.BaseHTTPRequestHandler):
    """Answers each request with an empty list."""

    def do_GET(self) -> None:
        path = urllib.parse.urlsplit(self.path).path
        kind = path.rpartition('/')[2].replace('-', '_')
        body = json.dumps({kind: []}).encode()
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def _nothing() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0),
                                         _Nothing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f'http://127.0.0.1:{server.server_port}'
        finally:
            server.shutdown()
            thread.join()
