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
import re
import signal
import socket
import threading
import time
from typing import Any
from urllib import parse

from cinder.scheduler.filters import capabilities_filter
from cinder.scheduler.filters import extra_specs_ops
from osc_volume_adopt.tests.unit import test_scheduler
import pytest
import yaml

from tests.lab import polling
from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.openstack_client import OpenStackClient
from tests.lab.openstack_client import read_up_to
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
    made = client.run('volume', 'adoption', 'plan', '--host', HOST,
                      '--output', path)
    assert made.returncode == 0, made.stderr
    assert f'{LVS} volumes to adopt, {LVS} GiB; 1 LV left out' in made.stdout
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


def on_host(content, host):
    for entry in content['volumes']:
        entry['lv']['host'] = host


def keep_two(content):
    del content['volumes'][2:]


def volumes(cinder, **query):
    """A page of Cinder's volumes."""
    return cinder.api.request('GET', 'volumes/detail', params=query
                              ).body['volumes']


class Proxy(contextlib.ExitStack):
    """Forwards connections to a port of 127.0.0.1, until it is cut."""

    def __init__(self, port):
        super().__init__()
        self._target = port
        self._open = []
        self._is_cut = False
        server = self.enter_context(socket.create_server(('127.0.0.1', 0)))
        self.port = server.getsockname()[1]
        threading.Thread(target=self._serve, args=(server,),
                         daemon=True).start()

    def cut(self):
        """End all connections, and return how many there have been."""
        self._is_cut = True
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        return len(self._open) // 2

    def join(self):
        self._is_cut = False

    def _serve(self, server):
        with contextlib.suppress(OSError):
            while True:
                client = server.accept()[0]
                if self._is_cut:
                    client.close()
                    continue
                cinder = socket.create_connection(('127.0.0.1', self._target))
                self._open += [client, cinder]
                for pair in ((client, cinder), (cinder, client)):
                    threading.Thread(target=self._forward, args=pair,
                                     daemon=True).start()

    def _forward(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def count(cinder):
    return cinder.api.request('GET', 'volumes/summary').body[
        'volume-summary']['total_count']


def test_a_list_has_the_same_columns_in_every_format(lab):
    _, group, client = lab
    formats = {name: client.run(
        'volume', 'adoption', 'list', '--host', HOST, '--match', '*-0000?',
        '--safe', '--sort', 'name:desc', '-f', name).stdout
        for name in ('csv', 'json', 'yaml')}
    rows = json.loads(formats['json'])
    assert [row['Name'] for row in rows] == [
        f'lv-{number:05}' for number in range(9, -1, -1)]
    assert rows[0] == {
        'Name': 'lv-00009', 'Size': 12582912, 'GiB': 1, 'Safe': True,
        'Codes': [], 'Reasons': '', 'Owner': '',
        'Contents': 'not read: it has no device node', 'Snapshots': [],
        'Layout': 'linear',
        'Tags': '',
        'Source ID': group.names()['lv-00009'], 'Cinder ID': None,
        'Backend': HOST}
    assert yaml.safe_load(formats['yaml']) == rows
    assert [row['Name'] for row in csv.DictReader(
        io.StringIO(formats['csv']))] == [row['Name'] for row in rows]


def test_all_pages_are_listed(lab):
    _, group, client = lab
    listed = client.run('volume', 'adoption', 'list', '--host', HOST,
                        '-f', 'json').stdout
    assert {row['Name'] for row in json.loads(listed)
            } == group.names().keys()


def test_lvs_are_listed_by_reason(lab):
    _, _, client = lab
    for code, names in (('read-only', [f'lv-{LVS:05}']), ('in-use', [])):
        listed = json.loads(client.run(
            'volume', 'adoption', 'list', '--host', HOST, '--reason', code,
            '-f', 'json').stdout)
        assert [row['Name'] for row in listed] == names
        assert all(row['Codes'] == [code] for row in listed)


def test_one_is_shown_by_name_and_by_uuid(lab):
    _, group, client = lab
    for word in (f'lv-{LVS:05}', group.names()[f'lv-{LVS:05}']):
        shown = json.loads(client.run(
            'volume', 'adoption', 'show', '--host', HOST, word,
            '-f', 'json').stdout)
        assert shown['Safe'] is False
        assert shown['Driver'] == 'cinder_lvm_manage'
        assert shown['Reasons'] == [{
            'code': 'read-only', 'kind': 'unsafe', 'why': 'is read-only',
            'remedy': f'run `lvchange --permission rw many/lv-{LVS:05}`'}]
        assert shown['If Managed'] == [
            'Cinder refuses the request, and the LV does not change']


def test_a_plan_is_applied_and_undone(lab, plan):
    cinder, group, client = lab
    before = group.names()

    def edit(content):
        # One less, one with a name and properties of its own.
        del content['volumes'][5:]
        content['volumes'][0]['volume'] |= {
            'name': 'first', 'bootable': True, 'metadata': {'from': 'old'},
            'image_properties': {'hw_firmware_type': 'uefi'}}
    change(plan, edit)
    checked = client.run('volume', 'adoption', 'apply', plan, '--dry-run')
    assert checked.returncode == 0
    assert checked.stdout == '5 volumes to adopt; all checks passed\n'
    assert group.names() == before
    assert list(plan.parent.iterdir()) == [plan]
    applied = client.run('volume', 'adoption', 'apply', plan)
    assert applied.returncode == 0, applied.stderr
    assert ('adopted earlier: 0; adopted: 5; failed: 0; outcome unknown: 0'
            in applied.stdout)
    assert '[5/5] lv-0000' in applied.stderr
    first, = (volume for volume in volumes(cinder)
              if volume['name'] == 'first')
    assert first['bootable'] == 'true'
    assert first['metadata']['from'] == 'old'
    assert first['volume_image_metadata'] == {'hw_firmware_type': 'uefi'}
    assert group.names()[f"volume-{first['id']}"] == before['lv-00000']
    again = client.run('volume', 'adoption', 'apply', plan)
    assert again.returncode == 0
    assert 'adopted earlier: 5; adopted: 0' in again.stdout
    assert count(cinder) == 5
    undone = client.run('volume', 'adoption', 'undo', f'{plan}.journal')
    assert undone.returncode == 0
    assert 'unmanaged: 5; failed: 0' in undone.stdout
    assert group.names() == before


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_resumes(lab, plan, how):
    cinder, group, client = lab
    before = group.names()
    process = client.start('volume', 'adoption', 'apply', plan,
                           '--parallel', 3)
    with contextlib.closing(process.stdout):
        read_up_to(process, '[5/')
        process.send_signal(how)
        rest = process.stdout.read()
    assert process.wait() == (130 if how is signal.SIGINT else -how)
    assert how is signal.SIGKILL or 'Run the same command to resume' in rest
    left = set(group.names()) & set(before)
    assert 0 < len(left) < LVS
    applied = client.run('volume', 'adoption', 'apply', plan)
    assert applied.returncode == 0, applied.stderr
    assert 'failed: 0; outcome unknown: 0' in applied.stdout
    assert count(cinder) == LVS
    assert {uuid for name, uuid in group.names().items()
            if name.startswith('volume-')} == {
        uuid for name, uuid in before.items() if name != f'lv-{LVS:05}'}
    undone = client.run('volume', 'adoption', 'undo', f'{plan}.journal')
    assert undone.returncode == 0, undone.stderr
    assert group.names() == before


def test_a_volume_whose_answer_was_lost_is_found(lab, plan):
    cinder, _, client = lab
    change(plan, keep_two)
    assert client.run('volume', 'adoption', 'apply', plan).returncode == 0
    journal = plan.with_name('plan.yaml.journal')
    lines = journal.read_text().splitlines()
    # As if it had been killed before the answers came.
    journal.write_text('\n'.join(lines[:3]) + '\n')
    again = client.run('volume', 'adoption', 'apply', plan)
    assert again.returncode == 0, again.stderr
    assert 'adopted earlier: 0; adopted: 2; failed: 0' in again.stdout
    assert count(cinder) == 2


def rename(content):
    content['volumes'][0]['lv']['reference'] = {'source-name': 'nothing'}


def replace_by_nothing(content):
    content['volumes'][0]['lv'] |= {'reference': {'source-name': 'nothing'},
                                    'source_id': ''}


def take_the_read_only(content):
    content['volumes'][0]['lv'] |= {
        'reference': {'source-name': f'lv-{LVS:05}'}, 'source_id': ''}


PROBLEMS = {
    'a field is unknown': (
        lambda content: content['volumes'][0]['volume'].update(nme='x'),
        "'nme' was unexpected"),
    'an LV is gone': (replace_by_nothing, 'nothing: LV not found on host'),
    'an LV has another name': (rename,
                               'nothing: the LV is now named lv-00000'),
    'an LV is another': (
        lambda content: content['volumes'][0]['lv'].update(source_id='other'),
        'lv-00000: another LV has this name now'),
    'an LV is of another size': (
        lambda content: content['volumes'][0]['lv'].update(size=1),
        'lv-00000: the LV has 12582912 bytes now, but 1 in the plan'),
    'an LV is not safe': (
        take_the_read_only,
        f'lv-{LVS:05}: not safe to manage: the LV is read-only (run '),
    'a type is missing': (
        lambda content: content['volumes'][0]['volume'].update(
            volume_type='gold'),
        "lv-00000: volume type 'gold' not found; available types: "),
    'a type is missing for all': (
        lambda content: [entry['volume'].update(volume_type='gold')
                         for entry in content['volumes']],
        (f'{LVS} volumes (lv-00000, lv-00001, lv-00002, ...): volume type '
        "'gold' not found; available types: __DEFAULT__\n")),
    'a zone is missing': (
        lambda content: content['volumes'][0]['volume'].update(
            availability_zone='moon'),
        "lv-00000: availability zone 'moon' is not that of the backend, nova"),
    'the host is missing': (
        lambda content: on_host(content, 'lab@other#other'),
        'no cinder-volume service is named lab@other'),
    'the pool is missing': (
        lambda content: on_host(content, 'lab@lvm#other'),
        "Cinder's scheduler knows no pool of host lab@lvm#other"),
}


@pytest.mark.parametrize('problem', PROBLEMS)
def test_a_plan_with_a_problem_changes_nothing(lab, plan, problem):
    cinder, group, client = lab
    edit, words = PROBLEMS[problem]
    change(plan, edit)
    changes = group.changes()
    for options in ((), ('--dry-run',)):
        refused = client.run('volume', 'adoption', 'apply', plan, *options)
        assert refused.returncode == 1
        assert refused.stdout == ''
        assert words in refused.stderr
    assert list(plan.parent.iterdir()) == [plan]
    assert group.changes() == changes
    assert volumes(cinder) == []


def test_the_scheduler_is_foreseen_as_cinder_has_it():
    """The client's tables, by Cinder's own code."""
    for value, requirement, satisfied in test_scheduler.REQUIREMENTS:
        try:
            found = extra_specs_ops.match(value, requirement)
        except TypeError:
            # The scheduler fails, and the manage with it.
            found = False
        assert found is satisfied, (value, requirement)
    scheduler = capabilities_filter.CapabilitiesFilter()
    for extra_specs, unmet in test_scheduler.SPECS:
        assert unmet == [
            key for key, requirement in extra_specs.items()
            if not scheduler._satisfies_extra_specs(
                test_scheduler.CAPABILITIES, {'resource_type': {
                    'extra_specs': {key: requirement}}})]


# Of a volume type, and whether an LV of this backend can have it.
EXTRA_SPECS: tuple[tuple[dict[str, str], bool], ...] = (
    ({}, True),
    ({'volume_backend_name': 'lvm'}, True),
    ({'volume_backend_name': 'ssd'}, False),
    ({'capabilities:volume_backend_name': '<or> ssd <or> lvm'}, True),
    ({'volume_backend_name': 's!= lvm'}, False),
    ({'volume_backend_name': '<in> lv'}, True),
    ({'thick_provisioning_support': '<is> True'}, True),
    ({'thick_provisioning_support': '<is> False'}, False),
    ({'thick_provisioning_support': 'True'}, False),
    ({'thin_provisioning_support': '<is> True'}, False),
    ({'total_capacity_gb': '>= 1'}, True),
    ({'replication_enabled': '<is> True'}, False),
    ({'provisioning:type': 'thick'}, True),
    ({'provisioning:type': 'thin'}, False),
    ({'provisioning:type': '<is> thick'}, False),
    ({'other:scope': 'x'}, True),
)


@pytest.mark.parametrize(('extra_specs', 'possible'), EXTRA_SPECS)
def test_a_dry_run_says_what_a_manage_does(lab, plan, extra_specs, possible):
    cinder, _, client = lab
    made = cinder.api.request('POST', 'types', {'volume_type': {
        'name': 'tried', 'extra_specs': extra_specs}}).body['volume_type']

    def edit(content):
        del content['volumes'][1:]
        content['volumes'][0]['volume']['volume_type'] = 'tried'
    change(plan, edit)
    try:
        checked = client.run('volume', 'adoption', 'apply', plan, '--dry-run')
        assert checked.returncode == (0 if possible else 1), checked.stderr
        assert possible or "volume type 'tried' " in checked.stderr
        volume = cinder.api.manage({'source-name': 'lv-00000'},
                                   volume_type='tried').body['volume']['id']
        found = cinder.api.wait(volume, 'available', 'error_managing',
                                'error')
        assert (found['status'] == 'available') is possible
        cinder.api.unmanage(volume)
        cinder.api.wait_until_gone(volume)
    finally:
        cinder.api.request('DELETE', f"types/{made['id']}")


def test_a_host_that_is_down_is_named_at_once(lab, plan):
    cinder, _, client = lab
    change(plan, lambda content: on_host(content, 'lab@gone#gone'))
    with cinder.database.stopped_service('lab@gone'):
        for command in (('list', '--host', 'lab@gone#gone'),
                        ('show', '--host', 'lab@gone#gone', 'x'),
                        ('plan', '--host', 'lab@gone#gone', '--output',
                         plan.with_name('new.yaml')),
                        ('apply', plan)):
            started = time.monotonic()
            refused = client.run('volume', 'adoption', *command)
            assert time.monotonic() - started < 20
            assert refused.returncode == 1
            assert refused.stdout == ''
            assert ('The cinder-volume service of lab@gone is down (last seen '
                    '2026-01-01T') in refused.stderr


def test_exit_statuses(lab, plan):
    """0, 3 and 130 of apply and undo are shown by tests of their own."""
    _, _, client = lab
    missing = plan.with_name('missing')
    on = ('--host', HOST)
    for status, command in (
            (0, ('list', *on)),
            (1, ('list', *on, '--sort', 'colour')),
            (2, ('list', '--larger', 'much', *on)),
            (0, ('show', *on, 'lv-00000')),
            (1, ('show', *on, 'missing')),
            (2, ('show', *on)),
            (0, ('plan', *on, '--output', plan.with_name('new.yaml'))),
            (1, ('plan', *on, '--output', plan)),
            (2, ('plan', *on)),
            (1, ('apply', missing)),
            (2, ('apply', plan, '--parallel', 0)),
            (1, ('undo', missing)),
            (2, ('undo',))):
        done = client.run('volume', 'adoption', *command)
        assert done.returncode == status, (command, done.stderr)
        # Results are on stdout, and everything else on stderr.
        assert bool(done.stdout) is (status == 0)
        assert bool(done.stderr) is (status != 0 or command[0] == 'plan')
        assert 'Traceback' not in done.stderr


def test_a_quota_that_is_too_small_changes_nothing(lab, plan):
    cinder, group, client = lab
    quota = f"os-quota-sets/{cinder.url.rpartition('/')[2]}"

    def set_quota(volumes):
        assert cinder.api.request('PUT', quota, {
            'quota_set': {'volumes': volumes}}).status == 200
    # Cinder goes on counting volumes whose manage failed.
    used = cinder.api.request('GET', quota, params={'usage': 'true'}).body[
        'quota_set']['volumes']['in_use']
    changes = group.changes()
    set_quota(used + LVS - 1)
    try:
        refused = client.run('volume', 'adoption', 'apply', plan)
    finally:
        set_quota(-1)
    assert refused.returncode == 1
    assert (f'the quota of your project for volumes is too small: {LVS} '
            f'needed, {LVS - 1} left\n') in refused.stderr
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
                      '--csv', path, '--output', tmp_path / 'plan.yaml')
    assert made.returncode == 0, made.stderr
    content = yaml.safe_load((tmp_path / 'plan.yaml').read_text())
    assert [(entry['lv']['reference'], entry['volume']['name'],
             entry['volume']['bootable'])
            for entry in content['volumes']] == [
        ({'source-name': 'lv-00001'}, 'web-1', True),
        ({'source-name': 'lv-00003'}, 'web-2', True)]


