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

"""WSGI applications of OpenStack's services, on uWSGI."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import pathlib

from tests.lab import processes
from tests.lab.service_conf import SCRIPTS


@contextlib.contextmanager
def serving(application: str, log: pathlib.Path,
            environment: Mapping[str, str],
            port: int | None = None) -> Iterator[str]:
    """Serve an application on 127.0.0.1; return its URL.

    :param application: MODULE:NAME
    :param port: if it must be known before
    """
    port = port or processes.free_port()
    with processes.running(
            str(SCRIPTS / 'uwsgi'), '--master', '--die-on-term',
            '--need-app', '--http-socket', f'127.0.0.1:{port}',
            '--enable-threads', '--threads', '4', '--buffer-size', '65535',
            # It closes each connection; this header tells clients so.
            '--add-header', 'Connection: close', '--module', application,
            log=log, environment=environment,
            up=lambda: processes.accepts(port)):
        yield f'http://127.0.0.1:{port}'
