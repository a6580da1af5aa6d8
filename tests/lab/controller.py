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

"""What a controller of OpenStack runs of Cinder, each a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import pathlib
import subprocess

from tests.lab import processes
from tests.lab import service_conf
from tests.lab.service_conf import SCRIPTS

_CHECKOUT = pathlib.Path(__file__).parents[2]


@contextlib.contextmanager
def running(folder: pathlib.Path,
            *conf: service_conf.Sections) -> Iterator[int]:
    """Create Cinder's database, and run cinder-scheduler and cinder-api.

    :param folder: for their configuration file and logs
    :param conf: what is added to the options that every Cinder of the labs has
    :returns: the port of the API
    """
    port = processes.free_port()
    path = folder / 'cinder.conf'
    service_conf.write(path, service_conf.cinder(path, {}), *conf, {
        'DEFAULT': {'osapi_volume_listen_port': port,
                    'osapi_volume_workers': 1}})
    with (folder / 'cinder-manage.log').open('wb') as log:
        subprocess.run(
            [SCRIPTS / 'cinder-manage', '--config-file', path, 'db', 'sync'],
            check=True, stdout=log, stderr=log)
    with contextlib.ExitStack() as cleanup:
        for name, up in (('cinder-scheduler', lambda: True),
                         ('cinder-api', lambda: processes.accepts(port))):
            cleanup.enter_context(processes.running(
                str(SCRIPTS / name), '--config-file', str(path),
                log=folder / f'{name}.log', cwd=_CHECKOUT, up=up))
        yield port
