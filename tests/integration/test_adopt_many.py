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
from tests.lab.openstack_client import with_new_id
from tests.lab.scratch import ScratchVolumeGroup

LVS = 16
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
                default_options={'osapi_max_limit': '7'}) as cinder:
            yield cinder, group, OpenStackClient(cinder.url)


@pytest.fixture(scope='module')
def planned(lab, tmp_path_factory):
    """A plan of all of them, as the client writes it."""
    _, _, client = lab
    path = tmp_path_factory.mktemp('planned') / 'plan.yaml'
    made = succeeds(client, 'plan', '--host', HOST, '--output', path)
    assert f'{LVS} volumes to adopt, {LVS} GiB; 1 LV left out' in made.stdout
    return path.read_text()


@pytest.fixture
def plan(lab, planned, tmp_path):
    """The path of that plan with a new ID; afterwards all is as before."""
    cinder, group, client = lab
    before = group.names()
    path = tmp_path / 'plan.yaml'
    path.write_text(with_new_id(planned))
    yield path
    # A test that failed may have left the service as it was made to look.
    polling.wait_for('the service to be up', lambda: is_up(cinder))
    journal = path.with_name('plan.yaml.journal')
    if journal.exists() and count(cinder):
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


def succeeds(client, *command):
    """Run a command of volume adoption, and return what it has printed."""
    done = client.run('volume', 'adoption', *command)
    assert done.returncode == 0, done.stderr
    return done


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
    row, = json.loads(client.run(
        'volume', 'adoption', 'list', '--host', HOST, '--reason', 'read-only',
        '-f', 'json').stdout)
    assert row['Name'] == f'lv-{LVS:05}'
    assert row['Codes'] == ['read-only']


def test_one_is_shown_by_its_uuid(lab):
    _, group, client = lab
    shown = json.loads(client.run(
        'volume', 'adoption', 'show', '--host', HOST,
        group.names()[f'lv-{LVS:05}'], '-f', 'json').stdout)
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
    checked = succeeds(client, 'apply', plan, '--dry-run')
    assert checked.stdout == '5 volumes to adopt; all checks passed\n'
    assert group.names() == before
    assert list(plan.parent.iterdir()) == [plan]
    applied = succeeds(client, 'apply', plan)
    assert ('adopted earlier: 0; adopted: 5; failed: 0; outcome unknown: 0'
            in applied.stdout)
    assert '[5/5] lv-0000' in applied.stderr
    first, = (volume for volume in volumes(cinder)
              if volume['name'] == 'first')
    assert first['bootable'] == 'true'
    assert first['metadata']['from'] == 'old'
    assert first['volume_image_metadata'] == {'hw_firmware_type': 'uefi'}
    assert group.names()[f"volume-{first['id']}"] == before['lv-00000']
    again = succeeds(client, 'apply', plan)
    assert 'adopted earlier: 5; adopted: 0' in again.stdout
    assert count(cinder) == 5
    undone = succeeds(client, 'undo', f'{plan}.journal')
    assert 'unmanaged: 5; failed: 0' in undone.stdout
    assert group.names() == before


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_resumes(lab, plan, how):
    cinder, group, client = lab
    before = group.names()
    with client.running('volume', 'adoption', 'apply', plan, '--parallel', 3,
                        until=5) as process:
        process.send_signal(how)
        rest = process.stdout.read()
        status = process.wait()
    assert status == (130 if how is signal.SIGINT else -how)
    assert how is signal.SIGKILL or 'Run the same command to resume' in rest
    left = set(group.names()) & set(before)
    assert 0 < len(left) < LVS
    applied = succeeds(client, 'apply', plan)
    assert 'failed: 0; outcome unknown: 0' in applied.stdout
    assert count(cinder) == LVS
    assert {uuid for name, uuid in group.names().items()
            if name.startswith('volume-')} == {
        uuid for name, uuid in before.items() if name != f'lv-{LVS:05}'}
    succeeds(client, 'undo', f'{plan}.journal')
    assert group.names() == before


def test_a_volume_whose_answer_was_lost_is_found(lab, plan):
    cinder, _, client = lab
    change(plan, keep_two)
    succeeds(client, 'apply', plan)
    journal = plan.with_name('plan.yaml.journal')
    lines = journal.read_text().splitlines()
    # As if it had been killed before the answers came.
    journal.write_text('\n'.join(lines[:3]) + '\n')
    again = succeeds(client, 'apply', plan)
    assert 'adopted earlier: 0; adopted: 2; failed: 0' in again.stdout
    assert count(cinder) == 2