def test_a_failure_leaves_nothing_and_is_retried(lab, plan):
    cinder, group, client = lab
    change(plan, keep_two)
    before = group.names()
    with cinder.database.failing('UPDATE ON volumes',
                                 "NEW.status = 'available'"):
        failed = client.run('volume', 'adoption', 'apply', plan)
    assert failed.returncode == 3
    assert 'adopted earlier: 0; adopted: 0; failed: 2' in failed.stdout
    # Under load, the listing that is asked for the reason can fail.
    assert len(re.findall(
        r'^\[./2\] lv-0000.: failed(: Cinder could not manage the LV|'
        r', for the same reason as lv-0000)', failed.stderr, re.MULTILINE)
        ) == 2, failed.stderr
    assert group.names() == before
    assert volumes(cinder) == []
    applied = client.run('volume', 'adoption', 'apply', plan)
    assert applied.returncode == 0, applied.stderr
    assert 'adopted earlier: 0; adopted: 2' in applied.stdout


def test_an_undo_that_was_killed_resumes(lab, plan):
    cinder, group, client = lab
    before = group.names()
    assert client.run('volume', 'adoption', 'apply', plan).returncode == 0
    process = client.start('volume', 'adoption', 'undo', f'{plan}.journal',
                           '--parallel', 3)
    with contextlib.closing(process.stdout):
        read_up_to(process, '[5/')
        process.kill()
    process.wait()
    # What Cinder was asked for it does, whoever is there to see it.
    for volume in volumes(cinder, status='unmanaging'):
        cinder.api.wait_until_gone(volume['id'])
    assert 0 < count(cinder) < LVS
    undone = client.run('volume', 'adoption', 'undo', f'{plan}.journal')
    assert undone.returncode == 0, undone.stderr
    assert count(cinder) == 0
    assert group.names() == before


