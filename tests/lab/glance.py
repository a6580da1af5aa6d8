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

"""A Glance of one's own, which keeps its images in files."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
import configparser
import contextlib
import json
import pathlib
import subprocess
import sysconfig

from tests.lab import processes

_ETC = pathlib.Path(sysconfig.get_path('data'), 'etc', 'glance')
_SCRIPTS = pathlib.Path(sysconfig.get_path('scripts'))
# What Cinder and the labs do; by default Glance lets nobody who has no token.
_FOR_ALL = ('add_image', 'delete_image', 'download_image', 'get_image',
            'modify_image', 'upload_image')


@contextlib.contextmanager
def running(folder: pathlib.Path, database: str,
            authtoken: Mapping[str, str] | None = None) -> Iterator[str]:
    """Within it, Glance listens on 127.0.0.1; its URL, without a version.

    :param folder: for its files and its log
    :param database: SQLAlchemy's URL of an empty one
    :param authtoken: the section keystone_authtoken; without it, whoever asks
        may do what Cinder does
    """
    port = processes.free_port()
    (folder / 'glance').mkdir()
    conf_path = _write_conf(folder / 'glance', database, authtoken)
    with (folder / 'glance-manage.log').open('wb') as log:
        subprocess.run(
            [_SCRIPTS / 'glance-manage', '--config-file', conf_path, 'db',
             'sync'], check=True, stdout=log, stderr=log)
    # uWSGI, which Glance goes by elsewhere, fails to read what is sent to it
    # in chunks when it runs in a guest kernel.
    with processes.running(
            str(_SCRIPTS / 'gunicorn'), '--bind', f'127.0.0.1:{port}',
            '--threads', '4', '--timeout', '0', 'glance.wsgi.api:application',
            log=folder / 'glance-gunicorn.log',
            up=lambda: processes.accepts(port),
            environment={'OS_GLANCE_CONFIG_DIR': str(folder / 'glance')}):
        yield f'http://127.0.0.1:{port}'


def _write_conf(folder: pathlib.Path, database: str,
                authtoken: Mapping[str, str] | None) -> pathlib.Path:
    policy_path = folder / 'policy.json'
    policy_path.write_text(json.dumps(
        {} if authtoken else dict.fromkeys(_FOR_ALL, '@')))
    conf = configparser.ConfigParser(interpolation=None)
    conf.read_dict({
        'DEFAULT': {'log_file': folder.parent / 'glance.log',
                    'use_stderr': 'false',
                    'enabled_backends': 'images:file',
                    'node_staging_uri': f'file://{folder}/staging'},
        'oslo_concurrency': {'lock_path': folder / 'lock'},
        'database': {'connection': database, 'sqlite_synchronous': 'false'},
        'glance_store': {'default_backend': 'images'},
        'images': {'filesystem_store_datadir': folder / 'images'},
        'paste_deploy': {'config_file': _ETC / 'glance-api-paste.ini',
                         'flavor': 'keystone' if authtoken else ''},
        'keystone_authtoken': authtoken or {},
        'oslo_policy': {'policy_file': policy_path},
    })
    for store in ('staging', 'tasks'):
        conf[f'os_glance_{store}_store'] = {
            'filesystem_store_datadir': str(folder / store)}
    path = folder / 'glance-api.conf'
    with path.open('w') as file:
        conf.write(file)
    return path
