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

"""MariaDB, RabbitMQ and etcd from Debian packages, not as system services.

Their files are in temporary folders, and RabbitMQ has an epmd of its own. They
listen on this machine only, or at an address for the nodes of nodes.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import pathlib
import subprocess
import tempfile

import pymysql

from tests.lab import processes

# mariadb-server-core has no service that would start, and no user of its own.
_MARIADB_USER = 'nobody'
# Newer ones reserve 8 TiB of addresses, which User-Mode Linux does not have.
_MARIADB_MEMORY = ('--loose-innodb-buffer-pool-size-max=128M',)
_RABBITMQ_USER = 'rabbitmq'
_RABBITMQ_FOLDER = '/usr/lib/rabbitmq/bin'


@contextlib.contextmanager
def mariadb(folder: pathlib.Path, databases: Sequence[str],
            address: str | None = None) -> Iterator[dict[str, str]]:
    """Run MariaDB with these databases.

    :param folder: for its log
    :param address: where it listens; by default, only on a Unix socket
    :returns: an SQLAlchemy URL for each database
    """
    with processes.folder_of(_MARIADB_USER) as home:
        data = home / 'data'
        socket_path = home / 'socket'
        subprocess.run(
            [processes.required('mariadb-install-db'), '--no-defaults',
             f'--user={_MARIADB_USER}', f'--datadir={data}', *_MARIADB_MEMORY,
             '--auth-root-authentication-method=normal', '--skip-test-db'],
            check=True, stdout=subprocess.DEVNULL)

        def connect() -> pymysql.Connection:
            return pymysql.connect(unix_socket=str(socket_path), user='root')

        def is_up() -> bool:
            try:
                connect().close()
            except pymysql.OperationalError:
                return False
            return True

        with processes.running(
                processes.required('mariadbd'), '--no-defaults',
                f'--datadir={data}', *_MARIADB_MEMORY,
                f'--socket={socket_path}', *(
                    ['--bind-address', address] if address
                    else ['--skip-networking']),
                f'--pid-file={home}/pid', '--max-connections=500',
                # A lab's data need not survive a power failure.
                '--innodb-flush-log-at-trx-commit=0', '--skip-log-bin',
                log=folder / 'mariadb.log', up=is_up,
                user=_MARIADB_USER):
            with connect() as connection, connection.cursor() as cursor:
                for name in databases:
                    cursor.execute(f'CREATE DATABASE {name} '
                                   'CHARACTER SET utf8mb3')
                if address:
                    cursor.execute("CREATE USER lab@'%'")
                    cursor.execute("GRANT ALL ON *.* TO lab@'%'")
            yield {name: f'mysql+pymysql://lab@{address}/{name}' if address
                   else f'mysql+pymysql://root@localhost/{name}'
                        f'?unix_socket={socket_path}' for name in databases}


@contextlib.contextmanager
def rabbitmq(folder: pathlib.Path,
             address: str = '127.0.0.1') -> Iterator[str]:
    """Run RabbitMQ, with its distribution port on 127.0.0.1.

    :param folder: for its log
    :param address: where it listens
    :returns: the transport_url of oslo.messaging
    """
    port, node_port, names_port = (processes.free_port() for _ in range(3))
    loopback = {'ERL_EPMD_ADDRESS': '127.0.0.1',
                'ERL_EPMD_PORT': str(names_port)}
    with (processes.folder_of(_RABBITMQ_USER) as home,
          # Without it, RabbitMQ would start a daemon that is never stopped.
          processes.running(
              processes.required('epmd'), '-port', str(names_port),
              '-address', '127.0.0.1', log=folder / 'epmd.log',
              up=lambda: processes.accepts(names_port),
              user=_RABBITMQ_USER),
          processes.running(
              processes.required('rabbitmq-server', _RABBITMQ_FOLDER),
              log=folder / 'rabbitmq.log',
              up=lambda: processes.accepts(port, address), cwd=home,
              user=_RABBITMQ_USER,
              environment=loopback | {
                  'HOME': str(home),
                  'RABBITMQ_CONF_ENV_FILE': '/dev/null',
                  'RABBITMQ_CONFIG_FILE': str(home / 'none'),
                  'RABBITMQ_ENABLED_PLUGINS_FILE': str(home / 'plugins'),
                  'RABBITMQ_LOG_BASE': str(home / 'log'),
                  'RABBITMQ_LOGS': '-',
                  'RABBITMQ_MNESIA_BASE': str(home / 'mnesia'),
                  'RABBITMQ_NODENAME': 'lab@localhost',
                  'RABBITMQ_NODE_IP_ADDRESS': address,
                  'RABBITMQ_NODE_PORT': str(port),
                  'RABBITMQ_DIST_PORT': str(node_port),
                  'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS':
                      '-kernel inet_dist_use_interface {127,0,0,1} '
                      # Let the user guest connect from other hosts too.
                      '-rabbit loopback_users [] '
                      # Do not use the processor while there is nothing to do.
                      '+sbwt none +sbwtdcpu none +sbwtdio none',
                  # It is then not run by a shell, which forwards no signals.
                  'RUNNING_UNDER_SYSTEMD': 'true',
              })):
        yield f'rabbit://guest:guest@{address}:{port}/'


@contextlib.contextmanager
def etcd(folder: pathlib.Path, address: str) -> Iterator[str]:
    """Run etcd.

    :param folder: for its log
    :param address: where it listens
    :returns: the backend_url of tooz
    """
    port = processes.free_port()
    peers = f'http://127.0.0.1:{processes.free_port()}'
    clients = f'http://{address}:{port}'
    with (tempfile.TemporaryDirectory() as data,
          processes.running(
              processes.required('etcd'), '--data-dir', data,
              '--listen-client-urls', clients,
              '--advertise-client-urls', clients,
              '--listen-peer-urls', peers,
              '--initial-advertise-peer-urls', peers,
              '--initial-cluster', f'default={peers}',
              log=folder / 'etcd.log',
              up=lambda: processes.accepts(port, address))):
        yield f'etcd3+http://{address}:{port}'
