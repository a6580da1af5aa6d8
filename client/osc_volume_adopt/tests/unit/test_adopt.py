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

"""The adoption of one LV: into projects, with snapshots, and by hostile ones.
"""

import dataclasses
import json

import ddt
from keystoneauth1 import exceptions as connection_errors

from osc_volume_adopt import adopt
from osc_volume_adopt import undo
from osc_volume_adopt.journal import RunJournal
from osc_volume_adopt.journal import State
from osc_volume_adopt.manageable import LVM_MANAGE
from osc_volume_adopt.plan import SnapshotEntry
from osc_volume_adopt.projects import Access
from osc_volume_adopt.tests.unit import cases
from osc_volume_adopt.tests.unit import fakes
from osc_volume_adopt.tests.unit.cases import LVS
from osc_volume_adopt.tests.unit.cases import plan
from osc_volume_adopt.tests.unit.cases import plan_by_uuid

LOST = connection_errors.ConnectTimeout('lost')


@ddt.ddt
class ProjectTest(cases.RunCase):

    def owners(self, cinder):
        return {volume['os-vol-tenant-attr:tenant_id']
                for volume in cinder.volumes.values()}

    def direct(self, cinder):
        return Access('their-id', cinder.api_of('their-id'), direct=True)

    def test_volumes_are_managed_in_their_project(self):
        cinder = fakes.FakeCinder()
        outcome, _ = self.adopt(cinder, plan_by_uuid(project='theirs'),
                                access=self.direct(cinder))
        self.assertEqual(list(LVS), outcome.done)
        self.assertEqual({'their-id'}, self.owners(cinder))
        self.assertEqual([], cinder.transferred)

    def test_without_uuids_they_are_transferred(self):
        cinder = fakes.FakeCinder()
        outcome, _ = self.adopt(cinder, plan(project='theirs'),
                                access=self.direct(cinder))
        self.assertEqual(list(LVS), outcome.done)
        self.assertEqual(3, len(cinder.transferred))

    def test_if_the_project_refuses_they_are_transferred(self):
        cinder = fakes.FakeCinder()
        access = self.direct(cinder)
        access.api.manage.side_effect = fakes.refusal(403)
        outcome, _ = self.adopt(cinder, plan_by_uuid(project='theirs'),
                                access=access)
        self.assertEqual(list(LVS), outcome.done)
        self.assertEqual({'mine'}, self.owners(cinder))
        self.assertEqual(3, len(cinder.transferred))

    @ddt.data('their-id', 'third-id')
    def test_a_volume_that_left_the_callers_is_not_transferred(self, owner):
        cinder = fakes.FakeCinder()
        self.adopt(cinder, plan(project='theirs'))
        with RunJournal(self.path) as log:
            # As after an accept whose answer was lost.
            log.record('data1', State.TRANSFERRING)
        cinder.volumes['id-data1']['os-vol-tenant-attr:tenant_id'] = owner
        outcome, _ = self.adopt(cinder, plan(project='theirs'))
        self.assertEqual(['data1'], outcome.done)
        self.assertEqual(1, [volume for volume, _ in cinder.transferred].count(
            'id-data1'))

    def test_an_answer_that_is_lost_there_is_confirmed_by_the_listing(self):
        cinder = fakes.FakeCinder({'data2': LOST})
        outcome, _ = self.adopt(cinder, plan_by_uuid(project='theirs'),
                                access=self.direct(cinder))
        self.assertEqual(list(LVS), outcome.done)
        self.assertEqual(list(LVS), cinder.requested)


@ddt.ddt
class HostileTest(cases.RunCase):
    """A project marks a volume of its own as that of an LV of the plan."""

    def marked(self, **more):
        return {'id': 'theirs', 'status': 'available', 'size': 1,
                'os-vol-tenant-attr:tenant_id': 'their-id',
                'os-vol-host-attr:host': fakes.HOST.name, 'attachments': [],
                'metadata': {'adopted_by_plan': 'p1/data1'}, **more}

    def lost(self, cinder, made):
        """data1's request was recorded, and did not arrive."""
        with RunJournal(self.path, 'p1') as log:
            log.record('data1', State.REQUESTED, volume=None, lv={
                'host': fakes.HOST.name, 'name': 'data1',
                'uuid': made.volumes[0].source_id})

    @ddt.data(plan(), plan_by_uuid())
    def test_a_marked_volume_changes_nothing_and_is_named(self, made):
        for volume in (self.marked(), self.marked(status='error'),
                       self.marked(status='creating')):
            self.path.unlink(missing_ok=True)
            cinder = fakes.FakeCinder()
            cinder.volumes['theirs'] = dict(volume)
            self.lost(cinder, made)
            with self.subTest(status=volume['status']):
                with RunJournal(self.path, 'p1') as log:
                    self.assertEqual(set(), adopt.find_started(
                        made, log, cinder.api))
                outcome, _ = self.adopt(cinder, made)
                self.assertEqual(list(LVS), outcome.done)
                self.assertEqual(volume, cinder.volumes['theirs'])
                self.assertIn('Ignored volume theirs of project their-id: it '
                              'has the property adopted_by_plan=p1/data1',
                              self.stderr.getvalue())
                with RunJournal(self.path) as log:
                    self.assertEqual('id-data1', log.volume('data1'))
                    undo.unmanage(self.run_with(cinder.api, log),
                                  undo.to_unmanage(log))
                self.assertEqual({'theirs': volume}, cinder.volumes)

    def test_beside_the_real_one_it_is_ignored(self):
        cinder = fakes.FakeCinder({'data1': LOST})
        cinder.volumes['theirs'] = self.marked()
        outcome, _ = self.adopt(cinder, plan_by_uuid())
        self.assertEqual(list(LVS), outcome.done)
        self.assertEqual(1, cinder.requested.count('data1'))
        with RunJournal(self.path) as log:
            self.assertEqual('id-data1', log.volume('data1'))


