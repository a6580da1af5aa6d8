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

"""CinderDeployment: a real Cinder in a process of its own.

Tests reach it over HTTP only, as operators reach theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import sys
import tempfile

from tests.lab import polling
from tests.lab import processes
from tests.lab import service_conf
from tests.lab.cinder_database import CinderDatabase
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.volume_api import PROJECT
from tests.lab.volume_api import VolumeApi
from tests.lab.volume_api import wait_for_pools

_SECONDS_TO_STOP = 30
_CHECKOUT = pathlib.Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Backend:
    """A volume service on a volume group.

    :ivar options: override those that every backend of the labs has
    :ivar name: of its section in cinder.conf
    """

    volume_group: ScratchVolumeGroup
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    name: str = 'lvm'
    volume_driver: str = service_conf.OURS

    @property
    def host(self) -> str:
        """The backend as requests name it, host@backend#pool."""
        return f'lab@{self.name}#{self.name}'

    def section(self, unprivileged: bool = False) -> service_conf.Options:
        """Return the options of its section in cinder.conf."""
        return {**service_conf.lvm_backend(
            self.volume_group, self.name, self.volume_driver, unprivileged),
            **self.options}


class CinderDeployment:
    """A context manager: a Cinder that is up, with these LVM backends.

    :ivar host: the first backend's
    :ivar url: of the volume API, with the project; start() changes it
    :ivar api: a client of that URL
    :ivar database: of that Cinder
    :ivar conf_path: of its cinder.conf
    :ivar log_path: of the log of all its services, with debug messages
    """

    def __init__(self, *backends: Backend,
                 default_options: Mapping[str, str] = {},
                 environment: Mapping[str, str] = {},
                 unprivileged: bool = False,
                 sections: Mapping[str, service_conf.Options] = {},
                 server: str = 'tests.lab.cinder_server') -> None:
        """Describe the Cinder that `with` starts.

        :param backends: of groups that share one lvm.conf
        :param default_options: for the section DEFAULT of cinder.conf
        :param environment: variables for its environment
        :param unprivileged: run it as a user who is limited to Cinder's own
            sudoers line and rootwrap filters
        :param sections: of cinder.conf, besides
        :param server: the module that it runs
        """
        self.host = backends[0].host
        self._backends = backends
        self._default_options = default_options
        self._environment = {**backends[0].volume_group.environment,
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
            self.database = CinderDatabase(folder / 'cinder.sqlite')
            self.conf_path = self._write_conf(folder / 'cinder.conf')
            self._cleanup = cleanup
            self.start()
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._cleanup.close()

    def _write_conf(self, path: pathlib.Path) -> pathlib.Path:
        backends = {backend.name: backend.section(self._unprivileged)
                    for backend in self._backends}
        return service_conf.write(
            path, service_conf.cinder(path, backends, self._unprivileged),
            {'DEFAULT': {**service_conf.UNLIMITED, **self._default_options}},
            self._sections)

    def start(self) -> None:
        """Start Cinder; call this to start it again after kill()."""
        written = (self.log_path.stat().st_size if self.log_path.exists()
                   else 0)
        self._process = self._cleanup.enter_context(processes.running(
            *self._command(), log=self.log_path, cwd=_CHECKOUT,
            environment=self._environment, seconds_to_stop=_SECONDS_TO_STOP,
            up=lambda: self._endpoint(written)))
        self.url = f'{self._endpoint(written)}/v3/{PROJECT}'
        self.api = VolumeApi(self.url, self.host)
        # With Keystone, a token that this module does not have is needed.
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

    def _endpoint(self, skip: int) -> str:
        """Return the URL that the server has printed, or ''."""
        listening = re.search(r'^listening on (\S+)$', self.log_text(skip),
                              re.MULTILINE)
        return listening[1] if listening else ''

    def kill(self, with_commands: bool) -> None:
        """End Cinder at once, as kill -9 does.

        :param with_commands: and the commands it runs, as systemd does
        """
        if with_commands:
            os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        """Of the process that all its services run in."""
        return self._process.pid

    def log_text(self, skip: int = 0) -> str:
        """Return the log, without this number of bytes at its start."""
        return self.log_path.read_bytes()[skip:].decode()

    def wait_for_log(self, pattern: str, skip: int = 0) -> None:
        """Return once text that matches is in the log, after `skip` bytes."""
        polling.wait_for(f'{pattern!r} in the log', lambda: re.search(
            pattern, self.log_text(skip)))
