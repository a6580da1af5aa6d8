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

"""openstack volume adoption, on a real Cinder, from plan to undo."""

import contextlib
import csv
import io
import json
import signal

import pytest
import yaml

from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.openstack_client import OpenStackClient
from tests.lab.scratch import ScratchVolumeGroup

LVS = 24
HOST = 'lab@lvm#lvm'


@pytest.fixture(scope='module')
def lab():
    """A Cinder on many LVs, of which one is read-only; and its client."""
    with ScratchVolumeGroup('many') as group:
        group.populate(LVS + 1)
        group.lvm('lvchange', '--permission', 'r', f'many/lv-{LVS:05}')
        with CinderDeployment(
                Backend(group, {'lvm_manage_without_device_mapper': 'true'}),
                # Cinder's limit for a page, so that there are more than one.
                default_options={'osapi_max_limit': '10'}) as cinder:
            yield cinder, group, OpenStackClient(cinder)


@pytest.fixture
def plan(lab, tmp_path):
    """The path of a plan of all of them; afterwards all is as before."""
    cinder, group, client = lab
    before = group.names()
    path = tmp_path / 'plan.yaml'
    made = client.run('volume', 'adoption', 'plan', '--host', HOST, '-o', path)
    assert made.returncode == 0, made.stdout
    assert f'{LVS} to be adopted, {LVS} GiB; 1 left out' in made.stdout
    yield path
    journal = path.with_name('plan.yaml.journal')
    if journal.exists():
        client.run('volume', 'adoption', 'undo', journal)
    for volume in volumes(cinder, status='error_managing'):
        cinder.api.delete(volume['id'])
        cinder.api.wait_until_gone(volume['id'])
    assert group.names() == before
    assert not any(map(group.tags, before))


def change(path, edit):
    content = yaml.safe_load(path.read_text())
    edit(content)
    path.write_text(yaml.safe_dump(content))


def keep_two(content):
    del content['volumes'][2:]


def volumes(cinder, **query):
    """A page of Cinder's volumes."""
    return cinder.api.request('GET', 'volumes/detail', params=query
                              ).body['volumes']


def count(cinder):
    return cinder.api.request('GET', 'volumes/summary').body[
        'volume-summary']['total_count']


def test_a_list_has_the_same_columns_in_every_format(lab):
    _, group, client = lab
    formats = {name: client.run(
        'volume', 'adoption', 'list', '--host', HOST, '--match', '*-0000?',
        '--safe', '--sort', 'reference:desc', '-f', name).stdout
        for name in ('csv', 'json', 'yaml')}
    rows = json.loads(formats['json'])
    assert [row['Name'] for row in rows] == [
        f'lv-{number:05}' for number in range(9, -1, -1)]
    assert rows[0] == {
        'Name': 'lv-00009', 'GiB': 1, 'Bytes': 12582912, 'Safe': True,
        'Reasons': '', 'Kind': 'linear', 'Tags': '',
        'Source ID': group.names()['lv-00009']}
    assert yaml.safe_load(formats['yaml']) == rows
    assert [row['Name'] for row in csv.DictReader(
        io.StringIO(formats['csv']))] == [row['Name'] for row in rows]


def test_all_pages_are_listed(lab):
    _, group, client = lab
    listed = client.run('volume', 'adoption', 'list', '--host', HOST,
                        '-f', 'json').stdout
    assert {row['Name'] for row in json.loads(listed)
            } == group.names().keys()


def test_one_is_explained_by_name_and_by_uuid(lab):
    _, group, client = lab
    for word in (f'lv-{LVS:05}', group.names()[f'lv-{LVS:05}']):
        told = json.loads(client.run(
            'volume', 'adoption', 'show', '--host', HOST, word,
            '-f', 'json').stdout)
        assert told['Safe'] is False
        assert told['Reasons'] == ['is read-only']
        assert told['Remedies'] == [
            f'run `lvchange --permission rw many/lv-{LVS:05}`']
        assert told['If Managed'] == ['it is refused, and stays as it is']
    missing = client.run('volume', 'adoption', 'show', '--host', HOST, 'x')
    assert missing.returncode == 1
    assert "lists no 'x'" in missing.stdout


