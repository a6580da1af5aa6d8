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

"""A Cinder of one's own on a scratch volume group, and its HTTP client.

It is a process of its own, and is to be reached by HTTP alone, as operators
reach theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import configparser
import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
import time
import types
from typing import Any
from typing import NamedTuple

from oslo_utils import units
import requests

from tests.lab import processes
from tests.lab.scratch import ScratchVolumeGroup

# Options of a backend whose volumes can be attached, where tgtd runs.
ISCSI = {'target_helper': 'tgtadm', 'target_protocol': 'iscsi',
         'target_ip_address': '127.0.0.1'}

_SECONDS_TO_START = 600
_SECONDS_TO_STOP = 30
_SECONDS_TO_ANSWER = 600
_CHECKOUT = pathlib.Path(__file__).parents[2]
# Where pip puts what Cinder's wheel brings for /etc and /usr/bin.
_ETC = pathlib.Path(sysconfig.get_path('data'), 'etc', 'cinder')
_SCRIPTS = pathlib.Path(sysconfig.get_path('scripts'))
# Cinder's routes know projects by hexadecimal digits alone.
_PROJECT = 'ab' * 16


@dataclasses.dataclass(frozen=True)
class Backend:
    """A volume service on a volume group.

    :ivar name: of its section in cinder.conf
    :ivar options: more for that section
    """

    volume_group: ScratchVolumeGroup
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    name: str = 'lvm'
    volume_driver: str = 'cinder_lvm_manage.driver.LVMManageDriver'

    @property
    def host(self) -> str:
        """The backend as requests name it, host@backend#pool."""
        return f'lab@{self.name}#{self.name}'