def is_up(cinder):
    return all(service['state'] == 'up' for service in cinder.api.request(
        'GET', 'os-services').body['services']
        if service['binary'] == 'cinder-volume')


def test_a_service_that_stops_in_the_middle_stops_the_run(lab, plan):
    cinder, group, client = lab
    before = group.names()
    process = client.start('volume', 'adoption', 'apply', plan,
                           '--parallel', 2)
    with contextlib.closing(process.stdout):
        read_up_to(process, '[3/')
        with cinder.database.silent_service('lab@lvm'):
            rest = process.stdout.read()
            assert process.wait() == 3
            # Nothing hangs, and it says why.
            undone = client.run('volume', 'adoption', 'undo',
                                f'{plan}.journal')
            assert undone.returncode == 1
            assert 'The cinder-volume service of lab@lvm is down' in (
                undone.stderr)
    assert 'Stopped: 5 volumes failed for the same reason.' in rest
    assert rest.count(': failed: ') == 1
    assert 'failed, for the same reason as lv-' in rest
    assert LVS - 10 < len(set(before) & set(group.names())) < LVS
    polling.wait_for('the service to be up', lambda: is_up(cinder))
    applied = client.run('volume', 'adoption', 'apply', plan)
    assert applied.returncode == 0, applied.stderr
    assert count(cinder) == LVS