def test_a_plan_is_applied_and_undone(lab, plan):
    cinder, group, client = lab
    before = group.names()

    def edit(content):
        # One less, one with a name and properties of its own.
        del content['volumes'][5:]
        content['volumes'][0] |= {'name': 'first', 'bootable': True,
                                  'metadata': {'from': 'old'}}
    change(plan, edit)
    checked = client.run('volume', 'adoption', 'apply', plan, '--dry-run')
    assert checked.returncode == 0
    assert '5 to be adopted, and nothing against it' in checked.stdout
    assert group.names() == before
    applied = client.run('volume', 'adoption', 'apply', plan)
    assert applied.returncode == 0, applied.stdout
    assert 'adopted: 5; before: 0; failed: 0; not known: 0' in applied.stdout
    first, = (volume for volume in volumes(cinder)
              if volume['name'] == 'first')
    assert first['bootable'] == 'true'
    assert first['metadata']['from'] == 'old'
    assert group.names()[f"volume-{first['id']}"] == before['lv-00000']
    again = client.run('volume', 'adoption', 'apply', plan)
    assert again.returncode == 0
    assert 'adopted: 0; before: 5' in again.stdout
    assert count(cinder) == 5
    undone = client.run('volume', 'adoption', 'undo', f'{plan}.journal')
    assert undone.returncode == 0
    assert 'given back: 5; failed: 0' in undone.stdout
    assert group.names() == before


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_stopped_goes_on(lab, plan, how):
    cinder, group, client = lab
    before = group.names()
    process = client.start('volume', 'adoption', 'apply', plan,
                           '--parallel', 3)
    with contextlib.closing(process.stdout):
        for line in process.stdout:
            if line.startswith('[5/'):
                break
        process.send_signal(how)
        rest = process.stdout.read()
    assert process.wait() == (130 if how is signal.SIGINT else -how)
    assert how is signal.SIGKILL or 'the same command goes on' in rest
    left = set(group.names()) & set(before)
    assert 0 < len(left) < LVS
    applied = client.run('volume', 'adoption', 'apply', plan)
    assert applied.returncode == 0, applied.stdout
    assert 'failed: 0; not known: 0' in applied.stdout
    assert count(cinder) == LVS
    assert {uuid for name, uuid in group.names().items()
            if name.startswith('volume-')} == {
        uuid for name, uuid in before.items() if name != f'lv-{LVS:05}'}
    undone = client.run('volume', 'adoption', 'undo', f'{plan}.journal')
    assert undone.returncode == 0, undone.stdout
    assert group.names() == before


def test_what_cinder_was_asked_but_did_not_answer_is_found(lab, plan):
    cinder, _, client = lab
    change(plan, keep_two)
    assert client.run('volume', 'adoption', 'apply', plan).returncode == 0
    journal = plan.with_name('plan.yaml.journal')
    lines = journal.read_text().splitlines()
    # As if it had been killed before the answers came.
    journal.write_text('\n'.join(lines[:3]) + '\n')
    again = client.run('volume', 'adoption', 'apply', plan)
    assert again.returncode == 0, again.stdout
    assert 'adopted: 2; before: 0; failed: 0' in again.stdout
    assert count(cinder) == 2


def rename(content):
    content['volumes'][0]['reference'] = {'source-name': 'nothing'}


def replace_by_nothing(content):
    content['volumes'][0] |= {'reference': {'source-name': 'nothing'},
                              'source_id': ''}


def take_the_read_only(content):
    content['volumes'][0] |= {'reference': {'source-name': f'lv-{LVS:05}'},
                              'source_id': ''}


