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

"""openstack volume adoption where there are projects, members and tokens."""

import contextlib
import dataclasses
import json
import pathlib

import pytest
import requests
import yaml

from tests.lab import keystone
from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.openstack_client import OpenStackClient
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.volume_api import wait_for_pools

LVS = 6
HOST = 'lab@lvm#lvm'
PASSWORD = 'a secret'  # noqa: S105 on 127.0.0.1, for as long as a test runs


@dataclasses.dataclass
class Lab:
    """A Keystone and a Cinder; the administrator has a role in web.

    :ivar url: Cinder's, without a project
    """

    identity: keystone.Keystone
    cinder: CinderDeployment
    group: ScratchVolumeGroup
    url: str
    web: str
    closed: str

    def client(self, **other: str) -> OpenStackClient:
        """The administrator's, but for what is said otherwise."""
        return OpenStackClient(self.cinder,
                               {**self.identity.credentials, **other})

    def with_token(self, token: str) -> OpenStackClient:
        """Whoever has the token."""
        return OpenStackClient(self.cinder, {
            'OS_AUTH_TYPE': 'admin_token', 'OS_TOKEN': token,
            'OS_ENDPOINT': f'{self.url}/{self.admin_project}'})

    @property
    def admin_project(self) -> str:
        return str(self.identity.admin.get_project_id())

    def volumes(self) -> list[dict[str, str]]:
        """Of all projects."""
        found: list[dict[str, str]] = self.identity.admin.get(
            f'{self.url}/{self.admin_project}/volumes/detail',
            params={'all_tenants': 1}).json()['volumes']
        return found

    def cinder_put(self, path: str, body: dict[str, object]) -> None:
        self.identity.admin.put(
            f'{self.url}/{self.admin_project}/{path}', json=body)


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp('keystone')
    with (ScratchVolumeGroup('many') as group,
          keystone.running(folder, f'sqlite:///{folder}/keystone.sqlite'
                           ) as identity):
        group.populate(LVS)
        with CinderDeployment(
                Backend(group, {'lvm_manage_without_device_mapper': 'true'}),
                default_options={'auth_strategy': 'keystone'},
                # A token that is revoked is so at once.
                sections={'keystone_authtoken': {
                    **identity.conf(), 'token_cache_time': '-1'}}) as cinder:
            url = cinder.url.rpartition('/')[0]
            wait_for_pools(lambda: identity.admin.get(
                f'{url}/scheduler-stats/get_pools').json(), 1)
            identity.offer('block-storage', 'cinder', url)
            web = identity.make('project', name='web')
            closed = identity.make('project', name='closed')
            member = identity.make('user', name='member', password=PASSWORD)
            identity.grant('member', member, web)
            identity.grant('admin', str(identity.admin.get_user_id()), web)
            yield Lab(identity, cinder, group, url, web, closed)


@pytest.fixture
def plan(lab, tmp_path):
    """A function that plans for a project; afterwards all is as before."""
    before = lab.group.names()
    path = tmp_path / 'plan.yaml'

    def make(*options):
        made = lab.client().run('volume', 'adoption', 'plan', '--host', HOST,
                                *options, '--output', path)
        assert made.returncode == 0, made.stderr
        assert f'{LVS} volumes to adopt' in made.stdout
        return path, made.stderr

    yield make
    journal = pathlib.Path(f'{path}.journal')
    if journal.exists():
        undone = lab.client().run('volume', 'adoption', 'undo', journal)
        assert undone.returncode == 0, undone.stderr
    assert lab.group.names() == before
    assert lab.volumes() == []


def apply(client, path):
    return client.run('volume', 'adoption', 'apply', path)


def refused(lab, client, path):
    """The message about a plan that must not change anything."""
    changes = lab.group.changes()
    done = apply(client, path)
    assert done.returncode == 1, done.stderr
    assert done.stdout == ''
    assert lab.group.changes() == changes
    assert lab.volumes() == []
    assert not pathlib.Path(f'{path}.journal').exists()
    return done.stderr


def test_volumes_are_transferred_to_their_project_and_unmanaged(lab, plan):
    path, _ = plan('--project', 'web')
    content = yaml.safe_load(path.read_text())
    content['volumes'][0]['volume']['project'] = None
    content['volumes'][1]['volume']['project'] = lab.web
    path.write_text(yaml.safe_dump(content))
    before = lab.group.names()
    applied = apply(lab.client(), path)
    assert applied.returncode == 0, applied.stderr
    owners = {volume['name']: volume['os-vol-tenant-attr:tenant_id']
              for volume in lab.volumes()}
    assert owners == {'lv-00000': lab.admin_project,
                      **{f'lv-{number:05}': lab.web
                         for number in range(1, LVS)}}
    again = apply(lab.client(), path)
    assert again.returncode == 0
    assert f'adopted earlier: {LVS}; adopted: 0' in again.stdout
    undone = lab.client().run('volume', 'adoption', 'undo', f'{path}.journal')
    assert undone.returncode == 0, undone.stderr
    assert lab.group.names() == before


