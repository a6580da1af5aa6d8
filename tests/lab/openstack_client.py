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

from collections.abc import Mapping
import os
import pathlib
import subprocess
import sysconfig

from tests.lab import processes
from tests.lab.deployment import CinderDeployment

_OPENSTACK = pathlib.Path(sysconfig.get_path('scripts'), 'openstack')


class OpenStackClient:
    """The command openstack, as an operator has it."""

    def __init__(self, cinder: CinderDeployment,
                 credentials: Mapping[str, str] | None = None) -> None:
        """Describe whose commands they are.

        :param credentials: as clients read them in their environment; None
            for an administrator without Keystone
        """
        self._environment = os.environ | (credentials or {
            'OS_AUTH_TYPE': 'admin_token', 'OS_ENDPOINT': cinder.url,
            'OS_TOKEN': cinder.api.token}) | {'PYTHONWARNINGS': 'ignore'}

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Begin a command; stdout and stderr come together."""
        return processes.start(
            str(_OPENSTACK), *map(str, arguments), text=True,
            env=self._environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """A command's exit status, and what it prints in stdout."""
        process = self.start(*arguments)
        printed, _ = process.communicate()
        return subprocess.CompletedProcess(
            process.args, process.returncode, printed)