@ddt.ddt
class SnapshotTest(cases.RunCase):

    def setUp(self):
        super().setUp()
        self.cinder = fakes.FakeCinder()
        self.cinder.snapshot_lvs = [fakes.snapshot('before', 'data1'),
                                    fakes.snapshot('after', 'data1')]

    def made(self, make=plan_by_uuid, **fields):
        made = make(**fields)
        driver = made.volumes[0].driver
        first = dataclasses.replace(made.volumes[0], snapshots=tuple(
            SnapshotEntry({'source-name': name}, driver,
                          f'id-{name}' if driver == LVM_MANAGE else '', name)
            for name in ('before', 'after')))
        return dataclasses.replace(made, volumes=(first, *made.volumes[1:]))

    def snapshots(self):
        return {each['name']: (
            each['volume_id'],
            each['os-extended-snapshot-attributes:project_id'])
            for each in self.cinder.managed_snapshots.values()}

    @ddt.data(plan, plan_by_uuid)
    def test_snapshots_are_adopted_with_their_volume_and_released(self, make):
        outcome, _ = self.adopt(self.cinder, self.made(make))
        self.assertEqual(list(LVS), outcome.done)
        self.assertEqual(['data1', 'before', 'after', 'data2', 'data3'],
                         self.cinder.requested)
        self.assertEqual({'before': ('id-data1', 'mine'),
                          'after': ('id-data1', 'mine')}, self.snapshots())
        with RunJournal(self.path) as log:
            self.assertEqual({}, self.undo_problems(self.cinder.api, log))
            outcome = undo.unmanage(self.run_with(self.cinder.api, log),
                                    undo.to_unmanage(log))
        self.assertEqual(list(LVS), outcome.done)
        self.assertEqual(({}, {}), (self.cinder.volumes,
                                    self.cinder.managed_snapshots))

    def test_they_get_into_the_project_of_their_volume(self):
        self.adopt(self.cinder, self.made(project='theirs'), access=Access(
            'their-id', self.cinder.api_of('their-id'), direct=True))
        self.assertEqual({'before': ('id-data1', 'their-id'),
                          'after': ('id-data1', 'their-id')},
                         self.snapshots())

    def test_before_a_transfer_they_are_in_the_callers(self):
        # Cinder transfers them with their volume.
        self.adopt(self.cinder, self.made(project='theirs'))
        self.assertEqual({'before': ('id-data1', 'mine'),
                          'after': ('id-data1', 'mine')}, self.snapshots())
        self.assertEqual('id-data1', self.cinder.transferred[0][0])

    def test_one_that_fails_is_explained_and_retried(self):
        self.cinder.errors = {'after': 'error'}
        outcome, states = self.adopt(self.cinder,
                                     self.made(project='theirs'))
        self.assertEqual(
            'Cinder could not manage its snapshot after: the LV is a thin '
            'pool', outcome.failed['data1'].text)
        self.assertIs(State.MANAGING, states['data1'])
        # Its snapshots would not get into the other project any more.
        self.assertNotIn('id-data1', [volume for volume, _
                                      in self.cinder.transferred])
        self.assertEqual(['before'], list(self.snapshots()))
        outcome, _ = self.adopt(self.cinder, self.made(project='theirs'))
        self.assertEqual(['data1'], outcome.done)
        self.assertEqual(['before', 'after'], list(self.snapshots()))
        self.assertEqual(1, self.cinder.requested.count('before'))

    def test_those_of_a_volume_that_was_removed_are_adopted_again(self):
        self.cinder.errors = {'after': 'error'}
        self.adopt(self.cinder, self.made())
        self.cinder.unmanage_snapshot('id-before')
        self.cinder.unmanage('id-data1')
        outcome, _ = self.adopt(self.cinder, self.made())
        self.assertEqual('the volume was removed by somebody else',
                         outcome.failed['data1'].text)
        outcome, _ = self.adopt(self.cinder, self.made())
        self.assertEqual(['data1'], outcome.done)
        self.assertEqual(['before', 'after'], list(self.snapshots()))

    @ddt.data(plan, plan_by_uuid)
    def test_one_whose_answer_was_lost_is_found(self, make):
        self.cinder.errors = {'before': LOST}
        outcome, _ = self.adopt(self.cinder, self.made(make))
        self.assertEqual(list(LVS), outcome.done)
        self.assertEqual(1, self.cinder.requested.count('before'))

    def test_after_a_kill_it_is_found(self):
        self.adopt(self.cinder, self.made())
        lines = self.path.read_text().splitlines(keepends=True)
        last = next(number for number, line in enumerate(lines)
                    if json.loads(line).get('snapshot'))
        self.path.write_text(''.join(lines[:last + 1]))
        self.adopt(self.cinder, self.made())
        self.assertEqual(1, self.cinder.requested.count('before'))
        self.assertEqual(2, len(self.cinder.managed_snapshots))

    def test_one_that_somebody_else_took_prevents_an_undo(self):
        self.adopt(self.cinder, self.made())
        self.cinder.managed_snapshots['other'] = {
            'id': 'other', 'name': 'daily', 'volume_id': 'id-data1'}
        with RunJournal(self.path) as log:
            self.assertEqual({'data1': 'its volume has snapshots: daily'},
                             self.undo_problems(self.cinder.api, log))
