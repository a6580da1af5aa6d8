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

import dataclasses
import functools
import itertools
import json
import pathlib
import re

from keystoneauth1 import session
from keystoneauth1.identity import v3
import pytest
import requests
import yaml

from tests.lab import keystone
from tests.lab import zoo
from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.openstack_client import OpenStackClient
from tests.lab.openstack_client import with_new_id
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.volume_api import wait_for_pools

LVS = 6
HOST = 'lab@lvm#lvm'
# Of a volume group with an LV that has a snapshot.
ORIGINS = 'lab@origins#origins'
PASSWORD = 'a secret'  # noqa: S105 on 127.0.0.1, for as long as a test runs


@dataclasses.dataclass
class Lab:
    """A Keystone and a Cinder.

    :ivar origins: the group with snapshots
    :ivar url: Cinder's, without a project
    :ivar web: project in which the administrator is one, too
    :ivar shop: project in which the administrator is a member only
    :ivar closed: project in which the administrator has no role
    """

    identity: keystone.Keystone
    cinder: CinderDeployment
    group: ScratchVolumeGroup
    origins: ScratchVolumeGroup
    url: str
    web: str
    shop: str
    closed: str

    def client(self, **other: str) -> OpenStackClient:
        """The administrator's, with other variables of the environment."""
        return OpenStackClient(self.cinder.url,
                               {**self.identity.credentials, **other})

    def with_token(self, token: str) -> OpenStackClient:
        """A user who has only the token."""
        return OpenStackClient(self.cinder.url, {
            'OS_AUTH_TYPE': 'admin_token', 'OS_TOKEN': token,
            'OS_ENDPOINT': f'{self.url}/{self.admin_project}'})

    @property
    def admin_project(self) -> str:
        return str(self.identity.admin.get_project_id())

    def volumes(self) -> list[dict[str, str]]:
        """Of all projects."""
        return self._all('volumes')

    def snapshots(self) -> list[dict[str, str]]:
        """Of all projects."""
        return self._all('snapshots')

    def _all(self, what: str) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.identity.admin.get(
            f'{self.url}/{self.admin_project}/{what}/detail',
            params={'all_tenants': 1}).json()[what]
        return found

    def owners(self) -> dict[str, str]:
        """The project of each volume, by the volume's name."""
        return {volume['name']: volume['os-vol-tenant-attr:tenant_id']
                for volume in self.volumes()}

    def transfers(self) -> int:
        """How many transfers Cinder has accepted so far."""
        return len(set(re.findall(
            r'POST \S+/volume-transfers/(\S+)/accept',
            self.cinder.log_text())))

    def cinder_put(self, path: str, body: dict[str, object]) -> None:
        self.identity.admin.put(
            f'{self.url}/{self.admin_project}/{path}', json=body)


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp('keystone')
    with (ScratchVolumeGroup('many') as group,
          ScratchVolumeGroup('origins', beside=group) as origins,
          keystone.running(folder, f'sqlite:///{folder}/keystone.sqlite'
                           ) as identity):
        group.populate(LVS)
        origins.restore(zoo.origin_with_snapshot('db01', 'before-upgrade'))
        options = {'lvm_manage_without_device_mapper': 'true'}
        with CinderDeployment(
                Backend(group, options), Backend(origins, options, 'origins'),
                default_options={'auth_strategy': 'keystone'},
                # A token that is revoked is so at once.
                sections={'keystone_authtoken': {
                    **identity.conf(), 'token_cache_time': '-1'}}) as cinder:
            url = cinder.url.rpartition('/')[0]
            wait_for_pools(lambda: identity.admin.get(
                f'{url}/scheduler-stats/get_pools').json(), 2)
            identity.offer('block-storage', 'cinder', url)
            web = identity.make('project', name='web')
            shop = identity.make('project', name='shop')
            closed = identity.make('project', name='closed')
            member = identity.make('user', name='member', password=PASSWORD)
            identity.grant('member', member, web)
            admin = str(identity.admin.get_user_id())
            identity.grant('admin', admin, web)
            identity.grant('member', admin, shop)
            yield Lab(identity, cinder, group, origins, url, web, shop,
                      closed)


@pytest.fixture(scope='module')
def planned(lab, tmp_path_factory):
    """A function that returns a plan, and what the client has warned of."""
    folder = tmp_path_factory.mktemp('planned')
    numbers = itertools.count()

    @functools.cache
    def make(*options, host, number):
        path = folder / f'plan-{next(numbers)}.yaml'
        made = lab.client().run('volume', 'adoption', 'plan', '--host', host,
                                *options, '--output', path)
        assert made.returncode == 0, made.stderr
        assert made.stdout.startswith(f'{path}: {number} volume')
        return path.read_text(), made.stderr

    return make


