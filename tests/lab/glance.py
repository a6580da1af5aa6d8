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

"""A Glance that keeps its images in files."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import pathlib
import subprocess

from tests.lab import processes
from tests.lab import service_conf
from tests.lab.service_conf import SCRIPTS


@contextlib.contextmanager
def running(folder: pathlib.Path, database: str,
            authtoken: service_conf.Options | None = None) -> Iterator[str]:
    """Run Glance on 127.0.0.1.

    :param folder: for its files and its log
    :param database: SQLAlchemy's URL of an empty one
    :param authtoken: the section keystone_authtoken; None to allow every
        request that Cinder makes without a token
    :returns: its URL, without a version
    """
    port = processes.free_port()
    home = folder / 'glance'
    home.mkdir()
    conf_path = service_conf.write(
        home / 'glance-api.conf',
        service_conf.glance(home, database, authtoken))
    with (folder / 'glance-manage.log').open('wb') as log:
        subprocess.run(
            [SCRIPTS / 'glance-manage', '--config-file', conf_path, 'db',
             'sync'], check=True, stdout=log, stderr=log)
    # uWSGI, the usual server of Glance, cannot read chunked requests in a
    # guest kernel.
    with processes.running(
            str(SCRIPTS / 'gunicorn'), '--bind', f'127.0.0.1:{port}',
            '--threads', '4', '--timeout', '0', 'glance.wsgi.api:application',
            log=folder / 'glance-gunicorn.log',
            up=lambda: processes.accepts(port),
            environment={'OS_GLANCE_CONFIG_DIR': str(home)}):
        yield f'http://127.0.0.1:{port}'