def test_a_network_that_is_cut_is_waited_for(lab, plan):
    cinder, _, _ = lab
    change(plan, keep_two)
    url = parse.urlsplit(cinder.url)
    with Proxy(url.port) as proxy:
        client = OpenStackClient(cinder, {
            'OS_AUTH_TYPE': 'admin_token', 'OS_TOKEN': cinder.api.token,
            'OS_ENDPOINT': url._replace(
                netloc=f'127.0.0.1:{proxy.port}').geturl()})
        process: Any = client.start('volume', 'adoption', 'apply', plan,
                                    '--timeout', 60)
        with contextlib.closing(process.stdout):
            # The requests to manage have been sent.
            polling.wait_for('volumes', lambda: count(cinder) == 2)
            assert proxy.cut() > 0
            time.sleep(1)
            proxy.join()
            rest = process.stdout.read()
        if process.wait() == 3:
            # The cut was in the middle of a request.
            rest = client.run('volume', 'adoption', 'apply', plan).stdout
    assert 'failed: 0; outcome unknown: 0' in rest
    assert count(cinder) == 2


def test_progress_and_results_are_apart(lab, plan):
    _, _, client = lab
    change(plan, keep_two)
    applied = client.run('volume', 'adoption', 'apply', plan, '-f', 'json')
    assert applied.returncode == 0, applied.stderr
    result = json.loads(applied.stdout)
    assert [each['lv'] for each in result['adopted']] == ['lv-00000',
                                                          'lv-00001']
    assert result['failed'] == result['outcome_unknown'] == []
    assert '[2/2] lv-' in applied.stderr
    for command in (('undo', f'{plan}.journal', '--dry-run'),
                    ('undo', f'{plan}.journal')):
        done = client.run('volume', 'adoption', *command, '-f', 'json')
        assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout)[
            'to_unmanage' if '--dry-run' in command else 'unmanaged']) == 2