# Changes of a volume and of its LV in a plan, and what is reported of them.
PROBLEMS: tuple[tuple[dict[str, Any], dict[str, Any], str], ...] = (
    ({}, {'reference': {'source-name': 'nothing'}, 'source_id': ''},
     'nothing: LV not found on host'),
    ({}, {'reference': {'source-name': 'before'}},
     'before: the LV is now named lv-00001'),
    ({}, {'source_id': 'other'}, 'lv-00002: another LV has this name now'),
    ({}, {'size': 1},
     'lv-00003: the LV has 12582912 bytes now, but 1 in the plan'),
    ({}, {'reference': {'source-name': f'lv-{LVS:05}'}, 'source_id': ''},
     f'lv-{LVS:05}: not safe to manage: the LV is read-only (run '),
    ({'volume_type': 'gold'}, {},
     "lv-00005: volume type 'gold' not found; available types: "),
    ({'availability_zone': 'moon'}, {},
     "lv-00006: availability zone 'moon' is not that of the backend, nova"),
    ({}, {'host': 'lab@lvm#other'},
     "Cinder's scheduler knows no pool of host lab@lvm#other"),
)


def test_every_problem_of_a_plan_is_reported_and_nothing_changes(lab, plan):
    cinder, group, client = lab

    def edit(content):
        first = len(PROBLEMS)
        for entry, (volume, lv, _) in zip(content['volumes'][:first],
                                          PROBLEMS, strict=True):
            entry['volume'] |= volume
            entry['lv'] |= lv
        for entry in content['volumes'][first:]:
            entry['volume']['volume_type'] = 'silver'
    change(plan, edit)
    words = [each for _, _, each in PROBLEMS]
    words.append(
        f'{LVS - len(PROBLEMS)} volumes (lv-00008, lv-00009, lv-00010, ...): '
        "volume type 'silver' not found; available types: __DEFAULT__\n")
    changes = group.changes()
    for options in ((), ('--dry-run',)):
        refused = client.run('volume', 'adoption', 'apply', plan, *options)
        assert refused.returncode == 1
        assert refused.stdout == ''
        assert [each for each in words if each not in refused.stderr] == []
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


def test_a_dry_run_says_what_a_manage_does(lab, plan):
    cinder, _, client = lab
    types = {f'type-{number:02}': specs
             for number, (specs, _) in enumerate(EXTRA_SPECS)}
    made = [cinder.api.request('POST', 'types', {'volume_type': {
        'name': name, 'extra_specs': specs}}).body['volume_type']['id']
        for name, specs in types.items()]

    def edit(content):
        for entry, name in zip(content['volumes'], types, strict=True):
            entry['volume']['volume_type'] = name
    change(plan, edit)
    checked = client.run('volume', 'adoption', 'apply', plan, '--dry-run')
    assert checked.returncode == 1
    said = {name: f"volume type '{name}' " not in checked.stderr
            for name in types}
    requested = [
        cinder.api.manage({'source-name': f'lv-{number:05}'},
                          volume_type=name).body['volume']['id']
        for number, name in enumerate(types)]
    managed = [cinder.api.wait(volume, 'available', 'error_managing',
                               'error')['status'] == 'available'
               for volume in requested]
    for volume in requested:
        cinder.api.unmanage(volume)
    for volume in requested:
        cinder.api.wait_until_gone(volume)
    for type_id in made:
        cinder.api.request('DELETE', f'types/{type_id}')
    assert list(said.values()) == managed
    assert managed == [possible for _, possible in EXTRA_SPECS]


def test_a_host_that_does_not_exist_or_is_down_is_named(lab, plan):
    cinder, _, client = lab
    change(plan, lambda content: on_host(content, 'lab@gone#gone'))
    refused = client.run('volume', 'adoption', 'apply', plan)
    assert refused.returncode == 1
    assert 'no cinder-volume service is named lab@gone' in refused.stderr
    written = cinder.log_path.stat().st_size
    with cinder.database.stopped_service('lab@gone'):
        for command in (('list', '--host', 'lab@gone#gone'), ('apply', plan)):
            refused = client.run('volume', 'adoption', *command)
            assert refused.returncode == 1
            assert refused.stdout == ''
            assert ('The cinder-volume service of lab@gone is down (last seen '
                    '2026-01-01T') in refused.stderr
    # Cinder would wait for that service until its RPC timeout.
    assert '/manageable_volumes' not in cinder.log_text(written)