class CinderDeployment:
    """A context manager: within it, Cinder is up with these LVM backends.

    :ivar host: the first backend's
    :ivar url: of the volume API, with the project; another when it has been
        started again
    :ivar api: a client of it
    :ivar conf_path: of its cinder.conf
    :ivar log_path: where all of its services log, debug messages too
    """

    def __init__(self, *backends: Backend,
                 default_options: Mapping[str, str] = {},
                 environment: Mapping[str, str] = {},
                 unprivileged: bool = False,
                 sections: Mapping[str, Mapping[str, str]] = {},
                 server: str = 'tests.lab.cinder_server') -> None:
        """Describe the Cinder that `with` starts.

        :param backends: their groups have one lvm.conf
        :param default_options: more for cinder.conf's section DEFAULT
        :param environment: more for its environment
        :param unprivileged: run it as a user who may do no more than
            Cinder's own sudoers line and rootwrap filters let him
        :param sections: more of them for cinder.conf
        :param server: the module that is Cinder
        """
        self.host = backends[0].host
        self._backends = backends
        self._default_options = default_options
        self._environment = {**os.environ,
                             **backends[0].volume_group.environment,
                             **environment}
        self._unprivileged = unprivileged
        self._sections = sections
        self._server = server
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> CinderDeployment:
        with contextlib.ExitStack() as cleanup:
            folder = pathlib.Path(
                cleanup.enter_context(tempfile.TemporaryDirectory()))
            self.log_path = folder / 'cinder.log'
            self._database = folder / 'cinder.sqlite'
            self.conf_path = self._write_conf(folder)
            self._cleanup = cleanup
            self.start()
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 value: BaseException | None,
                 traceback: types.TracebackType | None) -> None:
        self._cleanup.close()

    def start(self) -> None:
        """Start it again, after a kill."""
        with self.log_path.open('ab') as log:
            written = log.tell()
            self._process = processes.start(
                *self._command(), cwd=_CHECKOUT, stdout=log,
                stderr=subprocess.STDOUT, env=self._environment)
        self._cleanup.callback(processes.stop, self._process,
                               _SECONDS_TO_STOP)
        self.url = self._wait_until_listening(written)
        self.api = VolumeApi(self.url, self.host)
        # Where there is a Keystone, only who has its tokens can ask.
        if 'keystone_authtoken' not in self._sections:
            wait_for_pools(lambda: self.api.request(
                'GET', 'scheduler-stats/get_pools').body, len(self._backends))

    def _command(self) -> list[str]:
        if self._unprivileged:
            return ['unshare', '--mount', sys.executable, '-m',
                    'tests.lab.unprivileged', str(self.conf_path),
                    str(self._backends[0].volume_group.lvm_conf),
                    self._server]
        return [sys.executable, '-m', self._server, str(self.conf_path)]

    def kill(self, with_commands: bool) -> None:
        """End it at once, as kill -9 does.

        :param with_commands: and what it is running, as systemd does
        """
        if with_commands:
            os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        """Of the process that all of its services are in."""
        return self._process.pid

    def log_text(self, skip: int = 0) -> str:
        """All that was logged so far, but for so many bytes."""
        return self.log_path.read_bytes()[skip:].decode()

    def wait_for_log(self, pattern: str, skip: int = 0) -> None:
        """Return when a line like that is logged, after so many bytes.

        :raises RuntimeError: it is not
        """
        deadline = time.monotonic() + _SECONDS_TO_ANSWER
        while not re.search(pattern, self.log_text(skip)):
            if time.monotonic() > deadline:
                raise RuntimeError(f'{pattern!r} is not logged')
            time.sleep(0.1)

    def recorded_status(self, volume_id: str) -> str:
        """A volume's status in the database.

        The API shows others for those of a manage: error for error_managing
        (cinder/api/v3/views/volumes.py).
        """
        with contextlib.closing(sqlite3.connect(self._database)) as database:
            status, = database.execute(
                'SELECT status FROM volumes WHERE id = ?',
                (volume_id,)).fetchone()
        return str(status)

    @contextlib.contextmanager
    def locked_database(self) -> Iterator[None]:
        """Within it, whoever writes to the database waits."""
        with contextlib.closing(sqlite3.connect(
                self._database, isolation_level=None)) as database:
            database.execute('BEGIN EXCLUSIVE')
            yield
            database.execute('ROLLBACK')

    @contextlib.contextmanager
    def failing_database(self, event: str, when: str = '1') -> Iterator[None]:
        """Within it, the database refuses what the trigger tells.

        :param event: as SQLite's triggers have it, UPDATE ON volumes
        :param when: the condition, of OLD and NEW
        """
        self._in_database(f'CREATE TRIGGER failing BEFORE {event} WHEN {when} '
                          "BEGIN SELECT RAISE(ABORT, 'no disk'); END")
        try:
            yield
        finally:
            self._in_database('DROP TRIGGER failing')

    def record_copies(self, volume_id: str, ids: Iterable[str]) -> None:
        """Write this volume's record into the database again, as these."""
        with contextlib.closing(sqlite3.connect(self._database)) as database:
            columns = ', '.join(
                name for _, name, *_ in database.execute(
                    'PRAGMA table_info(volumes)') if name != 'id')
            database.executemany(
                f'INSERT INTO volumes (id, {columns}) '  # noqa: S608
                f'SELECT ?, {columns} FROM volumes WHERE id = ?',
                [(each, volume_id) for each in ids])
            database.commit()

    def _in_database(self, statement: str) -> None:
        with contextlib.closing(sqlite3.connect(self._database)) as database:
            database.execute(statement)
            database.commit()

    def _write_conf(self, folder: pathlib.Path) -> pathlib.Path:
        path = folder / 'cinder.conf'
        conf = configparser.ConfigParser(interpolation=None)
        conf.read_dict(cinder_conf(path, self._backends, self._unprivileged))
        conf.read_dict({
            'DEFAULT': {
                'transport_url': 'fake://',
                'auth_strategy': 'noauth',
                'osapi_volume_listen_port': '0',
                # A volume that was refused keeps its share of the quota for
                # ever, even deleted: Cinder gives back none for it.
                'quota_volumes': '-1',
                'quota_gigabytes': '-1',
                **self._default_options,
            },
            'database': {
                'connection': f'sqlite:///{self._database}',
                'sqlite_synchronous': 'false',
            },
            **self._sections,
        })
        with path.open('w') as file:
            conf.write(file)
        return path

    def _wait_until_listening(self, written: int) -> str:
        deadline = time.monotonic() + _SECONDS_TO_START
        while self._process.poll() is None and time.monotonic() < deadline:
            listening = re.search(r'^listening on (\S+)$',
                                  self.log_text(written), re.MULTILINE)
            if listening:
                return f'{listening[1]}/v3/{_PROJECT}'
            time.sleep(0.1)
        tail = '\n'.join(self.log_text().splitlines()[-40:])
        raise RuntimeError(f'Cinder did not start:\n{tail}')


def cinder_conf(path: pathlib.Path, backends: Sequence[Backend],
                unprivileged: bool = False) -> dict[str, dict[str, Any]]:
    """What every cinder.conf of these labs has; a section, its options.

    :param path: of that cinder.conf, in the folder for Cinder's files
    :param unprivileged: Cinder becomes root as on an operator's host
    """
    folder = path.parent
    helper = {} if unprivileged else {
        'helper_command': f'{_SCRIPTS}/privsep-helper --config-file {path}'}
    return {
        'DEFAULT': {
            'host': 'lab',
            'debug': 'true',
            'state_path': folder,
            'api_paste_config': _ETC / 'api-paste.ini',
            'resource_query_filters_file': _ETC / 'resource_filters.json',
            'osapi_volume_listen': '127.0.0.1',
            'enabled_backends': ','.join(
                backend.name for backend in backends),
            'scheduler_driver_init_wait_time': '1',
            'backup_driver': 'cinder.backup.drivers.posix.PosixBackupDriver',
            # Cinder has as much of a backup in memory more than once, and
            # has to stay small in a guest: see guest.py.
            'backup_file_size': 4 * units.Mi,
        },
        'oslo_concurrency': {'lock_path': folder / 'lock'},
        'coordination': {'backend_url': f'file://{folder}/coordination'},
        'cinder_sys_admin': helper,
        'privsep_osbrick': helper,
        **{backend.name: {
            'volume_driver': backend.volume_driver,
            'volume_backend_name': backend.name,
            'volume_group': backend.volume_group.name,
            'lvm_type': 'default',
            **({} if unprivileged else {
                'lvm_conf_file': backend.volume_group.lvm_conf}),
            'lvm_suppress_fd_warnings': 'true',
            'target_helper': 'fake',
            'volume_clear': 'none',
            **backend.options,
        } for backend in backends},
    }


