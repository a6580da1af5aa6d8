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

"""apply, undo and recover: their options, and what they print."""

import json
import resource
import sys
from unittest import mock

import ddt

from osc_volume_adopt.journal import RunJournal
from osc_volume_adopt.journal import State
from osc_volume_adopt.tests.unit import cases
from osc_volume_adopt.tests.unit import fakes
from osc_volume_adopt.tests.unit.cases import LVS
from osc_volume_adopt.tests.unit.fakes import Terminal


@ddt.ddt
class RunCommandsTest(cases.CommandCase):

    def setUp(self):
        super().setUp()
        self.planned()

    def adopted(self):
        status, _, stderr = self.applied()
        self.assertEqual(0, status, stderr)

    def test_apply_prints_json(self):
        self.cinder.errors = {'data2': fakes.refusal(400)}
        status, stdout, stderr = self.applied('--format', 'json',
                                              '--parallel', 1)
        result = json.loads(stdout)
        self.assertEqual(3, status)
        self.assertGreaterEqual(result.pop('seconds'), 0)
        self.assertEqual({
            'adopted_earlier': 0,
            'adopted': [{'lv': 'data1', 'volume': 'id-data1'},
                        {'lv': 'data3', 'volume': 'id-data3'}],
            'failed': [{
                'lv': 'data2', 'volume': None, 'remedy': None,
                'reason': 'GET /v3/p/volumes was refused (HTTP 400, no).'}],
            'outcome_unknown': [], 'not_started': [], 'stopped': None,
            'journal': str(self.journal)}, result)
        self.assertIn('[1/3] data1: adopted\n', stderr)

    def test_what_prevents_an_apply_is_json_too(self):
        del self.cinder.lvs[0]
        for options in ((), ('--dry-run',)):
            status, stdout, stderr = self.applied('-f', 'json', *options)
            self.assertEqual(1, status)
            self.assertEqual({'problems': [{
                'lv': 'data1', 'remedy': None,
                'reason': 'LV not found on host lab@lvm#lvm'}]},
                json.loads(stdout))
            self.assertIn('Nothing was changed.', stderr)

    def test_a_dry_run_prints_json(self):
        status, stdout, _ = self.applied('--dry-run', '-f', 'json')
        self.assertEqual((0, {'to_adopt': list(LVS), 'problems': []}),
                         (status, json.loads(stdout)))

    def test_a_run_stops_after_equal_failures(self):
        self.cinder.errors = {name: fakes.refusal(400) for name in LVS}
        status, stdout, stderr = self.applied('--stop-after', 2,
                                              '--parallel', 1)
        self.assertEqual(3, status)
        self.assertIn('; failed: 2; outcome unknown: 0; not started: 1; ',
                      stdout)
        self.assertIn('\nStopped: 2 volumes failed for the same reason.\n',
                      stderr)
        self.cinder.errors = {}
        status, stdout, _ = self.applied()
        self.assertEqual(0, status)
        self.assertIn('adopted: 3; failed: 0', stdout)

    @ddt.data(('--stop-after', '-1', '--stop-after: must be 0 or more'),
              ('--stop-after', 'x', "'x' is not a whole number"),
              ('--format', 'csv', 'invalid choice'))
    @ddt.unpack
    def test_an_invalid_option_is_refused(self, option, value, words):
        status, stdout, stderr = self.applied(f'{option}={value}')
        self.assertEqual((2, ''), (status, stdout))
        self.assertIn(words, stderr)

    def test_a_full_disk_stops_a_run_that_can_be_resumed(self):
        self.by_name()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
            status, stdout, stderr = self.applied('--parallel', 1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        self.assertEqual(3, status)
        self.assertIn('adopted: 1; failed: 0; outcome unknown: 1; not '
                      'started: 1;', stdout)
        self.assertIn('Stopped: the journal cannot be written.\n', stderr)
        self.assertEqual(0, self.applied()[0])
        self.assertEqual(['data1', 'data2', 'data3'], self.cinder.requested)

    def test_an_undo_in_part_by_name(self):
        self.adopted()
        status, stdout, _ = self.undone('--match', 'data[12]')
        self.assertEqual(0, status)
        self.assertIn('unmanaged: 2; ', stdout)
        self.assertEqual({'id-data3'}, self.cinder.volumes.keys())
        status, stdout, stderr = self.undone('--match', 'vm-*')
        self.assertEqual((1, ''), (status, stdout))
        self.assertIn('No logical volume of ', stderr)
        status, stdout, _ = self.undone()
        self.assertIn('unmanaged: 1; ', stdout)
        status, stdout, stderr = self.undone()
        self.assertEqual(0, status)
        self.assertIn('unmanaged: 0; ', stdout)
        self.assertIn('Nothing to unmanage: all volumes of this journal were '
                      'unmanaged earlier', stderr)

    def test_a_volume_in_use_does_not_keep_the_others(self):
        self.adopted()
        self.cinder.volumes['id-data2']['status'] = 'reserved'
        reason = ('data2: its volume has status reserved (see volume '
                  'id-data2)')
        for options in (('--dry-run',), ()):
            status, stdout, stderr = self.undone(*options)
            self.assertEqual(3, status)
            self.assertEqual(
                1, stderr.count(f'cannot be unmanaged now: {reason}\n'))
        self.assertIn('unmanaged: 2; failed: 1; ', stdout)
        self.assertEqual({'id-data2'}, self.cinder.volumes.keys())

    def test_a_dry_run_of_an_undo_changes_nothing(self):
        self.adopted()
        before = self.journal.read_text()
        status, stdout, _ = self.undone('--dry-run')
        self.assertEqual(0, status)
        # They are in the order in which they were adopted.
        *volumes, total = stdout.splitlines()
        self.assertEqual(['data1: volume id-data1', 'data2: volume id-data2',
                          'data3: volume id-data3'], sorted(volumes))
        self.assertEqual('3 volumes to unmanage; 0 cannot be unmanaged now',
                         total)
        status, stdout, _ = self.undone('--dry-run', '-f', 'json')
        self.assertIn({'lv': 'data1', 'volume': 'id-data1', 'snapshots': []},
                      json.loads(stdout)['to_unmanage'])
        self.assertEqual(before, self.journal.read_text())
        self.assertEqual(3, len(self.cinder.volumes))

    @ddt.data((fakes.refusal(403), 'This needs an administrator'),
              ([[]], 'Cinder has no host lab@lvm#lvm'))
    @ddt.unpack
    def test_an_undo_by_another_user_or_on_another_cloud_changes_nothing(
            self, services, words):
        self.by_name()
        self.adopted()
        with RunJournal(self.journal) as log:
            log.record('data1', State.UNMANAGING)
        before = self.journal.read_text()
        api = self.cinder.api
        api.volume.side_effect = lambda volume_id: None
        api.services.side_effect = services
        status, _, stderr = self.openstack(
            'undo', self.journal, '--match', 'data1', api=api)
        self.assertEqual(1, status)
        self.assertIn(words, stderr)
        self.assertEqual(before, self.journal.read_text())

    @ddt.data(('y\n', (), 0), ('yes\n', (), 0), ('n\n', (), 3),
              ('', (), 3), ('\n', (), 3), ('n\n', ('--yes',), 0))
    @ddt.unpack
    def test_on_a_terminal_an_undo_asks(self, answer, options, left):
        self.adopted()
        with mock.patch.object(sys, 'stdin', Terminal(answer)):
            status, _, stderr = self.undone(*options)
        self.assertEqual(left, len(self.cinder.volumes))
        self.assertEqual(1 if left else 0, status)
        self.assertEqual(not options, 'Unmanage 3 volumes, such as that of '
                                      'data1?' in stderr)
        self.assertIs(bool(left), 'Nothing was changed' in stderr)

    def test_a_lost_journal_is_recovered(self):
        self.adopted()
        self.journal.unlink()
        for options, written in ((('--dry-run',), False), ((), True)):
            status, stdout, stderr = self.openstack('recover', self.plan,
                                                    *options)
            self.assertEqual((0, ''), (status, stderr))
            self.assertEqual(
                'recovered: 3; snapshots: 0; not adopted: 0; journal: '
                f'{self.journal if written else "not written"}\n', stdout)
            self.assertIs(written, self.journal.exists())
        status, stdout, stderr = self.openstack('recover', self.plan)
        self.assertEqual((1, ''), (status, stdout))
        self.assertIn('already exists. Move it away', stderr)
        self.assertEqual(0, self.undone()[0])
        self.assertEqual({}, self.cinder.volumes)

    def test_a_recovery_prints_json(self):
        self.adopted()
        self.journal.unlink()
        self.cinder.unmanage('id-data3')
        status, stdout, _ = self.openstack('recover', self.plan, '-f', 'json')
        self.assertEqual(0, status)
        self.assertEqual({
            'recovered': [{'lv': name, 'volume': f'id-{name}',
                           'state': 'adopted', 'snapshots': {}}
                          for name in LVS[:2]],
            'not_adopted': ['data3'], 'problems': []}, json.loads(stdout))
