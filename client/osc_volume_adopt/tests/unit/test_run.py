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

"""Runs against a Cinder that fails as real ones do: what starts, what is done.
"""

import dataclasses
import io
import json
from typing import Any
from unittest import mock
import uuid

import ddt
from keystoneauth1 import exceptions as connection_errors

from osc_volume_adopt import adopt
from osc_volume_adopt import run
from osc_volume_adopt import undo
from osc_volume_adopt.errors import BackendError
from osc_volume_adopt.errors import OutcomeUnknown
from osc_volume_adopt.evidence import Lv
from osc_volume_adopt.journal import Record
from osc_volume_adopt.journal import RunJournal
from osc_volume_adopt.journal import State
from osc_volume_adopt.plan import marker_of
from osc_volume_adopt.plan import Plan
from osc_volume_adopt.tests.unit import cases
from osc_volume_adopt.tests.unit import fakes
from osc_volume_adopt.tests.unit.cases import LVS
from osc_volume_adopt.tests.unit.cases import plan
from osc_volume_adopt.volume_options import VolumeOptions


@ddt.ddt
class RunTest(cases.RunCase):

    def test_each_volume_is_adopted_once(self):
        cinder = fakes.FakeCinder()
        outcome, states = self.adopt(cinder)
        self.assertEqual(list(LVS), outcome.done)
        self.assertEqual({State.ADOPTED}, set(states.values()))
        self.assertEqual([f'{name}: adopted' for name in LVS], self.reported)
        outcome, _ = self.adopt(cinder)
        self.assertEqual(run.Outcome(), outcome)
        self.assertEqual(list(LVS), cinder.requested)

    @ddt.data(401, 403)
    def test_without_authorization_one_request_is_made(self, status):
        cinder = fakes.FakeCinder({'data1': fakes.refusal(status)})
        outcome, states = self.adopt(cinder)
        self.assertEqual(['data1'], cinder.requested)
        self.assertEqual({'data1'}, outcome.failed.keys())
        self.assertEqual(['data2', 'data3'], outcome.left)
        self.assertEqual('Cinder or Keystone refuses the credentials',
                         outcome.stopped)
        self.assertIs(State.FAILED, states['data1'])
        self.assertIsNone(states['data2'])

    def test_a_refusal_of_one_does_not_stop_the_others(self):
        outcome, states = self.adopt(
            fakes.FakeCinder({'data1': fakes.refusal(400)}))
        self.assertEqual(['data2', 'data3'], outcome.done)
        self.assertIs(State.FAILED, states['data1'])

    def test_a_manage_that_ends_in_error_is_explained(self):
        cinder = fakes.FakeCinder({'data1': 'error_managing'})
        cinder.lvs = [fakes.named('data1', fakes.UNSAFE)]
        outcome, _ = self.adopt(cinder)
        self.assertEqual('Cinder could not manage the LV: the LV is a thin '
                         'pool', outcome.failed['data1'].text)
        self.assertEqual('manage the thin volumes in it',
                         outcome.failed['data1'].remedy)
        self.assertEqual(1, self.stderr.getvalue().count('is a thin pool'))

    def test_a_manage_that_fails_without_a_reason_of_the_lv(self):
        cinder = fakes.FakeCinder({'data1': 'error'})
        outcome, _ = self.adopt(cinder)
        self.assertEqual(
            'Cinder could not manage the LV, although its listing has no '
            'reason against it (see the logs of cinder-volume and '
            'cinder-scheduler for volume id-data1)',
            outcome.failed['data1'].explained)

    def test_an_lv_that_was_removed_is_said_to_be_gone(self):
        cinder = fakes.FakeCinder({'data1': 'error'})
        del cinder.lvs[0]
        outcome, _ = self.adopt(cinder)
        self.assertEqual('Cinder could not manage the LV: the LV no longer '
                         'exists on host lab@lvm#lvm',
                         outcome.failed['data1'].text)

    def test_a_service_that_went_down_is_the_reason(self):
        cinder = fakes.FakeCinder({'data1': 'error'})
        cinder.service = dataclasses.replace(cinder.service, up=False)
        outcome, _ = self.adopt(cinder)
        self.assertIn('Cinder could not manage the LV: the reason is unknown: '
                      'The cinder-volume service of lab@lvm is down',
                      outcome.failed['data1'].text)

    def test_a_run_stops_after_equal_failures(self):
        for stop_after, failed in ((2, 2), (3, 3), (0, 3)):
            self.path.unlink(missing_ok=True)
            self.stderr = io.StringIO()
            cinder = fakes.FakeCinder(
                {name: fakes.refusal(400) for name in LVS})
            with self.subTest(stop_after=stop_after):
                outcome, _ = self.adopt(cinder, stop_after=stop_after)
                self.assertEqual(failed, len(outcome.failed))
                self.assertEqual(list(LVS)[failed:], outcome.left)
                self.assertEqual(
                    f'{stop_after} volumes failed for the same reason'
                    if stop_after else '', outcome.stopped)
                self.assertEqual(
                    [('data1: failed: GET /v3/p/volumes was refused (HTTP '
                      '400, no).'),
                     'data2: failed, for the same reason as data1'],
                    self.reported[:2])

    def test_equal_refusals_of_different_volumes_are_equal_failures(self):
        cinder = fakes.FakeCinder()
        api = cinder.api
        api.set_image_properties.side_effect = [
            fakes.refusal(400, f'/volumes/{uuid.uuid4()}/action')
            for _ in LVS]
        outcome, _ = self.adopt(cinder, plan(image_properties={'a': 'b'}),
                                api=api, stop_after=2)
        self.assertEqual(['data1', 'data2'], list(outcome.failed))
        self.assertEqual(['data3'], outcome.left)
        self.assertEqual('data2: failed, for the same reason as data1',
                         self.reported[1])

    def test_different_failures_do_not_stop_a_run(self):
        cinder = fakes.FakeCinder({
            'data1': fakes.refusal(400), 'data2': fakes.refusal(409)})
        outcome, _ = self.adopt(cinder, stop_after=2)
        self.assertEqual(['data3'], outcome.done)
        self.assertEqual('', outcome.stopped)

    @ddt.data(fakes.refusal(500), BackendError('ignores the marker'))
    def test_a_failure_remains_if_the_listing_fails(self, error):
        cinder = fakes.FakeCinder({'data1': 'error'})
        cinder.lvs = mock.MagicMock()
        cinder.lvs.__iter__.side_effect = error
        outcome, _ = self.adopt(cinder)
        self.assertEqual(['data2', 'data3'], outcome.done)
        self.assertIn('could not manage the LV: the reason is unknown: ',
                      outcome.failed['data1'].text)

    def test_no_volume_remains_of_a_manage_that_ends_in_error(self):
        cinder = fakes.FakeCinder({'data1': 'error'})
        self.adopt(cinder)
        self.assertEqual({'id-data2', 'id-data3'}, cinder.volumes.keys())
        outcome, _ = self.adopt(cinder)
        self.assertEqual(['data1'], outcome.done)

    def test_an_error_that_cinder_records_twice_is_not_that_of_the_removal(
            self):
        class RecordedTwice(fakes.FakeCinder):
            once_more: Any = None

            def unmanage(self, volume_id):
                self.once_more = self.volumes[volume_id]
                super().unmanage(volume_id)

            def volume(self, volume_id):
                found, self.once_more = self.once_more, None
                return found or super().volume(volume_id)

        outcome, _ = self.adopt(RecordedTwice({'data1': 'error'}), timeout=60)
        self.assertIn('its listing has no reason against it',
                      outcome.failed['data1'].text)

    def test_a_failed_volume_that_remains_is_reported_and_removed_later(self):
        cinder = fakes.FakeCinder({'data1': 'error'})
        cinder.kept.add('id-data1')
        outcome, states = self.adopt(cinder)
        self.assertIn('the failed volume cannot be removed',
                      outcome.failed['data1'].text)
        self.assertIs(State.FAILED, states['data1'])
        with RunJournal(self.path) as log:
            self.assertIn('data1', undo.to_unmanage(log))
        outcome, _ = self.adopt(cinder)
        self.assertEqual({'data1'}, outcome.failed.keys())
        self.assertEqual(1, cinder.requested.count('data1'))
        cinder.kept.clear()
        outcome, _ = self.adopt(cinder)
        self.assertEqual(['data1'], outcome.done)

    def test_a_request_without_a_volume_is_a_failure(self):
        cinder = fakes.FakeCinder({'data2': fakes.refusal(503)})
        outcome, states = self.adopt(cinder)
        self.assertEqual({'data2'}, outcome.failed.keys())
        self.assertIs(State.FAILED, states['data2'])
        outcome, _ = self.adopt(cinder)
        self.assertEqual(['data2'], outcome.done)
        self.assertEqual(3, len(cinder.volumes))

    def test_after_a_lost_answer_the_volume_is_looked_for(self):
        cinder = fakes.FakeCinder(
            {'data2': connection_errors.ConnectTimeout('lost')})
        outcome, _ = self.adopt(cinder)
        self.assertEqual(list(LVS), outcome.done)
        self.assertEqual(list(LVS), cinder.requested)

    def killed_before_the_first_answer(self):
        cinder = fakes.FakeCinder()
        self.adopt(cinder)
        lines = self.path.read_text().splitlines()
        self.path.write_text('\n'.join(lines[:2]) + '\n')
        return cinder

    def test_a_request_that_arrives_late_is_waited_for(self):
        cinder = self.killed_before_the_first_answer()
        api = cinder.api
        api.volumes_with.side_effect = [[], [cinder.volumes['id-data1']]]
        with RunJournal(self.path) as log:
            adopt.find_requested(self.run_with(api, log, arrival=60))
            self.assertEqual('id-data1', log.volume('data1'))
            self.assertEqual({'data1'}, adopt.find_started(plan(), log, api))

    def test_one_listing_finds_all_requested_volumes(self):
        cinder = fakes.FakeCinder()
        cinder.lvs = [fakes.named(f'data{number}') for number in range(9)]
        made = Plan.of(cinder.lvs, VolumeOptions())
        for number in (2, 9):
            self.path.unlink(missing_ok=True)
            part = dataclasses.replace(made, volumes=made.volumes[:number])
            with (self.subTest(number=number),
                  RunJournal(self.path, part.id) as log):
                for entry in part.volumes:
                    log.record(entry.source, State.REQUESTED,
                               lv=Lv.of(entry).as_dict)
                    if entry.source not in cinder.held:
                        cinder.manage('mine', fakes.HOST, entry.reference, {
                            'metadata': marker_of(part.id,
                                                  entry.source)})
                api = cinder.api
                self.assertEqual(number, len(
                    adopt.find_started(part, log, api)))
                api.manageable.assert_called_once_with(fakes.HOST)
                api.manageable.reset_mock()
                adopt.find_requested(self.run_with(api, log))
                api.manageable.assert_called_once_with(fakes.HOST)
                self.assertEqual(number, len(log.sources(State.MANAGING)))

    def test_a_requested_volume_is_found_without_a_change(self):
        cinder = self.killed_before_the_first_answer()
        before = self.path.read_text()
        record = Record('p1')
        record._parse(before, self.path)
        self.assertEqual({'data1'},
                         adopt.find_started(plan(), record, cinder.api))
        cinder.volumes.clear()
        self.assertEqual(set(), adopt.find_started(plan(), record, cinder.api))

    def test_several_volumes_of_one_lv_are_reported(self):
        cinder = self.killed_before_the_first_answer()
        api = cinder.api
        api.volumes_with.side_effect = lambda metadata: list(
            cinder.volumes.values())
        with (RunJournal(self.path) as log,
              self.assertRaisesRegex(OutcomeUnknown, 'several volumes may '
                                                     'have the LV') as raised):
            adopt.find_requested(self.run_with(api, log))
        self.assertIn('id-data1, id-data2, id-data3',
                      raised.exception.remedy)

    def test_without_a_network_no_other_volume_is_started(self):
        cinder = fakes.FakeCinder()
        api = cinder.api
        api.manage.side_effect = connection_errors.ConnectFailure('lost')
        api.volumes_with.side_effect = api.manage.side_effect
        with RunJournal(self.path, 'p1') as log:
            outcome = adopt.adopt(self.run_with(api, log), plan(), {})
            self.assertIs(State.REQUESTED, log.state('data1'))
            self.assertIsNone(log.state('data2'))
        api.manage.assert_called_once()
        self.assertEqual({'data1'}, outcome.unknown.keys())
        self.assertEqual(['data2', 'data3'], outcome.left)

    def test_a_network_that_returns_is_waited_for(self):
        cinder = fakes.FakeCinder()
        api = cinder.api
        lost = [connection_errors.ConnectFailure('lost'), fakes.refusal(503),
                fakes.refusal(429)]

        def lossy(volume_id):
            if lost:
                raise lost.pop()
            return cinder.volume(volume_id)
        api.volume.side_effect = lossy
        with (RunJournal(self.path, 'p1') as log,
              mock.patch.object(run, '_LONGEST_PAUSE', 0.01)):
            outcome = adopt.adopt(self.run_with(api, log, timeout=60), plan(),
                                  {})
        self.assertEqual(list(LVS), outcome.done)

    def never_managed(self):
        cinder = fakes.FakeCinder(dict.fromkeys(LVS, 'creating'))
        return cinder, cinder.api

    @ddt.data(State.MANAGING, State.UNMANAGING)
    def test_a_volume_that_is_in_use_already_is_managed(self, state):
        cinder = fakes.FakeCinder()
        self.adopt(cinder)
        with RunJournal(self.path) as log:
            # As after an interrupt.
            log.record('data1', state)
        cinder.volumes['id-data1']['status'] = 'in-use'
        outcome, _ = self.adopt(cinder)
        self.assertEqual(['data1'], outcome.done)

    @ddt.data((State.MANAGING, 'error_extending'),
              (State.UNMANAGING, 'error_extending'),
              (State.TRANSFERRING, 'error_extending'),
              (State.TRANSFERRING, 'error'))
    @ddt.unpack
    def test_a_volume_that_failed_after_it_was_managed_remains(self, state,
                                                               status):
        cinder = fakes.FakeCinder()
        self.adopt(cinder)
        with RunJournal(self.path) as log:
            log.record('data1', state)
        cinder.volumes['id-data1']['status'] = status
        outcome, _ = self.adopt(cinder)
        self.assertEqual(
            f'the volume was managed, but has status {status} now (see volume '
            'id-data1)', outcome.failed['data1'].explained)
        self.assertIn('id-data1', cinder.volumes)
        cinder.volumes['id-data1']['status'] = 'available'
        outcome, _ = self.adopt(cinder)
        self.assertEqual(['data1'], outcome.done)

    def test_a_volume_that_is_never_managed_times_out(self):
        cinder, api = self.never_managed()
        outcome, states = self.adopt(cinder, api=api)
        self.assertEqual(
            'the volume still has status creating after 0 seconds (see '
            'volume id-data1)', outcome.unknown['data1'].explained)
        self.assertEqual({State.MANAGING}, set(states.values()))

    def test_a_service_that_is_down_is_not_waited_for_after_failures(self):
        cinder, api = self.never_managed()
        cinder.service = dataclasses.replace(cinder.service, up=False)
        cinder.errors['data2'] = fakes.refusal(400)
        with mock.patch.object(run, 'ASK_AGAIN', -1):
            outcome, _ = self.adopt(cinder, api=api, parallel=2, timeout=60,
                                    stop_after=1)
        self.assertIn('The cinder-volume service of lab@lvm is down',
                      outcome.unknown['data1'].text)
        self.assertEqual(['data3'], outcome.left)

    def test_what_is_waited_for_is_shown(self):
        cinder, api = self.never_managed()
        cinder.service = dataclasses.replace(cinder.service, up=False)
        for ask_again, words in ((60, 'Cinder is managing the LV'),
                                 (-1, ('The cinder-volume service of lab@lvm '
                                       'is down'))):
            self.path.unlink(missing_ok=True)
            with (self.subTest(words=words),
                  RunJournal(self.path, 'p1') as log,
                  mock.patch.object(run, 'ASK_AGAIN', ask_again)):
                work = self.run_with(api, log, timeout=0.3)
                with mock.patch.object(work.shown, 'wait',
                                       autospec=True) as wait:
                    adopt.adopt(work, plan(), {})
                self.assertTrue(wait.call_args_list[0].args[1].startswith(
                    words))
            cinder.errors = dict.fromkeys(LVS, 'creating')

    def test_a_project_that_cannot_accept_a_volume_is_reported(self):
        cinder = fakes.FakeCinder()
        outcome, states = self.adopt(cinder, plan(project='theirs'), 'full')
        self.assertIn('the volume is adopted, but remains in your project',
                      outcome.failed['data1'].text)
        self.assertEqual({State.TRANSFERRING}, set(states.values()))
        outcome, _ = self.adopt(cinder, plan(project='theirs'))
        self.assertEqual(3, len(outcome.done))
        self.assertEqual(list(LVS), cinder.requested)

    def test_a_volume_is_transferred(self):
        cinder = fakes.FakeCinder()
        outcome, _ = self.adopt(cinder, plan(project='theirs'))
        self.assertEqual(3, len(outcome.done))
        self.assertEqual([(f'id-{name}', 'them') for name in LVS],
                         cinder.transferred)

    def test_a_volume_is_transferred_once(self):
        cinder = fakes.FakeCinder()
        self.adopt(cinder)
        for volume in cinder.volumes.values():
            volume['os-vol-tenant-attr:tenant_id'] = 'their-id'
        text = self.path.read_text().replace('"adopted"', '"managing"')
        self.path.write_text(text)
        outcome, _ = self.adopt(cinder, plan(project='theirs'))
        self.assertEqual(3, len(outcome.done))
        self.assertEqual([], cinder.transferred)

    def test_adopted_volumes_are_unmanaged(self):
        cinder = fakes.FakeCinder()
        self.adopt(cinder)
        api = cinder.api
        with RunJournal(self.path) as log:
            self.assertEqual({}, self.undo_problems(api, log))
            outcome = undo.unmanage(
                self.run_with(api, log, parallel=2), undo.to_unmanage(log))
            self.assertEqual(sorted(LVS), sorted(outcome.done))
            self.assertEqual(list(LVS), log.sources(State.UNMANAGED))
        self.assertEqual({}, cinder.volumes)

    def test_an_interrupted_undo_resumes(self):
        cinder = fakes.FakeCinder()
        self.adopt(cinder)
        api = cinder.api

        def interrupted(volume_id):
            cinder.unmanage(volume_id)
            raise KeyboardInterrupt
        api.unmanage.side_effect = interrupted
        with (RunJournal(self.path) as log,
              self.assertRaises(KeyboardInterrupt)):
            undo.unmanage(self.run_with(api, log), ['data1'])
        api = cinder.api
        with RunJournal(self.path) as log:
            self.assertEqual({}, self.undo_problems(api, log))
            outcome = undo.unmanage(self.run_with(api, log),
                                    undo.to_unmanage(log))
        self.assertEqual(sorted(LVS), sorted(outcome.done))
        self.assertEqual({}, cinder.volumes)

    @ddt.data((None, 'the volume was removed by somebody else'),
              ('deleting', 'the volume was removed by somebody else'),
              ('in-use', 'the volume is in use now'))
    @ddt.unpack
    def test_what_others_do_during_an_undo_is_not_undone(self, status, text):
        cinder = fakes.FakeCinder()
        self.adopt(cinder)
        # After the check.
        volume = cinder.volumes.pop('id-data1')
        if status:
            cinder.volumes['id-data1'] = volume | {'status': status}
        api = cinder.api

        def deleted(volume_id):
            found = cinder.volume(volume_id)
            if found and found['status'] == 'deleting':
                del cinder.volumes[volume_id]
            return found
        api.volume.side_effect = deleted
        with RunJournal(self.path) as log:
            outcome = undo.unmanage(self.run_with(api, log),
                                    undo.to_unmanage(log))
            self.assertEqual(text, outcome.failed['data1'].text)
            self.assertIs(State.ADOPTED, log.state('data1'))
        self.assertEqual(['data2', 'data3'], outcome.done)

    def test_an_undo_cancels_transfers(self):
        cinder = fakes.FakeCinder()
        self.adopt(cinder, plan(project='theirs'), 'full')
        cinder.volumes['id-data1']['status'] = 'awaiting-transfer'
        api = cinder.api
        with RunJournal(self.path) as log:
            self.assertEqual({}, self.undo_problems(api, log))
            self.assertEqual(3, len(undo.unmanage(
                self.run_with(api, log), undo.to_unmanage(log)).done))

    def test_what_prevents_an_undo_is_reported(self):
        cinder = fakes.FakeCinder()
        self.adopt(cinder)
        api = cinder.api
        for change, text in (
                # Somebody else has created the transfer.
                ({'status': 'awaiting-transfer'},
                 'its volume has status awaiting-transfer'),
                ({'status': 'reserved'}, 'its volume has status reserved'),
                ({'status': 'in-use', 'attachments': [
                    {'server_id': 'server-1'}, {'host_name': 'node-1'}, {}]},
                 ('its volume is attached to server server-1, host node-1, '
                 'host unknown'))):
            with self.subTest(text=text), RunJournal(self.path) as log:
                cinder.volumes['id-data1'] |= change
                self.assertEqual({'data1': text},
                                 self.undo_problems(api, log))
        del cinder.volumes['id-data1']
        api.snapshots.side_effect = lambda volume_id: [
            # A project can give a name that clears the operator's screen.
            {'id': 'snapshot-1', 'name': 'daily\x1b[2J\n'},
            {'id': 's-2', 'name': ''}]
        with RunJournal(self.path) as log:
            self.assertEqual(
                {'data1': 'its volume no longer exists',
                 'data2': r'its volume has snapshots: daily\x1b[2J\n, s-2',
                 'data3': r'its volume has snapshots: daily\x1b[2J\n, s-2'},
                self.undo_problems(api, log))

    def test_a_volume_has_the_metadata_by_which_it_is_found(self):
        cinder = fakes.FakeCinder()
        self.adopt(cinder, plan(metadata={'from': 'pve'}))
        self.assertEqual({'from': 'pve', 'adopted_by_plan': 'p1/data1'},
                         cinder.volumes['id-data1']['metadata'])
        self.assertEqual({'plan': 'p1'}, json.loads(
            self.path.read_text().splitlines()[0]))