def test_a_project_without_a_role_is_reported_before_any_change(lab, plan):
    path, warned = plan('--project', 'closed')
    for message in (warned, refused(lab, lab.client(), path)):
        assert 'volumes cannot be transferred to project closed' in message


def test_a_project_that_does_not_exist_is_reported(lab, plan):
    path, _ = plan('--project', 'nowhere')
    assert 'project nowhere not found, or not visible to you' in refused(
        lab, lab.client(), path)


def test_the_quota_of_the_receiving_project_counts(lab, plan):
    path, _ = plan('--project', 'web')
    quota = f'os-quota-sets/{lab.web}'
    lab.cinder_put(quota, {'quota_set': {'volumes': LVS - 1}})
    message = refused(lab, lab.client(), path)
    lab.cinder_put(quota, {'quota_set': {'volumes': -1}})
    assert ('the quota of project web for volumes is too small: '
            f'{LVS} needed, {LVS - 1} left') in message


def test_the_callers_quota_counts_until_a_volume_is_transferred(lab, plan):
    path, _ = plan('--project', 'web')
    quota = f'os-quota-sets/{lab.admin_project}'
    lab.cinder_put(quota, {'quota_set': {'volumes': 2}})
    try:
        assert ('the quota of your project for volumes is too small: 4 '
                'needed, 2 left') in refused(lab, lab.client(), path)
        applied = lab.client().run('volume', 'adoption', 'apply', path,
                                   '--parallel', 2)
    finally:
        lab.cinder_put(quota, {'quota_set': {'volumes': -1}})
    assert applied.returncode == 0, applied.stderr


def test_a_type_without_access_for_the_project_is_reported(lab, plan):
    types = f'{lab.url}/{lab.admin_project}/types'
    made = lab.identity.admin.post(types, json={'volume_type': {
        'name': 'private', 'os-volume-type-access:is_public': False}}).json()
    try:
        path, _ = plan('--project', 'web', '--type', 'private')
        assert (f"volume type 'private' is private, and project {lab.web} has "
                'no access to it') in refused(lab, lab.client(), path)
    finally:
        lab.identity.admin.delete(f"{types}/{made['volume_type']['id']}")


def test_a_member_needs_an_administrator(lab, plan):
    path, _ = plan()
    member = lab.client(OS_USERNAME='member', OS_PASSWORD=PASSWORD,
                        OS_PROJECT_NAME='web')
    for command in (('list', '--host', HOST), ('show', '--host', HOST, 'x'),
                    ('plan', '--host', HOST, '--output', f'{path}.member'),
                    ('apply', path)):
        done = member.run('volume', 'adoption', *command)
        assert (done.returncode, done.stdout) == (1, '')
        assert 'This needs an administrator: GET /v3/' in done.stderr
        assert 'HTTP 403' in done.stderr
        assert 'Traceback' not in done.stderr
    refused(lab, member, path)


def test_an_expired_token_is_reported_and_changes_nothing(lab, plan):
    path, _ = plan()
    message = refused(lab, lab.with_token(expired(lab, new_token(lab))), path)
    assert 'Authentication failed' in message
    assert 'HTTP 401' in message


def test_a_token_that_expires_in_the_middle_stops_the_run(lab, plan):
    path, _ = plan()
    token = new_token(lab)
    process = lab.with_token(token).start('volume', 'adoption', 'apply', path,
                                          '--parallel', 1)
    with contextlib.closing(process.stdout):
        for line in process.stdout:
            if line.startswith('[2/'):
                break
        expired(lab, token)
        rest = process.stdout.read()
    assert process.wait() == 3
    assert '401' in rest
    adopted = len(lab.volumes())
    assert 2 <= adopted < LVS
    applied = apply(lab.with_token(new_token(lab)), path)
    assert applied.returncode == 0, applied.stderr
    assert len(lab.volumes()) == LVS
    journal = pathlib.Path(f'{path}.journal').read_text().splitlines()
    assert 'plan' in json.loads(journal[0])


def new_token(lab):
    answer = requests.post(f'{lab.identity.url}/auth/tokens', timeout=60,
                           json={'auth': {
        'identity': {'methods': ['password'], 'password': {'user': {
            'name': 'admin', 'domain': {'id': 'default'},
            'password': keystone.PASSWORD}}},
        'scope': {'project': {'id': lab.admin_project}}}})
    return answer.headers['X-Subject-Token']


def expired(lab, token):
    """The token, which is no longer valid."""
    lab.identity.admin.delete(f'{lab.identity.url}/auth/tokens',
                              headers={'X-Subject-Token': token})
    return token