@pytest.fixture
def plan(lab, planned, tmp_path):
    """A function that plans for a project; afterwards all is as before."""
    before = lab.group.names()
    paths: list[pathlib.Path] = []

    def make(*options, host=HOST, number=LVS):
        path = tmp_path / f'plan-{len(paths)}.yaml'
        paths.append(path)
        text, warned = planned(*options, host=host, number=number)
        path.write_text(with_new_id(text))
        return path, warned

    yield make
    for path in paths:
        journal = pathlib.Path(f'{path}.journal')
        if journal.exists() and lab.volumes():
            undone = undo(lab.client(), path)
            assert undone.returncode == 0, undone.stderr
    assert lab.group.names() == before
    assert lab.volumes() == []


def apply(client, path):
    return client.run('volume', 'adoption', 'apply', path)


def undo(client, path, *options):
    return client.run('volume', 'adoption', 'undo', f'{path}.journal',
                      *options)


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


@pytest.mark.parametrize('project', ['web', 'shop'])
def test_volumes_get_into_their_project_and_are_unmanaged(lab, plan, project):
    path, _ = plan('--project', project)
    theirs = getattr(lab, project)
    transfers = lab.transfers()
    content = yaml.safe_load(path.read_text())
    content['volumes'][0]['volume']['project'] = None
    content['volumes'][1]['volume']['project'] = theirs
    path.write_text(yaml.safe_dump(content))
    before = lab.group.names()
    applied = apply(lab.client(), path)
    assert applied.returncode == 0, applied.stderr
    assert lab.owners() == {'lv-00000': lab.admin_project,
                            **{f'lv-{number:05}': theirs
                               for number in range(1, LVS)}}
    # An administrator of the project manages the volumes there.
    assert lab.transfers() - transfers == (0 if project == 'web' else LVS - 1)
    again = apply(lab.client(), path)
    assert again.returncode == 0
    assert f'adopted earlier: {LVS}; adopted: 0' in again.stdout
    undone = undo(lab.client(), path)
    assert undone.returncode == 0, undone.stderr
    assert lab.group.names() == before


def test_a_project_without_a_role_is_reported_before_any_change(lab, plan):
    path, warned = plan('--project', 'closed')
    for message in (warned, refused(lab, lab.client(), path)):
        assert 'volumes cannot get into project closed' in message


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
    path, _ = plan('--project', 'shop')
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


def test_the_callers_quota_does_not_count_in_another_project(lab, plan):
    path, _ = plan('--project', 'web')
    quota = f'os-quota-sets/{lab.admin_project}'
    lab.cinder_put(quota, {'quota_set': {'volumes': 0}})
    try:
        applied = apply(lab.client(), path)
    finally:
        lab.cinder_put(quota, {'quota_set': {'volumes': -1}})
    assert applied.returncode == 0, applied.stderr
    assert set(lab.owners().values()) == {lab.web}


@pytest.mark.parametrize('project', ['web', 'shop'])
def test_snapshots_get_into_the_project_of_their_volume(lab, plan, project):
    before = lab.origins.names()
    path, warned = plan('--snapshots', '--project', project, host=ORIGINS,
                        number=1)
    assert 'cannot be deleted' not in warned
    applied = apply(lab.client(), path)
    assert applied.returncode == 0, applied.stderr
    volume, = lab.volumes()
    snapshot, = lab.snapshots()
    theirs = getattr(lab, project)
    assert volume['os-vol-tenant-attr:tenant_id'] == theirs
    assert snapshot['name'] == 'before-upgrade'
    assert snapshot['volume_id'] == volume['id']
    assert snapshot[
        'os-extended-snapshot-attributes:project_id'] == theirs
    # With the journal lost, its state is known all the same.
    pathlib.Path(f'{path}.journal').unlink()
    recovered = lab.client().run('volume', 'adoption', 'recover', path)
    assert recovered.stdout.startswith(
        'recovered: 1; snapshots: 1; not adopted: 0; ')
    undone = undo(lab.client(), path)
    assert undone.returncode == 0, undone.stderr
    assert lab.snapshots() == []
    assert lab.origins.names() == before


