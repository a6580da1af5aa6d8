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

"""The openstack client on a Cinder of the lab."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import os
import subprocess
from typing import Any
import uuid

import yaml

from tests.lab import processes
from tests.lab.service_conf import SCRIPTS
from tests.lab.volume_api import VolumeApi


class OpenStackClient:
    """The command openstack, with an operator's credentials."""

    def __init__(self, url: str,
                 credentials: Mapping[str, str] | None = None) -> None:
        """Describe who runs the commands.

        :param url: of Cinder's API, with the project
        :param credentials: environment variables; None for an administrator
            without Keystone
        """
        self._environment = os.environ | (credentials or {
            'OS_AUTH_TYPE': 'admin_token', 'OS_ENDPOINT': url,
            'OS_TOKEN': VolumeApi.token}) | {'PYTHONWARNINGS': 'ignore'}

    def start(self, *arguments: object, stderr: int = subprocess.STDOUT
              ) -> subprocess.Popen[str]:
        """Start a command, by default with its stderr in its stdout."""
        return processes.start(
            str(SCRIPTS / 'openstack'), *map(str, arguments), text=True,
            env=self._environment, stdout=subprocess.PIPE,
            stderr=stderr)

    @contextlib.contextmanager
    def running(self, *arguments: object, until: int
                ) -> Iterator[Any]:
        """Start a run over volumes, a Popen, and stop it at the end.

        :param until: the context begins when so many volumes are processed
        """
        process: Any = self.start(*arguments)
        try:
            with contextlib.closing(process.stdout):
                _read_up_to(process, f'[{until}/')
                yield process
        finally:
            processes.stop(process, 60)

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a command, with its stderr apart from its stdout."""
        process = self.start(*arguments, stderr=subprocess.PIPE)
        stdout, stderr = process.communicate()
        return subprocess.CompletedProcess(
            process.args, process.returncode, stdout, stderr)


def with_new_id(plan: str) -> str:
    """Return a plan of `volume adoption plan` as if it were another one.

    Volumes are found by the ID of their plan, so that tests can share a plan
    only so.
    """
    return plan.replace(yaml.safe_load(plan)['plan'], str(uuid.uuid4()))


def _read_up_to(process: subprocess.Popen[str], start: str) -> None:
    """Read what a command prints, up to a line that starts like this.

    :raises RuntimeError: the command ended without such a line
    """
    printed = []
    for line in process.stdout or ():
        if line.startswith(start):
            return
        printed.append(line)
    raise RuntimeError(f'no line starts with {start!r}: {"".join(printed)}')
