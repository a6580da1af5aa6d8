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

"""The clients' commands of the documentation, on a real Keystone and Cinder.

An operator's shell has the administrator's credentials in its environment.
"""

import os
import re
import subprocess

import pytest
import yaml

from tests.lab import documented
from tests.lab import keystone
from tests.lab import polling
from tests.lab import zoo
from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.service_conf import SCRIPTS
from tests.lab.volume_api import wait_for_pools

SIZES = {'vm-101-disk-0': '32g', 'vm-101-disk-1': '4m', 'vm-102-disk-0': '8g',
         'vm-103-disk-0': '8g', 'web01': '1g'}
UUID = re.compile(r'\b\w{6}(-\w{4}){5}-\w{6}\b')

# The lab's host is not this machine's, root needs no sudo, and cinder.conf is
# not in /etc.
FUNCTIONS = """
hostname() { echo lab; }
sudo() { "$@"; }
cinder-manage() { command cinder-manage --config-file "$CINDER_CONF" "$@"; }
"""


class Lab:
    """A shell of root on the host of the backends.

    :ivar group: the volume group of the backend lvm
    """

    def __init__(self, identity, cinder, group):
        self.identity = identity
        self.group = group
        self.url = cinder.url.rpartition('/')[0]
        self._log_path = cinder.log_path
        self._environment = {
            **os.environ, **group.environment, **identity.credentials,
            'PYTHONWARNINGS': 'ignore', 'CINDER_CONF': str(cinder.conf_path),
            'PATH': f"{SCRIPTS}:{os.environ['PATH']}"}

    def run(self, line, folder=None):
        """Run a command line of a page, with the names of this lab."""
        for word, real in (('host@lvm#lvm', 'lab@lvm#lvm'),
                           ('lab@ssd#ssd', 'lab@lvmdriver-1#lvmdriver-1'),
                           (' HOST ', " 'lab@lvm#lvm' "),
                           ('/var/log/cinder/cinder-volume.log',
                            str(self._log_path))):
            line = line.replace(word, real)
        done = subprocess.run(
            ['bash', '-c', f'{FUNCTIONS}\n{line}'],
            cwd=folder, env=self._environment, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        polling.wait_for(
            'the end of what is done to volumes and snapshots',
            lambda: {each['status']
                     for each in self.volumes() + self.snapshots()},
            # A volume with an attachment is reserved.
            lambda statuses: statuses <= {'available', 'error', 'reserved'})
        return done

    def succeeds(self, line, folder=None):
        """Return what the command line prints."""
        done = self.run(line, folder)
        assert done.returncode == 0, f'{line}: {done.stdout}'
        return done.stdout

    def volumes(self):
        return self._get('volumes/detail')['volumes']

    def snapshots(self):
        return self._get('snapshots/detail')['snapshots']

    def attachment_of(self, volume):
        """Return the ID of an attachment of a volume, to no server."""
        reply = self.identity.admin.post(
            f'{self.url}/{self.identity.admin.get_project_id()}/attachments',
            headers={'OpenStack-API-Version': 'volume 3.54'},
            json={'attachment': {'volume_uuid': volume}})
        return reply.json()['attachment']['id']

    def _get(self, path):
        return self.identity.admin.get(
            f'{self.url}/{self.identity.admin.get_project_id()}/{path}'
            ).json()


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp('keystone')
    with (ScratchVolumeGroup('cinder-volumes') as group,
          ScratchVolumeGroup('stack-volumes-lvmdriver-1', beside=group
                             ) as stack,
          keystone.running(folder, f'sqlite:///{folder}/keystone.sqlite'
                           ) as identity):
        group.restore(zoo.origin_with_snapshot('db01', 'before-upgrade'))
        for name, size in SIZES.items():
            group.create(name, size)
        group.lvm('lvchange', '--permission', 'r',
                  'cinder-volumes/vm-103-disk-0')
        options = {'lvm_manage_without_device_mapper': 'true'}
        with CinderDeployment(
                Backend(group, options),
                Backend(stack, options, 'lvmdriver-1'),
                default_options={'auth_strategy': 'keystone'},
                sections={'keystone_authtoken': identity.conf()}) as cinder:
            lab = Lab(identity, cinder, group)
            wait_for_pools(lambda: identity.admin.get(
                f'{lab.url}/scheduler-stats/get_pools').json(), 2)
            identity.offer('block-storage', 'cinder', lab.url)
            yield lab


@pytest.fixture
def unchanged(lab):
    """At the end of the test, the LVs are as before."""
    before = lab.group.names()
    yield
    assert lab.group.names() == before
    assert lab.volumes() == []


def lines_of(checker):
    return [line.text for line in documented.lines_of(checker)]


@pytest.mark.parametrize('page', sorted(
    {line.page for line in documented.lines_of(documented.README)}))
def test_the_commands_of_a_readme(lab, unchanged, tmp_path, page):
    names = lab.group.names().keys()
    for line in documented.lines_of(documented.README):
        if line.page == page:
            lab.succeeds(line.text, tmp_path)
            if ' manage ' in line.text:
                assert lab.group.names().keys() == names - {'web01'} | {
                    f'volume-{lab.volumes()[0]["id"]}'}
            if line.text.endswith(' apply plan.yaml'):
                assert len(lab.volumes()) == 3


def test_adopt_many(lab, unchanged, tmp_path):
    printed = outputs()
    for line in lines_of(documented.ADOPT_MANY):
        output = lab.succeeds(line, tmp_path)
        for shown in printed.get(line, [])[-1:]:
            assert normal(output) == normal(shown)
    shown = re.search(r'^    - volume:\n(      .*\n)+', page_of_many(),
                      re.MULTILINE)
    assert shown
    entry, = yaml.safe_load(UUID.sub('UUID', shown[0]))
    plan = yaml.safe_load(UUID.sub('UUID', (tmp_path / 'plan.yaml'
                                            ).read_text()))
    assert entry in plan['volumes']


def test_a_plan_that_has_changed_is_refused(lab, unchanged, tmp_path):
    plan, apply = (next(
        line for line in lines_of(documented.ADOPT_MANY)
        if line.startswith(f'openstack volume adoption {word} '))
        for word in ('plan', 'apply'))
    apply = apply.removesuffix(' --dry-run')
    lab.succeeds(plan, tmp_path)
    path = tmp_path / 'plan.yaml'
    content = yaml.safe_load(path.read_text())
    content['volumes'][0]['lv']['gib'] = 33
    for entry in content['volumes']:
        entry['volume']['volume_type'] = 'gold'
    path.write_text(yaml.safe_dump(content))
    done = lab.run(apply, tmp_path)
    assert done.returncode == 1
    assert normal(outputs()[apply][0]) == normal(done.stdout)


def page_of_many():
    page, = {line.page for line in documented.lines_of(documented.ADOPT_MANY)}
    return documented.CHECKOUT.joinpath(page).read_text()


def outputs():
    """Return what the page shows below each command line, each time."""
    found: dict[str, list[str]] = {}
    for line, shown in re.findall(
            r'^    \$ (.*)\n((?:    (?!\$).*\n)+)',
            re.sub(r' *\\\n *', ' ', page_of_many()), re.MULTILINE):
        found.setdefault(line, []).append(shown)
    return found


def normal(text):
    """Return the lines, without UUIDs and the order in which LVs are done."""
    lines = [re.sub(r'^\[\d+/', '[n/', line.strip())
             for line in UUID.sub('UUID', text).splitlines()]
    return sorted(filter(None, lines))


def test_the_commands_of_devstacks_readme(lab, unchanged, tmp_path):
    for line in lines_of(documented.DEVSTACK):
        lab.succeeds(line, tmp_path)
    volume, = lab.volumes()
    assert volume['name'] == 'disk'
    assert volume['status'] == 'available'
    lab.succeeds(f"cinder unmanage {volume['id']}")
    polling.wait_for('the end of the volume', lambda: not lab.volumes())


def test_the_quota_is_corrected(lab, unchanged):
    check, sync = 'cinder-manage quota check', 'cinder-manage quota sync'
    assert set(lines_of(documented.QUOTA)) == {check, sync}
    assert 'invalid usage' not in lab.succeeds(check)
    lab.succeeds("cinder manage --name refused 'host@lvm#lvm' vm-103-disk-0")
    volume, = lab.volumes()
    assert volume['status'] == 'error'
    lab.succeeds(f"cinder delete {volume['id']}")
    polling.wait_for('the end of the volume', lambda: not lab.volumes())
    project = f'--project-id {lab.identity.admin.get_project_id()}'
    assert 'volumes: invalid usage saved=1 actual=0' in lab.succeeds(
        f'{check} {project}')
    lab.succeeds(f'{sync} {project}')
    assert 'invalid usage' not in lab.succeeds(check)


@pytest.fixture
def adopted(lab, unchanged):
    """A volume and its snapshot; the IDs by their kinds."""
    lab.succeeds("cinder manage --name db01 'host@lvm#lvm' db01")
    lab.succeeds('cinder snapshot-manage --name before db01 before-upgrade')
    ids = {'volume': lab.volumes()[0]['id'],
           'snapshot': lab.snapshots()[0]['id']}
    yield ids
    for kind, reset, unmanage in (
            ('snapshot', 'snapshot-reset-state', 'snapshot-unmanage'),
            ('volume', 'reset-state', 'unmanage')):
        lab.succeeds(f'cinder {reset} --state available {ids[kind]}')
        lab.succeeds(f'cinder {unmanage} {ids[kind]}')
    polling.wait_for('the end of the volume', lambda: not lab.volumes())


def test_commands_about_a_volume_succeed(lab, adopted):
    attachment = lab.attachment_of(adopted['volume'])
    for line in dict.fromkeys(lines_of(documented.CLOUD)):
        kind = 'snapshot' if ' snapshot ' in line else 'volume'
        for word, real in (('ID', adopted[kind]),
                           ('VOLUME', adopted['volume']),
                           ('ATTACHMENT', attachment)):
            line = line.replace(word, real)
        lab.succeeds(line)