def test_a_plan_without_them_warns_of_snapshots(lab, plan):
    _, warned = plan(host=ORIGINS, number=1)
    assert '1 volume, such as db01, cannot be deleted or migrated' in warned


def test_a_hostile_project_changes_nothing(lab, plan):
    """A member of web marks a volume of web as that of an LV of a plan."""
    first, _ = plan('--project', 'web', '--match', 'lv-00005', number=1)
    assert apply(lab.client(), first).returncode == 0
    theirs = lab.volumes()[0]['id']
    path, _ = plan(number=LVS - 1)
    plan_id = yaml.safe_load(path.read_text())['plan']
    member = keystone_session(lab, 'member', PASSWORD, 'web')
    mark = {'adopted_by_plan': f'{plan_id}/lv-00000'}
    answer = member.post(f'{lab.url}/{lab.web}/volumes/{theirs}/metadata',
                         json={'metadata': mark})
    assert answer.status_code == 200
    # A run that was killed before its first request arrived.
    journal = pathlib.Path(f'{path}.journal')
    names = lab.group.names()
    journal.write_text('\n'.join(map(json.dumps, (
        {'plan': plan_id},
        {'source': 'lv-00000', 'state': 'requested', 'at': 0, 'volume': None,
         'lv': {'host': HOST, 'name': 'lv-00000',
                'uuid': names['lv-00000']}}))) + '\n')
    named = (f'Ignored volume {theirs} of project {lab.web}: it has the '
             f'property adopted_by_plan={plan_id}/lv-00000')
    applied = apply(lab.client(), path)
    assert applied.returncode == 0, applied.stderr
    assert named in applied.stderr
    assert f'adopted: {LVS - 1}; failed: 0' in applied.stdout
    journal.unlink()
    recovered = lab.client().run('volume', 'adoption', 'recover', path)
    assert recovered.returncode == 0, recovered.stderr
    assert named in recovered.stderr
    assert f'recovered: {LVS - 1}; ' in recovered.stdout
    undone = undo(lab.client(), path)
    assert undone.returncode == 0, undone.stderr
    assert [volume['id'] for volume in lab.volumes()] == [theirs]
    assert lab.group.names() == names


def test_two_operators_adopt_each_lv_once(lab, plan):
    names = lab.group.names()
    paths = [plan()[0] for _ in range(2)]
    running = [lab.client().start('volume', 'adoption', 'apply', path,
                                  '--stop-after', 0) for path in paths]
    printed = [process.communicate()[0] for process in running]
    statuses = [process.returncode for process in running]
    assert set(statuses) <= {0, 1, 3}, printed
    assert len(lab.volumes()) == LVS
    assert set(lab.group.names().values()) == set(names.values())
    # The run that was second reports it.
    assert any('already' in text for text in printed), printed
    for path in paths:
        if pathlib.Path(f'{path}.journal').exists():
            assert undo(lab.client(), path).returncode == 0
    assert lab.group.names() == names


def test_a_lost_journal_is_recovered_and_undone_in_part(lab, plan):
    names = lab.group.names()
    path, _ = plan('--project', 'web')
    assert apply(lab.client(), path).returncode == 0
    pathlib.Path(f'{path}.journal').unlink()
    shown = lab.client().run('volume', 'adoption', 'show', '--host', HOST,
                             'lv-00003', '-f', 'json')
    volume, = (volume['id'] for volume in lab.volumes()
               if volume['name'] == 'lv-00003')
    assert json.loads(shown.stdout)['Cinder ID'] == volume
    recovered = lab.client().run('volume', 'adoption', 'recover', path)
    assert recovered.returncode == 0, recovered.stderr
    assert recovered.stdout == (
        f'recovered: {LVS}; snapshots: 0; not adopted: 0; journal: '
        f'{path}.journal\n')
    undone = undo(lab.client(), path, '--match', 'lv-0000[0-2]')
    assert undone.returncode == 0, undone.stderr
    assert len(lab.volumes()) == 3
    again = apply(lab.client(), path)
    assert again.returncode == 0, again.stderr
    assert 'adopted earlier: 3; adopted: 3; ' in again.stdout
    assert undo(lab.client(), path).returncode == 0
    assert lab.group.names() == names


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
    with lab.with_token(token).running(
            'volume', 'adoption', 'apply', path, '--parallel', 1, until=2
            ) as process:
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


def keystone_session(lab, user, password, project):
    return session.Session(v3.Password(
        lab.identity.url, username=user, password=password,
        project_name=project, user_domain_id='default',
        project_domain_id='default'))


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