def test_exit_statuses(lab):
    """3 and 130 are shown by tests of their own."""
    _, _, client = lab
    for status, word in ((0, 'lv-00000'), (1, 'missing'), (2, '--colour')):
        done = client.run('volume', 'adoption', 'show', '--host', HOST, word)
        assert done.returncode == status, done.stderr
        # Results are on stdout, and everything else on stderr.
        assert bool(done.stdout) is (status == 0)
        assert bool(done.stderr) is (status != 0)
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
    succeeds(client, 'plan', '--host', HOST, '--csv', path, '--output',
             tmp_path / 'plan.yaml')
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
    (first, why), (_, second) = re.findall(
        r'^\[./2\] (lv-0000.): (failed.*?)(?: \(.*)?$', failed.stderr,
        re.MULTILINE)
    assert why.startswith('failed: Cinder could not manage the LV')
    if second != f'failed, for the same reason as {first}':
        # Under load, the listing that is asked for the reason can fail.
        assert second.startswith('failed: Cinder could not manage the LV')
        assert second != why
    assert group.names() == before
    assert volumes(cinder) == []
    applied = succeeds(client, 'apply', plan)
    assert 'adopted earlier: 0; adopted: 2' in applied.stdout


def test_an_undo_that_was_killed_resumes(lab, plan):
    cinder, group, client = lab
    before = group.names()
    succeeds(client, 'apply', plan)
    with client.running('volume', 'adoption', 'undo', f'{plan}.journal',
                        '--parallel', 3, until=5) as process:
        process.kill()
        process.wait()
    # Cinder completes the requests all the same.
    for volume in volumes(cinder, status='unmanaging'):
        cinder.api.wait_until_gone(volume['id'])
    assert 0 < count(cinder) < LVS
    succeeds(client, 'undo', f'{plan}.journal')
    assert count(cinder) == 0
    assert group.names() == before


def is_up(cinder):
    return all(service['state'] == 'up' for service in cinder.api.request(
        'GET', 'os-services').body['services']
        if service['binary'] == 'cinder-volume')


def test_a_service_that_stops_in_the_middle_stops_the_run(lab, plan):
    cinder, group, client = lab
    before = group.names()
    with (client.running('volume', 'adoption', 'apply', plan, '--parallel', 2,
                         until=3) as process,
          cinder.database.silent_service('lab@lvm')):
        rest = process.stdout.read()
        assert process.wait() == 3
        # Nothing hangs, and it says why.
        undone = client.run('volume', 'adoption', 'undo', f'{plan}.journal')
        assert undone.returncode == 1
        assert 'The cinder-volume service of lab@lvm is down' in undone.stderr
    assert 'Stopped: 5 volumes failed for the same reason.' in rest
    # One that the API accepted before fails in the scheduler, for a reason
    # of its own.
    reasons = re.findall(r': failed: (.*)', rest)
    assert len(reasons) == len(set(reasons))
    assert 'failed, for the same reason as lv-' in rest
    assert LVS - 10 < len(set(before) & set(group.names())) < LVS
    polling.wait_for('the service to be up', lambda: is_up(cinder))
    succeeds(client, 'apply', plan)
    assert count(cinder) == LVS


def test_a_network_that_is_cut_is_waited_for(lab, plan):
    cinder, _, _ = lab
    change(plan, keep_two)
    url = parse.urlsplit(cinder.url)
    with Proxy(url.port) as proxy:
        client = OpenStackClient(cinder.url, {
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
    applied = succeeds(client, 'apply', plan, '-f', 'json')
    result = json.loads(applied.stdout)
    assert {each['lv'] for each in result['adopted']} == {'lv-00000',
                                                          'lv-00001'}
    assert result['failed'] == result['outcome_unknown'] == []
    assert '[2/2] lv-' in applied.stderr
    for command in (('undo', f'{plan}.journal', '--dry-run'),
                    ('undo', f'{plan}.journal')):
        done = succeeds(client, *command, '-f', 'json')
        assert len(json.loads(done.stdout)[
            'to_unmanage' if '--dry-run' in command else 'unmanaged']) == 2


def test_what_is_in_use_does_not_keep_the_others(lab, plan):
    """The others are unmanaged, and the one that is not is named."""
    cinder, _, client = lab
    change(plan, keep_two)
    succeeds(client, 'apply', plan)
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
    with client.running('volume', 'adoption', 'apply', plan, '--timeout', 15,
                        until=3) as process:
        cinder.kill(with_commands=False)
        rest = process.stdout.read()
        assert process.wait() == 3
    # As many as were in progress: four at most.
    assert re.search('outcome unknown: (lv-|[1-4])', rest)
    cinder.start()
    client = OpenStackClient(cinder.url)
    # What Cinder was doing when it was killed stays so, and is an operator's.
    for volume in (each['id'] for each in volumes(cinder, status='managing')):
        cinder.api.set_status(volume, 'error')
        cinder.api.delete(volume)
        cinder.api.wait_until_gone(volume)
    # The first records that those are gone, and the second adopts their LVs.
    client.run('volume', 'adoption', 'apply', plan)
    succeeds(client, 'apply', plan)
    assert count(cinder) == LVS
    succeeds(client, 'undo', f'{plan}.journal')
    assert group.names() == before
