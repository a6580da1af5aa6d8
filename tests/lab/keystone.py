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

"""A Keystone with an administrator and a catalog."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import pathlib
import subprocess

from keystoneauth1 import session
from keystoneauth1.identity import v3

from tests.lab import processes
from tests.lab import service_conf
from tests.lab import wsgi
from tests.lab.service_conf import SCRIPTS

REGION = 'RegionOne'
PASSWORD = 'lab'  # noqa: S105 on 127.0.0.1, for as long as a test runs


@dataclasses.dataclass(frozen=True)
class Keystone:
    """A running Keystone; the user admin is its administrator.

    :ivar url: of its API, version 3
    """

    url: str

    @property
    def credentials(self) -> dict[str, str]:
        """The administrator's credentials, as environment variables."""
        return {
            'OS_AUTH_URL': self.url,
            'OS_IDENTITY_API_VERSION': '3',
            'OS_USERNAME': 'admin',
            'OS_PASSWORD': PASSWORD,
            'OS_PROJECT_NAME': 'admin',
            'OS_USER_DOMAIN_ID': 'default',
            'OS_PROJECT_DOMAIN_ID': 'default',
            'OS_REGION_NAME': REGION,
        }

    def conf(self) -> dict[str, str]:
        """Return the section keystone_authtoken of a service."""
        return {
            'auth_type': 'password',
            'auth_url': self.url,
            'www_authenticate_uri': self.url,
            'username': 'admin',
            'password': PASSWORD,
            'project_name': 'admin',
            'user_domain_id': 'default',
            'project_domain_id': 'default',
            'service_token_roles_required': 'true',
        }

    @functools.cached_property
    def admin(self) -> session.Session:
        """A session with the administrator's token."""
        return session.Session(v3.Password(
            self.url, username='admin', password=PASSWORD,
            project_name='admin', user_domain_id='default',
            project_domain_id='default'))

    def make(self, kind: str, **fields: str) -> str:
        """Make a project or user in the domain default; return its id."""
        made = self.admin.post(f'{self.url}/{kind}s', json={
            kind: {'domain_id': 'default', **fields}}).json()
        return str(made[kind]['id'])

    def grant(self, role: str, user_id: str, project_id: str) -> None:
        """Assign one of the roles that bootstrap has created to a user."""
        found, = self.admin.get(f'{self.url}/roles',
                                params={'name': role}).json()['roles']
        self.admin.put(f'{self.url}/projects/{project_id}/users/{user_id}'
                       f"/roles/{found['id']}")

    def grant_to_admin(self, role: str) -> None:
        """Assign a role to the administrator, in its own project."""
        self.grant(role, str(self.admin.get_user_id()),
                   str(self.admin.get_project_id()))

    def offer(self, kind: str, name: str, url: str) -> None:
        """Add a service with a public endpoint to the catalog."""
        service = self.admin.post(f'{self.url}/services', json={'service': {
            'type': kind, 'name': name}}).json()['service']
        self.admin.post(f'{self.url}/endpoints', json={'endpoint': {
            'interface': 'public', 'region_id': REGION,
            'service_id': service['id'], 'url': url}})


@contextlib.contextmanager
def running(folder: pathlib.Path, database: str) -> Iterator[Keystone]:
    """Run Keystone on 127.0.0.1.

    :param folder: for its files and its log
    :param database: SQLAlchemy's URL of an empty one
    """
    port = processes.free_port()
    url = f'http://127.0.0.1:{port}/v3'
    conf_path = service_conf.write(
        folder / 'keystone.conf', service_conf.keystone(folder, database))

    def manage(*command: str) -> None:
        with (folder / 'keystone-manage.log').open('ab') as log:
            subprocess.run(
                [SCRIPTS / 'keystone-manage', '--config-file', conf_path,
                 *command], check=True, stdout=log, stderr=log)

    user = ('--keystone-user', 'root', '--keystone-group', 'root')
    manage('db_sync')
    manage('fernet_setup', *user)
    manage('credential_setup', *user)
    manage('bootstrap', '--bootstrap-password', PASSWORD,
           '--bootstrap-region-id', REGION,
           *(part for interface in ('admin', 'internal', 'public')
             for part in (f'--bootstrap-{interface}-url', url)))
    with wsgi.serving(
            'keystone.wsgi.api:application', folder / 'keystone-uwsgi.log',
            {'OS_KEYSTONE_CONFIG_FILES': str(conf_path)}, port):
        yield Keystone(url)