FAULTS = {
    'a field is unknown': (
        lambda content: content['volumes'][0].update(nme='x'),
        "'nme' was unexpected"),
    'an LV is gone': (replace_by_nothing, 'nothing: is not there any more'),
    'an LV has another name': (rename, 'nothing: is called lv-00000 now'),
    'an LV is another': (
        lambda content: content['volumes'][0].update(source_id='other'),
        'lv-00000: is another LV now'),
    'an LV is of another size': (
        lambda content: content['volumes'][0].update(size=1),
        'lv-00000: has 12582912 bytes now, and 1 in the plan'),
    'an LV is not safe': (take_the_read_only, 'is read-only'),
    'a type is missing': (
        lambda content: content['volumes'][0].update(volume_type='gold'),
        'volume type gold: there is none'),
    'a zone is missing': (
        lambda content: content['volumes'][0].update(
            availability_zone='moon'),
        'availability zone moon: is not available; there are nova'),
    'the host is missing': (
        lambda content: content.update(host='lab@other#other'),
        'Cinder has no volume service lab@other'),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_a_plan_that_does_not_hold_changes_nothing(lab, plan, fault):
    cinder, group, client = lab
    edit, words = FAULTS[fault]
    change(plan, edit)
    changes = group.changes()
    refused = client.run('volume', 'adoption', 'apply', plan)
    assert refused.returncode == 2
    assert words in refused.stdout
    assert 'nothing is begun' in refused.stdout
    assert group.changes() == changes
    assert volumes(cinder) == []


def test_a_quota_that_is_too_small_changes_nothing(lab, plan):
    cinder, group, client = lab
    project = cinder.url.rpartition('/')[2]

    def set_quota(volumes):
        assert cinder.api.request('PUT', f'os-quota-sets/{project}', {
            'quota_set': {'volumes': volumes}}).status == 200
    changes = group.changes()
    set_quota(LVS - 1)
    try:
        refused = client.run('volume', 'adoption', 'apply', plan)
    finally:
        set_quota(-1)
    assert refused.returncode == 2
    assert f'{LVS} volumes are to be adopted, but its quota leaves' in (
        refused.stdout)
    assert group.changes() == changes


def test_a_plan_is_made_of_a_csv(lab, tmp_path):
    _, _, client = lab
    listing = client.run('volume', 'adoption', 'list', '--host', HOST,
                         '--match', 'lv-00001', '--match', 'lv-00003',
                         '-f', 'csv').stdout
    header, *lines = listing.splitlines()
    path = tmp_path / 'lvs.csv'
    path.write_text('\n'.join([f'{header},Volume Name,Bootable',
                               *(f'{line},web-{number},yes' for number, line
                                 in enumerate(lines, start=1))]))
    made = client.run('volume', 'adoption', 'plan', '--host', HOST,
                      '--csv', path, '-o', tmp_path / 'plan.yaml')
    assert made.returncode == 0, made.stdout
    content = yaml.safe_load((tmp_path / 'plan.yaml').read_text())
    assert [(entry['reference'], entry['name'], entry['bootable'])
            for entry in content['volumes']] == [
        ({'source-name': 'lv-00001'}, 'web-1', True),
        ({'source-name': 'lv-00003'}, 'web-2', True)]


def test_a_failure_leaves_nothing_and_is_tried_again(lab, plan):
    cinder, group, client = lab
    change(plan, keep_two)
    before = group.names()
    with cinder.database.failing('UPDATE ON volumes',
                                 "NEW.status = 'available'"):
        failed = client.run('volume', 'adoption', 'apply', plan)
    assert failed.returncode == 1
    assert 'adopted: 0; before: 0; failed: 2' in failed.stdout
    assert 'came to the status error' in failed.stdout
    assert group.names() == before
    assert volumes(cinder) == []
    applied = client.run('volume', 'adoption', 'apply', plan)
    assert applied.returncode == 0, applied.stdout
    assert 'adopted: 2; before: 0' in applied.stdout


def test_an_undo_that_is_killed_goes_on(lab, plan):
    cinder, group, client = lab
    before = group.names()
    assert client.run('volume', 'adoption', 'apply', plan).returncode == 0
    process = client.start('volume', 'adoption', 'undo', f'{plan}.journal',
                           '--parallel', 3)
    with contextlib.closing(process.stdout):
        for line in process.stdout:
            if line.startswith('[5/'):
                break
        process.kill()
    process.wait()
    # What Cinder was asked for it does, whoever is there to see it.
    for volume in volumes(cinder, status='unmanaging'):
        cinder.api.wait_until_gone(volume['id'])
    assert 0 < count(cinder) < LVS
    undone = client.run('volume', 'adoption', 'undo', f'{plan}.journal')
    assert undone.returncode == 0, undone.stdout
    assert count(cinder) == 0
    assert group.names() == before


def test_what_is_in_use_is_not_undone(lab, plan):
    cinder, group, client = lab
    change(plan, keep_two)
    assert client.run('volume', 'adoption', 'apply', plan).returncode == 0
    used = volumes(cinder)[0]['id']
    names = group.names()

    def act(action):
        assert cinder.api.request('POST', f'volumes/{used}/action', {
            action: {}}).status == 202
    act('os-reserve')
    refused = client.run('volume', 'adoption', 'undo', f'{plan}.journal')
    act('os-unreserve')
    assert refused.returncode == 2
    assert f'volume {used} is attaching' in refused.stdout
    assert group.names() == names


def test_while_cinder_is_away_nothing_is_lost(lab, plan):
    cinder, group, client = lab
    before = group.names()
    process = client.start('volume', 'adoption', 'apply', plan,
                           '--timeout', 60)
    with contextlib.closing(process.stdout):
        for line in process.stdout:
            if line.startswith('[3/'):
                break
        cinder.kill(with_commands=False)
        rest = process.stdout.read()
    assert process.wait() == 1
    assert 'not known: lv-' in rest
    cinder.start()
    client = OpenStackClient(cinder)
    # What Cinder was doing when it was killed stays so, and is an operator's.
    for volume in (each['id'] for each in volumes(cinder, status='managing')):
        cinder.api.request('POST', f'volumes/{volume}/action', {
            'os-reset_status': {'status': 'error'}})
        cinder.api.delete(volume)
        cinder.api.wait_until_gone(volume)
    for _ in range(2):
        applied = client.run('volume', 'adoption', 'apply', plan)
    assert applied.returncode == 0, applied.stdout
    assert count(cinder) == LVS
    undone = client.run('volume', 'adoption', 'undo', f'{plan}.journal')
    assert undone.returncode == 0, undone.stdout
    assert group.names() == before
