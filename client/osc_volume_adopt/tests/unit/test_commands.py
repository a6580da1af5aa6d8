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

"""The commands: output, messages, and exit statuses."""

import collections
import dataclasses
import functools
from importlib import metadata
import json
from typing import Any
from unittest import mock

import ddt
from keystoneauth1 import exceptions as connection_errors
import yaml

from osc_volume_adopt import run
from osc_volume_adopt import run_commands
from osc_volume_adopt.tests.unit import cases
from osc_volume_adopt.tests.unit import fakes
from osc_volume_adopt.tests.unit.cases import ON


@ddt.ddt
class CommandsTest(cases.CommandCase):

    def listed(self, *options):
        status, stdout, stderr = self.openstack('list', *ON, *options)
        self.assertEqual(0, status)
        # Only an empty list is explained.
        self.assertIs('None of the' in stderr, bool(stderr))
        return stdout

    def test_a_list_shows_sizes_to_people_and_bytes_to_programs(self):
        self.cinder.lvs = [fakes.lv(), fakes.lv(fakes.BARE)]
        table = self.listed()
        self.assertIn('| data1 | 4 MiB |', table)
        # Not every driver reports the size.
        self.assertIn('| abc   |       |', table)
        first, second = json.loads(self.listed('-f', 'json', '--sort',
                                               'name:desc'))
        self.assertEqual(
            {'Name': 'data1', 'Size': 4194304, 'GiB': 1, 'Safe': True,
             'Codes': [], 'Reasons': '', 'Owner': 'Proxmox VE, guest 101',
             'Contents': 'ext4 file system', 'Snapshots': [],
             'Layout': 'linear',
             'Tags': 'a,b', 'Source ID': 'id-1', 'Cinder ID': None,
             'Backend': 'lab@lvm#lvm'}, first)
        self.assertIsNone(second['Size'])
        self.assertNotIn('None', self.listed('--long'))
        self.assertIn('"data1","4194304",1,True,', self.listed('-f', 'csv'))

    def test_how_often_cinder_is_asked_does_not_depend_on_the_lvs(self):
        requests = []
        for lvs in (3, 30):
            self.cinder = fakes.FakeCinder()
            self.cinder.lvs = [fakes.named(f'data{number}')
                               for number in range(lvs)]
            for path in self.path.parent.iterdir():
                path.unlink()
            self.planned()
            self.assertEqual(0, self.applied()[0])
            self.assertEqual(lvs, len(self.cinder.volumes))
            self.journal.rename(self.path)
            counts = {}
            for command, arguments in (
                    ('list', ON), ('show', (*ON, 'data1')), ('audit', ON),
                    ('recover', (self.plan,)), ('status', (self.plan,)),
                    ('report', (self.plan,))):
                api = self.cinder.api
                status, _, stderr = self.openstack(command, *arguments,
                                                   api=api)
                # The fake does not rename LVs, as the audit finds.
                self.assertEqual(3 if command == 'audit' else 0, status,
                                 stderr)
                counts[command] = collections.Counter(
                    name for name, _, _ in api.method_calls)
            requests.append(counts)
        self.assertEqual(*requests)
        self.assertEqual(1, requests[0]['list']['manageable'])

    def test_a_list_is_filtered_by_reason(self):
        self.cinder.lvs.append(fakes.lv(fakes.UNSAFE))
        for options, names in (
                ((), ['data1', 'data2', 'data3', 'pool']),
                (('--reason', 'thin-pool'), ['pool']),
                (('--reason', 'in-use', '--reason', 'thin-pool'), ['pool']),
                (('--reason', 'in-use'), []), (('--unsafe',), ['pool']),
                (('--safe', '--match', '*1'), ['data1']),
                (('--exclude', 'data*', '--exclude', 'x'), ['pool']),
                (('--match', 'data*', '--exclude', '*[12]'), ['data3']),
                (('--tag', 'b'), ['data1', 'data2', 'data3']),
                (('--tag', 'a*', '--tag', 'x'), ['data1', 'data2', 'data3']),
                (('--tag', 'c'), []),
                (('--owner', 'proxmox*'), ['data1', 'data2', 'data3']),
                (('--owner', 'oVirt*'), []),
                (('--contents', '*EXT4*', '--unsafe'), []),
                (('--contents', '*ext4*'), ['data1', 'data2', 'data3']),
                (('--larger', '0.5'), ['pool'])):
            with self.subTest(options=options):
                self.assertEqual(names, [row['Name'] for row in json.loads(
                    self.listed(*options, '-f', 'json'))])

    def test_a_table_has_each_reason_once(self):
        self.cinder.lvs += [fakes.lv(fakes.UNSAFE),
                            fakes.named('pool2', fakes.UNSAFE)]
        table = self.listed()
        self.assertEqual(1, table.count('manage the thin volumes in it'))
        self.assertTrue(table.endswith(
            '\nthin-pool (2 LVs): pool is a thin pool (manage the thin '
            'volumes in it)\n'))
        self.assertNotIn('Source ID', table)
        self.assertNotIn('Backend', table)
        self.assertIn('Source ID', self.listed('--long'))
        self.assertEqual(2, self.listed('-c', 'Reasons').count('manage the'))
        # Other drivers have no codes.
        self.cinder.lvs = [fakes.lv(fakes.UNSAFE, driver='other')]
        self.assertIn('| Reasons', self.listed())

    def test_several_backends_are_listed_and_planned(self):
        other = 'lab2@lvm#lvm'
        api = self.cinder.api
        api.services.side_effect = lambda: [
            self.cinder.service, dataclasses.replace(self.cinder.service,
                                                     host='lab2@lvm')]
        self.cinder.capabilities[other] = self.cinder.capabilities[
            fakes.HOST.name]
        on = (*ON, '--host', other)
        _, stdout, _ = self.openstack('list', *on, api=api)
        self.assertEqual(3, stdout.count(other))
        status, stdout, stderr = self.openstack(
            'plan', *on, '--exclude', 'data3', '--name-template',
            '{number}', '--output', self.plan, api=api)
        self.assertEqual(0, status)
        self.assertIn('4 volumes to adopt', stdout)
        self.assertNotIn('cannot be applied', stderr)
        self.by_name()
        status, stdout, stderr = self.openstack('apply', self.plan, api=api)
        self.assertEqual(0, status, stderr)
        self.assertEqual({fakes.HOST.name: 2, other: 2}, collections.Counter(
            call.args[0].name for call in api.manage.call_args_list))
        self.assertIn(f'{other}/data1: adopted', stderr)

    def test_managed_lvs_are_hidden(self):
        row = fakes.UNSAFE | {'cinder_id': 'some-id'}
        self.cinder.lvs.append(fakes.named('volume-1', row))
        self.assertIn('volume-1', self.listed())
        self.assertNotIn('volume-1', self.listed('--unmanaged'))
        status, stdout, stderr = self.planned()
        self.assertEqual(0, status)
        self.assertIn('; 0 LVs left out\n', stdout)
        self.assertIn('Left out because Cinder already manages them: 1 LV\n',
                      stderr)

    def test_nothing_to_list_or_plan(self):
        for lvs, options, words in (
                (self.cinder.lvs, ('--match', 'x'),
                 'None of the 3 LVs of host lab@lvm#lvm matches the options'),
                ([], (), 'host lab@lvm#lvm has no LVs that Cinder could')):
            self.cinder.lvs = lvs
            with self.subTest(words=words):
                status, stdout, stderr = self.openstack('list', *ON, *options)
                self.assertEqual((0, '\n'), (status, stdout))
                self.assertIn(words, stderr)
                status, stdout, stderr = self.planned(*options)
                self.assertEqual((1, ''), (status, stdout))
                self.assertIn(words, stderr)
                self.assertFalse(self.plan.exists())

    def test_image_properties_are_planned_and_set(self):
        self.cinder.lvs[0] = fakes.named('data1', boot_partitions='efi')
        self.planned('--bootable', '*2', '--image-property',
                     'hw_disk_bus=scsi', '--image-property',
                     'data[23]:os_type=windows')
        self.by_name()
        self.assertEqual(0, self.applied()[0])
        self.assertEqual(
            {'id-data1': {'hw_firmware_type': 'uefi', 'hw_disk_bus': 'scsi'},
             'id-data2': {'hw_disk_bus': 'scsi', 'os_type': 'windows'},
             'id-data3': {'hw_disk_bus': 'scsi', 'os_type': 'windows'}},
            {name: volume['volume_image_metadata'] for name, volume
             in self.cinder.volumes.items()})
        self.assertEqual([True, True, False], [
            self.cinder.volumes[f'id-data{number}']['bootable']
            for number in (1, 2, 3)])

    def test_image_properties_that_are_refused(self):
        self.planned('--image-property', 'hw_disk_bus=scsi')
        self.by_name()
        api = self.cinder.api
        api.set_image_properties.side_effect = fakes.refusal(400)
        status, _, stderr = self.openstack('apply', self.plan, api=api)
        self.assertEqual(3, status)
        self.assertEqual(1, stderr.count(
            'failed: the volume is adopted, but its image properties could '
            'not be set: '))
        self.assertEqual(2, stderr.count('failed, for the same reason as'))
        status, _, _ = self.applied()
        self.assertEqual(0, status)
        self.assertEqual(3, len(self.cinder.requested))
        self.assertEqual({'hw_disk_bus': 'scsi'}, self.cinder.volumes[
            'id-data1']['volume_image_metadata'])

    def test_the_group_has_a_help(self):
        status, stdout, _ = self.openstack()
        self.assertEqual(0, status)
        names = [line.split()[2] for line in stdout.splitlines()]
        self.assertEqual(
            {entry.name for entry in metadata.entry_points(
                group='openstack.volume_adoption.v1')},
            {f'volume_adoption_{name}' for name in names} | {
                'volume_adoption'})
        self.assertEqual(['list', 'show', 'plan', 'apply'], names[:4])
        self.assertIn('list     List logical volumes that can be managed',
                      stdout)
        status, stdout, _ = self.openstack('--help')
        self.assertEqual(0, status)
        self.assertIn(' volume adoption [-h]\n', stdout)
        for name in names:
            self.assertIn(name, stdout)

    def test_the_status_of_a_plan(self):
        self.planned()
        self.by_name()
        self.cinder.errors = {'data2': fakes.refusal(400)}
        self.assertEqual(3, self.applied()[0])
        self.cinder.volumes['id-data3']['status'] = 'error_deleting'
        status, stdout, _ = self.openstack('status', self.plan, '-f', 'json')
        shown = json.loads(stdout)
        self.assertEqual(0, status)
        self.assertEqual(
            {'Volumes': 3, 'GiB': 3, 'Run': 'none', 'Done': 1, 'Failed': 2,
             'Left': 0}, {name: shown[name] for name in (
                 'Volumes', 'GiB', 'Run', 'Done', 'Failed', 'Left')})
        self.assertEqual(['done', 'failed', 'failed'],
                         [each['condition'] for each in shown['Details']])
        self.assertEqual('error_deleting',
                         shown['Details'][2]['volume_status'])
        _, table, _ = self.openstack('status', self.plan)
        self.assertIn('data3: failed: the volume has status error_deleting',
                      table)
        self.assertNotIn('data1', table)

    def test_a_report_is_printed_or_written(self):
        self.planned()
        status, stdout, _ = self.openstack('report', self.plan)
        self.assertEqual(0, status)
        self.assertTrue(stdout.startswith('# Adoption of plan.yaml\n'))
        self.assertIn('| data1 | data1 | name of mine |', stdout)
        page, ticket = (self.plan.with_name(name)
                        for name in ('r.html', 'r.md'))
        status, stdout, _ = self.openstack(
            'report', self.plan, '--title', 'Change 5', '--html', page,
            '--markdown', ticket)
        self.assertEqual((0, f'{page}\n{ticket}\n'), (status, stdout))
        self.assertIn('<h1>Change 5</h1>', page.read_text())
        self.assertIn('# Change 5\n', ticket.read_text())
        status, _, stderr = self.openstack(
            'report', self.plan, '--html', self.plan / 'r.html')
        self.assertEqual(1, status)
        self.assertIn('Cannot write ', stderr)

    def test_an_audit_lists_problems(self):
        self.assertEqual((0, ''), (lambda status, stdout, _: (
            status, stdout.strip()))(*self.openstack('audit', *ON)))
        self.cinder.volumes['x'] = {
            'id': 'x', 'status': 'available', 'size': 1,
            'os-vol-host-attr:host': fakes.HOST.name}
        status, stdout, stderr = self.openstack('audit', *ON, '-f', 'json')
        self.assertEqual(3, status)
        row, = json.loads(stdout)
        self.assertEqual(('lv-missing', '', 'x'),
                         (row['Code'], row['LV'], row['Volume']))
        self.assertEqual('host lab@lvm#lvm: 1 problem of 3 LVs and 1 volume '
                         'checked\n', stderr)

    @ddt.data('pool', 'id-2')
    def test_one_lv_is_shown_with_its_reasons(self, word):
        self.cinder.lvs.append(fakes.lv(fakes.UNSAFE))
        status, stdout, _ = self.openstack('show', *ON, word, '-f', 'json')
        shown = json.loads(stdout)
        self.assertEqual(0, status)
        self.assertEqual([fakes.THIN_POOL], shown['Reasons'])
        self.assertEqual(['thin-pool'], shown['Codes'])
        self.assertEqual(
            ['Cinder refuses the request, and the LV does not change'],
            shown['If Managed'])

    def test_what_managing_would_do_is_shown(self):
        info: Any
        for info, line in (
                ({}, ('the LV keeps its size of 4194304 bytes, which is '
                     '1020 MiB less')),
                ({'size_bytes_managed': '1073741824'},
                 'the LV is extended from 4194304 to 1073741824 bytes')):
            self.cinder.lvs = [fakes.lv(**info)]
            _, stdout, _ = self.openstack('show', *ON, 'data1', '-f', 'json')
            with self.subTest(line=line):
                self.assertEqual(line, json.loads(stdout)['If Managed'][1])
                self.assertEqual(6, len(json.loads(stdout)['If Managed']))

    def test_an_lv_that_is_not_listed(self):
        self.assertEqual(
            (1, '', ('x not found on host lab@lvm#lvm. LVs that are internal '
                    'to LVM are not listed.\n')),
            self.openstack('show', *ON, 'x'))

    def test_a_plan_is_written_and_its_problems_are_shown(self):
        status, stdout, stderr = self.planned('--type', 'gold')
        self.assertEqual(0, status)
        self.assertEqual(f'{self.plan}: 3 volumes to adopt, 3 GiB; 0 LVs left '
                         'out\n', stdout)
        self.assertEqual(
            'Cinder will record 2.988 GiB more than the LVs have, because it '
            f'rounds sizes up to whole GiB\n{self.plan} cannot be '
            'applied yet:\n3 volumes (data1, data2, data3): '
            "volume type 'gold' not found; available types: __DEFAULT__\n",
            stderr)
        self.assertEqual('cinder_lvm_manage', yaml.safe_load(
            self.plan.read_text())['volumes'][0]['lv']['driver'])

    def with_snapshots(self):
        """data1 has a thick one and data2 a thin one, which is an LV, too."""
        self.cinder.snapshot_lvs = [
            fakes.snapshot('before', 'data1'),
            fakes.snapshot('clone', 'data2', 'thin'),
            fakes.snapshot('full', 'data2', codes=('invalid-snapshot',))]
        self.cinder.lvs.append(fakes.named('clone'))

    def test_snapshots_are_shown(self):
        self.assertNotIn('Snapshots', self.listed())
        self.with_snapshots()
        self.assertIn('| Snapshots', self.listed())
        self.assertEqual(
            {'data1': ['before'], 'data2': ['clone', 'full'], 'data3': [],
             'clone': []},
            {row['Name']: row['Snapshots'] for row in json.loads(
                self.listed('-f', 'json'))})
        for name, words in (('data1', 'the snapshots before'),
                            ('data2', 'the snapshots full'), ('data3', '')):
            _, stdout, _ = self.openstack('show', *ON, name, '-f', 'json')
            last = json.loads(stdout)['If Managed'][-1]
            self.assertIs(bool(words), 'cannot delete or migrate' in last)
            self.assertTrue(last.endswith(words))

    def test_a_plan_warns_of_snapshots_that_block_a_delete(self):
        self.with_snapshots()
        self.cinder.snapshot_lvs.pop()
        status, stdout, stderr = self.planned()
        self.assertEqual(0, status)
        self.assertIn('4 volumes to adopt', stdout)
        self.assertIn('1 volume, such as data1, cannot be deleted or migrated '
                      'by Cinder as long as it does not manage their '
                      'snapshots. --snapshots plans them, too\n', stderr)

    def test_a_plan_has_snapshots_under_their_volumes(self):
        self.with_snapshots()
        status, stdout, stderr = self.planned('--snapshots')
        self.assertEqual(0, status)
        self.assertIn('3 volumes to adopt, 3 GiB; 2 snapshots with them; 1 '
                      'LV left out\n', stdout)
        # The one that is invalid remains.
        self.assertIn('1 volume, such as data2, cannot be deleted', stderr)
        content = yaml.safe_load(self.plan.read_text())
        self.assertEqual(
            [[{'snapshot': {'name': 'before'},
               'lv': {'reference': {'source-name': 'before'},
                      'source_id': 'id-before'}}],
             [{'snapshot': {'name': 'clone'},
               'lv': {'reference': {'source-name': 'clone'},
                      'source_id': 'id-clone'}}], None],
            [entry.get('snapshots') for entry in content['volumes']])
        self.assertEqual(['full'], [each['lv'] for each
                                    in content['left_out']])
        self.assertEqual(0, self.applied()[0])
        self.assertEqual({'id-before': 'id-data1', 'id-clone': 'id-data2'}, {
            each['id']: each['volume_id'] for each
            in self.cinder.managed_snapshots.values()})
        self.assertEqual(0, self.undone()[0])
        self.assertEqual({}, self.cinder.managed_snapshots)

    def test_snapshots_that_have_changed_are_refused(self):
        self.with_snapshots()
        self.planned('--snapshots')
        before = self.cinder.snapshot_lvs
        for changed, words in (
                ([], 'data1: its snapshot before not found on host'),
                ([fakes.snapshot('before', 'data3')],
                 'data1: before is a snapshot of data3'),
                ([fakes.snapshot('before', 'data1', codes=('in-use',))],
                 'data1: its snapshot before is not safe to manage: ')):
            self.cinder.snapshot_lvs = [*changed, *before[1:]]
            status, _, stderr = self.applied()
            self.assertEqual(1, status)
            self.assertIn(words, stderr)

    def test_a_driver_that_lists_no_snapshots(self):
        api = self.cinder.api
        api.manageable_snapshots.side_effect = fakes.refusal(500)
        status, stdout, stderr = self.openstack('list', *ON, api=api)
        self.assertEqual(0, status)
        self.assertIn('data1', stdout)
        self.assertIn('Cannot list the snapshots of host lab@lvm#lvm: The '
                      'server failed', stderr)

    def test_an_adopted_lv_is_shown_by_its_former_name(self):
        self.cinder.lvs[0] = fakes.named('volume-1', former_name='data1',
                                         adopter='some-id')
        self.cinder.held['volume-1'] = 'some-id'
        _, stdout, _ = self.openstack('show', *ON, 'data1', '-f', 'json')
        shown = json.loads(stdout)
        self.assertEqual(('volume-1', 'data1', 'some-id'), tuple(
            shown[name] for name in ('Name', 'Former Name', 'Cinder ID')))
        # Another LV may have that name by now.
        self.cinder.lvs.append(fakes.named('data1'))
        _, stdout, _ = self.openstack('show', *ON, 'data1', '-f', 'json')
        self.assertEqual('data1', json.loads(stdout)['Name'])

    def test_a_plan_is_not_overwritten(self):
        self.planned()
        status, stdout, stderr = self.planned()
        self.assertEqual((1, ''), (status, stdout))
        self.assertIn('already exists', stderr)

    @ddt.data(
        ('apply', ('p', '--parallel', 'x'), "--parallel: 'x' is not a whole"),
        ('apply', ('p', '--timeout', '0'), '--timeout: must be 1 or more'),
        ('plan', (*ON, '--output', 'p', '--image-property', 'x'),
         "--image-property: 'x' is not [GLOB:]KEY=VALUE"),
        ('list', (*ON, '--larger', 'x'), "--larger: 'x' is not a number"),
        ('list', (*ON, '--larger', '-1'), '--larger: must be 0 or more'))
    @ddt.unpack
    def test_an_invalid_number_is_refused(self, command, arguments, words):
        status, stdout, stderr = self.openstack(command, *arguments)
        self.assertEqual((2, ''), (status, stdout))
        self.assertIn(words, stderr)

    def test_a_dry_run_writes_nothing(self):
        self.planned()
        before = sorted(self.path.parent.iterdir())
        self.assertEqual((0, '3 volumes to adopt; all checks passed\n', ''),
                         self.applied('--dry-run'))
        self.assertEqual(before, sorted(self.path.parent.iterdir()))
        self.assertEqual([], self.cinder.requested)

    def test_a_plan_is_applied_and_undone(self):
        self.planned()
        self.by_name()
        status, stdout, stderr = self.applied('--parallel', 1)
        self.assertEqual(0, status)
        self.assertEqual(
            'adopted earlier: 0; adopted: 3; failed: 0; outcome unknown: 0; '
            f'not started: 0; journal: {self.journal}\n', stdout)
        self.assertEqual(
            f'Checking {self.plan}: 3 volumes\nadopting 3 volumes\n'
            '[1/3] data1: adopted\n[2/3] data2: adopted\n'
            '[3/3] data3: adopted\n', stderr)
        before = self.journal.read_text()
        status, stdout, _ = self.applied('--dry-run')
        self.assertEqual('0 volumes to adopt; all checks passed\n', stdout)
        self.assertEqual(before, self.journal.read_text())
        status, stdout, _ = self.undone()
        self.assertEqual(
            (0, ('unmanaged: 3; failed: 0; outcome unknown: 0; not started: '
                f'0; journal: {self.journal}\n')), (status, stdout))

    def test_every_command_works_with_a_cluster(self):
        cinder = self.cinder
        cinder.service = dataclasses.replace(cinder.service, cluster='c@lvm')
        cinder.capabilities = {'c@lvm#lvm': {}}
        api = cinder.api
        on = ('--cluster', 'c@lvm#lvm')
        for command, *arguments in (
                ('list', *on), ('show', *on, 'data1'),
                ('plan', *on, '--output', self.plan),
                ('apply', self.plan), ('undo', self.journal)):
            if command == 'apply':
                self.by_name()
            status, _, stderr = self.openstack(command, *arguments, api=api)
            self.assertEqual(0, status, stderr)
        self.assertEqual({'c@lvm#lvm'}, {
            call.args[0].cluster for call in
            api.manageable.call_args_list + api.manage.call_args_list})
        self.assertEqual(3, api.manage.call_count)
        self.assertEqual({}, cinder.volumes)

    @ddt.data((), ('--host', 'lab@lvm', '--cluster', 'c@lvm'))
    def test_a_listing_needs_a_host_or_a_cluster(self, *arguments):
        status, _, stderr = self.openstack('list', *arguments)
        self.assertEqual(2, status)
        self.assertIn('--cluster', stderr)

    def test_volumes_that_fail(self):
        self.planned()
        self.by_name()
        self.cinder.errors = {name: fakes.refusal(400)
                              for name in ('data1', 'data2')}
        status, stdout, stderr = self.applied('--parallel', 1)
        self.assertEqual(3, status)
        self.assertIn('adopted: 1; failed: 2; outcome unknown: 0; ', stdout)
        self.assertIn(
            '[1/3] data1: failed: GET /v3/p/volumes was refused (HTTP 400, '
            'no).\n[2/3] data2: failed, for the same reason as data1\n'
            '[3/3] data3: adopted\n', stderr)
        self.assertIn('`cinder-manage quota sync` corrects that.\n'
                      'Run the same command to retry.\n', stderr)
        self.cinder.kept = {'id-data3'}
        status, stdout, stderr = self.undone()
        self.assertEqual(3, status)
        self.assertIn('unmanaged: 0; failed: 1; outcome unknown: 0; ',
                      stdout)

    def test_a_plan_with_a_problem_is_not_applied(self):
        self.planned()
        self.by_name()
        lvs, self.cinder.lvs = self.cinder.lvs, []
        expected = (
            f'Cannot apply {self.plan}:\n3 volumes (data1, data2, data3): LV '
            'not found on host lab@lvm#lvm\nNothing was changed.\n')
        checking = f'Checking {self.plan}: 3 volumes\n'
        for options, first in (((), checking), (('--dry-run',), '')):
            self.assertEqual((1, '', first + expected),
                             self.applied(*options))
            self.assertFalse(self.journal.exists())
        # A run that resumes does not say so.
        self.cinder.lvs = lvs
        self.cinder.errors = {'data2': fakes.refusal(400)}
        self.applied()
        self.cinder.lvs = []
        for options, first in (((), checking), (('--dry-run',), '')):
            self.assertEqual(
                (1, '', (f'{first}Cannot apply {self.plan}:\ndata2: LV not '
                        'found on host lab@lvm#lvm\nThis run changed nothing. '
                        'Earlier runs have adopted 2 volumes, or started '
                        'to.\n')),
                self.applied(*options))

    def test_an_undo_with_a_problem_changes_nothing(self):
        self.planned()
        self.by_name()
        self.applied()
        for volume in self.cinder.volumes.values():
            volume['status'] = 'reserved'
        status, stdout, stderr = self.undone()
        self.assertEqual((1, ''), (status, stdout))
        self.assertEqual(
            f'Checking {self.journal}: 3 volumes\n'
            f'Cannot undo {self.journal}:\n3 volumes (data1, data2, data3): '
            'its volume has status reserved (for data1: see volume '
            'id-data1)\nNothing was changed.\n', stderr)

    def test_a_backend_that_is_down_is_named(self):
        self.planned()
        self.by_name()
        self.applied()
        self.plan.rename(self.path.with_name('again.yaml'))
        self.cinder.service = dataclasses.replace(self.cinder.service,
                                                  up=False)
        for command, arguments in (
                ('list', ON), ('show', (*ON, 'data1')), ('audit', ON),
                ('plan', (*ON, '--output', self.plan)),
                ('apply', (self.path.with_name('again.yaml'), '--dry-run')),
                ('undo', (self.journal,))):
            with self.subTest(command=command):
                status, stdout, stderr = self.openstack(command, *arguments)
                self.assertEqual((1, ''), (status, stdout))
                self.assertIn('The cinder-volume service of lab@lvm is down '
                              '(last seen ', stderr)

    def arguments(self, command):
        """Valid ones."""
        if not self.plan.exists():
            self.planned()
            self.by_name()
        if command == 'undo':
            self.applied()
        return {'list': ON, 'show': (*ON, 'data1'),
                'plan': (*ON, '--output', self.path.with_name('new.yaml')),
                'apply': (self.plan,), 'undo': (self.journal,),
                'status': (self.plan,), 'report': (self.plan,),
                'audit': ON}[command]

    @ddt.data('list', 'show', 'plan', 'apply', 'undo', 'status', 'report',
              'audit')
    def test_every_exit_status(self, command):
        """Those that the help documents; 3 has a test of its own."""
        arguments = self.arguments(command)
        status, stdout, _ = self.openstack(command, '--help')
        self.assertEqual(0, status)
        table = stdout.partition('exit status::\n\n')[2].partition('\n\n')[0]
        runs = command in ('apply', 'undo')
        self.assertEqual(['0', '1', '2', *(['3'] if runs or command == 'audit'
                                           else []), '130'],
                         [line.split()[0] for line in table.splitlines()])
        status, stdout, stderr = self.openstack(command, '--colour')
        self.assertEqual((2, ''), (status, stdout))
        self.assertIn('usage: ', stderr)
        for error, expected, words in (
                (fakes.refusal(403), 1, 'This needs an administrator: GET '),
                (connection_errors.ConnectFailure('no route'), 1, 'no route'),
                (KeyboardInterrupt, 130,
                 'Run the same command to resume.' if runs else '')):
            api = self.cinder.api
            api.services.side_effect = api.all_volumes.side_effect = error
            with self.subTest(error=error):
                status, stdout, stderr = self.openstack(command, *arguments,
                                                        api=api)
                self.assertEqual((expected, ''), (status, stdout))
                self.assertIn(words, stderr)
                self.assertNotIn('Traceback', stderr)
        status, stdout, _ = self.openstack(command, *arguments)
        self.assertEqual(0, status)
        self.assertTrue(stdout)

    @ddt.data('apply', 'undo')
    def test_an_interrupted_run_says_how_to_resume(self, command):
        arguments = self.arguments(command)
        api = self.cinder.api
        api.manage.side_effect = api.unmanage.side_effect = KeyboardInterrupt
        status, stdout, stderr = self.openstack(command, *arguments, api=api)
        self.assertEqual(130, status)
        self.assertIn('; failed: 0; outcome unknown: ', stdout)
        self.assertIn('Interrupted. Run the same command to resume.\n',
                      stderr)
        # The requests of apply were not answered: it waits for their arrival.
        with mock.patch.object(run_commands, 'Run', functools.partial(
                run.Run, arrival=0.5)):
            self.assertEqual(0, self.openstack(command, *arguments)[0])