def test_what_is_in_use_does_not_keep_the_others(lab, plan):
    """The others are unmanaged, and the one that is not is named."""
    cinder, _, client = lab
    change(plan, keep_two)
    assert client.run('volume', 'adoption', 'apply', plan).returncode == 0
    used = volumes(cinder)[0]
    cinder.api.request('POST', f"volumes/{used['id']}/action",
                       {'os-reserve': {}})
    done = client.run('volume', 'adoption', 'undo', f'{plan}.journal')
    cinder.api.request('POST', f"volumes/{used['id']}/action",
                       {'os-unreserve': {}})
    assert done.returncode == 3
    assert 'unmanaged: 1; failed: 1; ' in done.stdout
    assert (f"cannot be unmanaged now: {used['name']}: its volume has status "
            'attaching') in done.stderr
    assert [volume['id'] for volume in volumes(cinder)] == [used['id']]


def test_while_cinder_is_away_nothing_is_lost(lab, plan):
    cinder, group, client = lab
    before = group.names()
    process = client.start('volume', 'adoption', 'apply', plan,
                           '--timeout', 60)
    with contextlib.closing(process.stdout):
        read_up_to(process, '[3/')
        cinder.kill(with_commands=False)
        rest = process.stdout.read()
    assert process.wait() == 3
    # As many as were in progress: four at most.
    assert re.search('outcome unknown: (lv-|[1-4])', rest)
    cinder.start()
    client = OpenStackClient(cinder)
    # What Cinder was doing when it was killed stays so, and is an operator's.
    for volume in (each['id'] for each in volumes(cinder, status='managing')):
        cinder.api.set_status(volume, 'error')
        cinder.api.delete(volume)
        cinder.api.wait_until_gone(volume)
    for _ in range(2):
        applied = client.run('volume', 'adoption', 'apply', plan)
    assert applied.returncode == 0, applied.stderr
    assert count(cinder) == LVS
    undone = client.run('volume', 'adoption', 'undo', f'{plan}.journal')
    assert undone.returncode == 0, undone.stderr
    assert group.names() == before