def wait_for_pools(ask: Callable[[], Any], count: int) -> list[str]:
    """The names of the scheduler's pools, once it knows so many.

    Until cinder-volume has told it what a pool has, nothing can go there.

    :param ask: what Cinder answers GET scheduler-stats/get_pools
    :raises RuntimeError: it comes to know fewer only
    """
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline:
        pools = ask()['pools']
        if len(pools) == count:
            return sorted(pool['name'] for pool in pools)
        time.sleep(0.5)
    raise RuntimeError(f'cinder-volume has reported the pools {pools} only')


class Reply(NamedTuple):
    """What the API answered: the status code and the JSON, if any."""

    status: int
    body: Any


class VolumeApi:
    """The volume API of a Cinder without Keystone.

    :param url: with the project
    :param host: the backend, for requests that name none
    :ivar token: an administrator's
    """

    def __init__(self, url: str, host: str) -> None:
        self._url = url
        self._host = host
        self._session = requests.Session()
        self.token = f'admin:{_PROJECT}'
        self._session.headers['X-Auth-Token'] = self.token

    def request(self, method: str, path: str, json: Any = None,
                params: Mapping[str, str | int] | None = None,
                microversion: str = '3.70') -> Reply:
        """One request; every status code is an answer."""
        response = self._session.request(
            method, f'{self._url}/{path}', json=json, params=params,
            headers={'OpenStack-API-Version': f'volume {microversion}'},
            timeout=_SECONDS_TO_ANSWER)
        return Reply(response.status_code,
                     response.json() if response.content else None)

    def manageable_volumes(self, detail: bool = False,
                           **query: str | int) -> Reply:
        path = 'manageable_volumes/detail' if detail else 'manageable_volumes'
        return self.request('GET', path, params={'host': self._host} | query)

    def manage(self, ref: Any, **volume_fields: Any) -> Reply:
        return self.request('POST', 'manageable_volumes', {
            'volume': {'host': self._host, 'ref': ref} | volume_fields})

    def show(self, volume_id: str) -> Reply:
        return self.request('GET', f'volumes/{volume_id}')

    def create(self, size: int, **volume_fields: Any) -> Reply:
        return self.request('POST', 'volumes', {
            'volume': {'size': size} | volume_fields})

    def unmanage(self, volume_id: str) -> Reply:
        return self.request('POST', f'volumes/{volume_id}/action',
                            {'os-unmanage': {}})

    def delete(self, volume_id: str) -> Reply:
        return self.request('DELETE', f'volumes/{volume_id}')

    def wait(self, volume_id: str, *statuses: str,
             kind: str = 'volume') -> dict[str, Any]:
        """The volume, or snapshot, once its status is one of these.

        :raises RuntimeError: it came to another error, or to none of them
        """
        for reply in self._poll(volume_id, kind):
            found: dict[str, Any] = reply.body[kind]
            if found['status'] in statuses:
                return found
            if found['status'].startswith('error'):
                break
        raise RuntimeError(f'{kind} {volume_id} is not {statuses}: {reply}')

    def wait_until_gone(self, volume_id: str, kind: str = 'volume') -> None:
        """Return once Cinder knows no such volume, or snapshot.

        :raises RuntimeError: it fails to delete or to unmanage it
        """
        for reply in self._poll(volume_id, kind):
            if reply.status == 404:
                return
            if reply.body[kind]['status'] in ('error_deleting',
                                              'error_unmanaging'):
                break
        raise RuntimeError(f'{kind} {volume_id} is still there: {reply}')

    def _poll(self, volume_id: str, kind: str) -> Iterator[Reply]:
        deadline = time.monotonic() + _SECONDS_TO_ANSWER
        pause = 0.1
        while time.monotonic() < deadline:
            yield self.request('GET', f'{kind}s/{volume_id}')
            # Where asking takes long, it should not keep Cinder from working.
            time.sleep(pause)
            pause = min(2 * pause, 3)
