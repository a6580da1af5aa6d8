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

"""A lost journal, from Cinder's volumes and the backend's listing."""

import dataclasses

import ddt

from osc_volume_adopt import recover
from osc_volume_adopt import undo
from osc_volume_adopt.errors import JournalError
from osc_volume_adopt.journal import RunJournal
from osc_volume_adopt.journal import State
from osc_volume_adopt.manageable import LVM_MANAGE
from osc_volume_adopt.plan import SnapshotEntry
from osc_volume_adopt.tests.unit import cases
from osc_volume_adopt.tests.unit import fakes
from osc_volume_adopt.tests.unit.cases import LVS
from osc_volume_adopt.tests.unit.cases import plan
from osc_volume_adopt.tests.unit.cases import plan_by_uuid


@ddt.ddt
class RecoverTest(cases.RunCase):

    def setUp(self):
        super().setUp()
        self.cinder = fakes.FakeCinder()

    def lost(self, made):
        """The plan was applied, and its journal is lost."""
        self.adopt(self.cinder, made)
        self.path.unlink()

    def found(self, made, unmarked=False):
        return recover.find(self.cinder.api, made, unmarked)

    def states(self, found):
        return {each.source: (each.id, each.state) for each in found.volumes}

    @ddt.data(plan(), plan_by_uuid())
    def test_a_journal_is_written_again(self, made):
        self.lost(made)
        found = self.found(made)
        self.assertEqual({name: (f'id-{name}', State.ADOPTED)
                          for name in LVS}, self.states(found))
        self.assertEqual(([], []), (found.problems, found.left))
        recover.write(self.path, made, found)
        with RunJournal(self.path, 'p1') as log:
            undo.unmanage(self.run_with(self.cinder.api, log),
                          undo.to_unmanage(log))
        self.assertEqual({}, self.cinder.volumes)

    def test_a_journal_is_not_overwritten(self):
        self.path.write_text('x')
        with self.assertRaisesRegex(JournalError, 'already exists. Move it'):
            recover.write(self.path, plan(), recover.Found())

    def test_snapshots_are_found(self):
        self.cinder.snapshot_lvs = [fakes.snapshot('before', 'data1'),
                                    fakes.snapshot('after', 'data1')]
        made = plan_by_uuid()
        first = dataclasses.replace(made.volumes[0], snapshots=(
            SnapshotEntry({'source-name': 'before'}, LVM_MANAGE, 'id-before'),
        ))
        made = dataclasses.replace(made, volumes=(first, *made.volumes[1:]))
        self.lost(made)
        self.assertEqual({'before': 'id-before'},
                         self.found(made).volumes[0].snapshots)
        # One that is missing is adopted by the next apply.
        self.cinder.unmanage_snapshot('id-before')
        each = self.found(made).volumes[0]
        self.assertEqual(({}, State.MANAGING), (each.snapshots, each.state))

    def test_what_is_not_complete_is_continued(self):
        made = plan_by_uuid(project='theirs')
        self.lost(made)
        first, second, third = self.cinder.volumes.values()
        first['os-vol-tenant-attr:tenant_id'] = 'their-id'
        second['status'] = 'awaiting-transfer'
        self.cinder.held.pop('data3')
        third |= {'size': 0, 'status': 'error'}
        self.assertEqual({
            'data1': ('id-data1', State.ADOPTED),
            'data2': ('id-data2', State.TRANSFERRING),
            'data3': ('id-data3', State.MANAGING)},
            self.states(self.found(made)))

    def test_a_volume_that_its_owner_gave_away_is_complete(self):
        made = plan_by_uuid(project='theirs')
        self.lost(made)
        for volume in self.cinder.volumes.values():
            volume['os-vol-tenant-attr:tenant_id'] = 'third'
        self.assertEqual({State.ADOPTED}, {
            each.state for each in self.found(made).volumes})

    def test_lvs_that_were_not_adopted_are_left(self):
        self.assertEqual(recover.Found(left=list(LVS)),
                         self.found(plan_by_uuid()))

    def test_a_hostile_project_changes_nothing(self):
        made = plan_by_uuid()
        self.lost(made)
        self.cinder.unmanage('id-data1')
        for name, mark in (('a', 'p1/data1'), ('b', 'p1/data2'),
                           ('c', 'p1/nothing'), ('d', 'p2/data1')):
            self.cinder.volumes[name] = {
                'id': name, 'size': 1, 'status': 'available',
                'os-vol-tenant-attr:tenant_id': 'their-id',
                'metadata': {'adopted_by_plan': mark}}
        found = self.found(made)
        self.assertEqual(['data2', 'data3'], list(self.states(found)))
        self.assertEqual(['data1'], found.left)
        for volume in ('a', 'b', 'c'):
            self.assertEqual(1, sum(
                problem.text.startswith(f'Ignored volume {volume} of project '
                                        'their-id') for problem
                in found.problems))
        self.assertEqual(3, len(found.problems))

    def test_a_volume_without_the_property_is_an_operators_decision(self):
        made = plan_by_uuid()
        self.lost(made)
        self.cinder.volumes['id-data2']['metadata'] = {}
        found = self.found(made)
        self.assertEqual(['data2'], found.left)
        problem, = found.problems
        self.assertIn('a volume without the property adopted_by_plan',
                      problem.text)
        self.assertEqual('see volume id-data2; --unmarked records it',
                         problem.remedy)
        self.assertEqual(list(LVS), list(self.states(self.found(
            made, unmarked=True))))
