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

import json
from unittest import mock

import ddt
from keystoneauth1 import exceptions as connection_errors

from osc_volume_adopt import run
from osc_volume_adopt.errors import BackendError
from osc_volume_adopt.errors import OutcomeUnknown
from osc_volume_adopt.journal import Record
from osc_volume_adopt.journal import RunJournal
from osc_volume_adopt.journal import State
from osc_volume_adopt.plan import Entry
from osc_volume_adopt.plan import Plan
from osc_volume_adopt.tests.unit import fakes

LVS = ('data1', 'data2', 'data3')


def plan(**fields):
    return Plan('p1', tuple(
        Entry(fakes.HOST, {'source-name': name}, 1, **fields)
        for name in LVS))


@ddt.ddt
class RunTest(fakes.InAFolder):

    def setUp(self):
        super().setUp()
        self.reported = []

    def run_with(self, api, log, parallel=1, timeout=0, arrival=0):
        return run.Run(api, log, lambda *line: self.reported.append(line),
                       parallel, timeout, arrival)

    def adopt(self, cinder, made=None, receiver='them'):
        """The outcome, and the journal's last states."""
        api = cinder.api
        with RunJournal(self.path, 'p1') as log:
            work = self.run_with(api, log)
            work.find_requested()
            outcome = work.adopt(made or plan(), {
                'theirs': ('their-id', receiver)})
            return outcome, {name: log.state(name) for name in LVS}

    def undo_problems(self, api, log):
        return {problem.source: problem.text for problem in run.undo_problems(
            api, log, run.volumes_of(api, log))}

    def test_each_volume_is_adopted_once(self):
        cinder = fakes.FakeCinder()
        outcome, states = self.adopt(cinder)
        self.assertEqual(list(LVS), outcome.done)
        self.assertEqual({State.ADOPTED}, set(states.values()))
        self.assertEqual([(name, 'adopted') for name in LVS], self.reported)
        outcome, _ = self.adopt(cinder)
        self.assertEqual(run.Outcome([], {}, {}), outcome)
        self.assertEqual(list(LVS), cinder.requested)

    @ddt.data(401, 403)
    def test_without_authorization_one_request_is_made(self, status):
        cinder = fakes.FakeCinder({'data1': fakes.refusal(status)})
        outcome, states = self.adopt(cinder)
        self.assertEqual(['data1'], cinder.requested)
        self.assertEqual({'data1'}, outcome.failed.keys())
        self.assertEqual({'data2', 'data3'}, outcome.unknown.keys())
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
        self.assertEqual('Cinder set the volume to status error_managing; '
                         'the LV is a thin pool', outcome.failed['data1'].text)
        self.assertEqual('see the logs of cinder-volume and cinder-scheduler '
                         'for id-data1', outcome.failed['data1'].remedy)

    @ddt.data(fakes.refusal(500), BackendError('ignores the marker'))
    def test_a_failure_remains_if_the_listing_fails(self, error):
        cinder = fakes.FakeCinder({'data1': 'error'})
        cinder.lvs = mock.MagicMock()
        cinder.lvs.__iter__.side_effect = error
        outcome, _ = self.adopt(cinder)
        self.assertEqual(['data2', 'data3'], outcome.done)
        self.assertIn('status error; the reason is unknown, because listing '
                      'the LVs failed', outcome.failed['data1'].text)

    def test_no_volume_remains_of_a_manage_that_ends_in_error(self):
        cinder = fakes.FakeCinder({'data1': 'error'})
        self.adopt(cinder)
        self.assertEqual({'id-data2', 'id-data3'}, cinder.volumes.keys())
        outcome, _ = self.adopt(cinder)
        self.assertEqual(['data1'], outcome.done)

    def test_a_failed_volume_that_remains_is_reported_and_removed_later(self):
        cinder = fakes.FakeCinder({'data1': 'error'})
        cinder.kept.add('id-data1')
        outcome, states = self.adopt(cinder)
        self.assertIn('the failed volume cannot be removed',
                      outcome.failed['data1'].text)
        self.assertIs(State.FAILED, states['data1'])
        with RunJournal(self.path) as log:
            self.assertIn('data1', run.to_unmanage(log))
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
            self.run_with(api, log, arrival=60).find_requested()
            self.assertEqual('id-data1', log.volume('data1'))
            self.assertEqual({'data1'}, run.find_started(plan(), log, api))

    def test_a_requested_volume_is_found_without_a_change(self):
        cinder = self.killed_before_the_first_answer()
        before = self.path.read_text()
        record = Record('p1')
        record._parse(before, self.path)
        self.assertEqual({'data1'},
                         run.find_started(plan(), record, cinder.api))
        cinder.volumes.clear()
        self.assertEqual(set(), run.find_started(plan(), record, cinder.api))

    def test_several_volumes_of_one_lv_are_reported(self):
        cinder = self.killed_before_the_first_answer()
        api = cinder.api
        api.volumes_with.side_effect = lambda metadata: list(
            cinder.volumes.values())
        with (RunJournal(self.path) as log,
              self.assertRaisesRegex(OutcomeUnknown, 'id-data1, id-data2, '
                                                         'id-data3. Find')):
            self.run_with(api, log).find_requested()

    def test_without_a_network_no_other_volume_is_started(self):
        cinder = fakes.FakeCinder()
        api = cinder.api
        api.manage.side_effect = connection_errors.ConnectFailure('lost')
        api.volumes_with.side_effect = api.manage.side_effect
        with RunJournal(self.path, 'p1') as log:
            outcome = self.run_with(api, log).adopt(plan(), {})
            self.assertIs(State.REQUESTED, log.state('data1'))
            self.assertIsNone(log.state('data2'))
        api.manage.assert_called_once()
        self.assertEqual(set(LVS), outcome.unknown.keys())

    def test_a_network_that_returns_is_waited_for(self):
        cinder = fakes.FakeCinder()
        api = cinder.api
        lost = [connection_errors.ConnectFailure('lost'), fakes.refusal(503)]

        def lossy(volume_id):
            if lost:
                raise lost.pop()
            return cinder.volume(volume_id)
        api.volume.side_effect = lossy
        with (RunJournal(self.path, 'p1') as log,
              mock.patch.object(run, '_LONGEST_PAUSE', 0.01)):
            outcome = self.run_with(api, log, timeout=60).adopt(plan(), {})
        self.assertEqual(list(LVS), outcome.done)

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
            outcome = self.run_with(api, log, parallel=2).unmanage(
                run.to_unmanage(log))
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
            self.run_with(api, log).unmanage(['data1'])
        api = cinder.api
        with RunJournal(self.path) as log:
            self.assertEqual({}, self.undo_problems(api, log))
            outcome = self.run_with(api, log).unmanage(run.to_unmanage(log))
        self.assertEqual(sorted(LVS), sorted(outcome.done))
        self.assertEqual({}, cinder.volumes)

    def test_an_undo_cancels_transfers(self):
        cinder = fakes.FakeCinder()
        self.adopt(cinder, plan(project='theirs'), 'full')
        cinder.volumes['id-data1']['status'] = 'awaiting-transfer'
        api = cinder.api
        with RunJournal(self.path) as log:
            self.assertEqual({}, self.undo_problems(api, log))
            self.assertEqual(3, len(self.run_with(api, log).unmanage(
                run.to_unmanage(log)).done))

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
            {'id': 'snapshot-1', 'name': 'daily'}, {'id': 's-2', 'name': ''}]
        with RunJournal(self.path) as log:
            self.assertEqual(
                {'data1': 'its volume no longer exists',
                 'data2': 'its volume has snapshots: daily, s-2',
                 'data3': 'its volume has snapshots: daily, s-2'},
                self.undo_problems(api, log))

    def test_a_volume_has_the_metadata_by_which_it_is_found(self):
        cinder = fakes.FakeCinder()
        self.adopt(cinder, plan(metadata={'from': 'pve'}))
        self.assertEqual({'from': 'pve', 'adopted_by_plan': 'p1/data1'},
                         cinder.volumes['id-data1']['metadata'])
        self.assertEqual({'plan': 'p1'}, json.loads(
            self.path.read_text().splitlines()[0]))
