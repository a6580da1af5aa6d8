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

"""Plans, CSVs and journals: what is taken, and what is refused and why."""

import pathlib
import tempfile
from typing import Any
import unittest

import ddt
import yaml

from osc_volume_adopt import journal
from osc_volume_adopt import plan
from osc_volume_adopt import rows
from osc_volume_adopt.api import Location
from osc_volume_adopt.api import Manageable

ROW = {'reference': {'source-name': 'data1'}, 'size': 1,
       'safe_to_manage': True, 'reason_not_safe': None, 'cinder_id': None,
       'extra_info': {'source_id': 'id-1', 'size_bytes': '4194304',
                      'layout': 'linear', 'tags': 'a,b'}}
UNSAFE = ROW | {'reference': {'source-name': 'pool'}, 'safe_to_manage': False,
                'reason_not_safe': 'is a thin pool',
                'extra_info': {'source_id': 'id-2'}}
# What a driver that tells no more than Cinder asks of it lists.
BARE = ROW | {'reference': {'source-id': 'abc', 'type': 'lun'},
              'extra_info': None}

PLAN: dict[str, Any] = {'plan': 'p1', 'host': 'a@b#c', 'volumes': [
    {'reference': {'source-name': 'data1'}, 'gib': 1, 'source_id': 'id-1'},
    {'reference': {'source-name': 'data2'}, 'gib': 2}]}


def changed(**fields):
    return PLAN | {'volumes': [PLAN['volumes'][0] | fields]}


class InAFolder(unittest.TestCase):
    """With self.path in an empty folder."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name, 'file')


@ddt.ddt
class PlanTest(InAFolder):

    def test_a_row_of_any_driver_is_read(self):
        row = Manageable.of(BARE)
        self.assertEqual('abc', row.name)
        self.assertIsNone(row.size)
        self.assertEqual('abc', row.source_id)

    def test_what_is_safe_is_planned_and_the_rest_is_left_out(self):
        made = plan.Plan.of(Location(host='a@b#c'),
                            map(Manageable.of, (ROW, UNSAFE)), '{number}-'
                            '{name}', volume_type='thick')
        self.assertEqual((('pool', 'is a thin pool'),), made.left_out)
        entry, = made.volumes
        self.assertEqual('1-data1', entry.name)
        self.assertEqual('thick', entry.volume_type)
        self.assertEqual(2 ** 30 - 2 ** 22, made.bytes_added)

    def test_what_is_saved_is_loaded(self):
        made = plan.Plan.of(Location(cluster='c'), [Manageable.of(ROW)],
                            '{name}', metadata={'k': 'v'})
        made.save(self.path)
        self.assertEqual(made, plan.Plan.load(self.path))

    def test_a_file_that_is_there_is_not_written_over(self):
        self.path.write_text('dear')
        made = plan.Plan.of(Location(host='h'), [], '{name}')
        with self.assertRaisesRegex(plan.PlanError, 'File exists'):
            made.save(self.path)
        self.assertEqual('dear', self.path.read_text())

    @ddt.data('{nam}', '{', '{0}', '{name.x.y}')
    def test_a_template_that_is_wrong_is_told_of(self, template):
        with self.assertRaisesRegex(plan.PlanError, r'fields are \{name\}, '):
            list(plan.names([Manageable.of(ROW)], template))

    @ddt.data(
        (changed(nme='x'), "entry 1 .*: .*'nme' was unexpected"),
        (changed(bootable='yes'), "entry 1 .*bootable: 'yes' is not of type"),
        (changed(gib='1'), "entry 1 .*gib: '1' is not of type"),
        (changed(reference={}), 'entry 1 .*reference: '),
        (changed(name='x' * 256), 'entry 1 .*name: .*is too long'),
        (changed(metadata={'k': 1}), 'entry 1 .*metadata.k: 1 is not of type'),
        (PLAN | {'volumes': [PLAN['volumes'][1]] * 2},
         'entry 2: data2 is the LV of entry 1 too'),
        (PLAN | {'volumes': [PLAN['volumes'][0], PLAN['volumes'][1] | {
            'source_id': 'id-1'}]}, 'entry 2: id-1 is the LV of entry 1'),
        (changed(metadata={'adopted_by_plan': 'x'}),
         'metadata.adopted_by_plan: is set when'),
        (PLAN | {'cluster': 'c'}, 'the file: '),
        (PLAN | {'hots': 'x'}, "the file: .*'hots' was unexpected"),
        ({key: PLAN[key] for key in ('host', 'volumes')},
         "'plan' is a required property"),
        ([], "is not of type 'object'"), (None, "is not of type 'object'"),
        ('text', "is not of type 'object'"))
    @ddt.unpack
    def test_a_plan_that_is_wrong_is_told_of(self, content, words):
        self.path.write_text(yaml.safe_dump(content))
        with self.assertRaisesRegex(plan.PlanError, words):
            plan.Plan.load(self.path)

    def test_all_faults_are_told(self):
        self.path.write_text(yaml.safe_dump(PLAN | {'volumes': [
            {'gib': 1}, {'reference': {'source-name': 'x'}, 'gib': -1}]}))
        with self.assertRaises(plan.PlanError) as refused:
            plan.Plan.load(self.path)
        self.assertIn('entry 1', str(refused.exception))
        self.assertIn('entry 2', str(refused.exception))

    @ddt.data(b'a: [', b'\xff\xfe\x00', b'!!python/object:os.system {}')
    def test_what_is_no_yaml_is_told_of(self, content):
        self.path.write_bytes(content)
        with self.assertRaisesRegex(plan.PlanError, 'cannot be read'):
            plan.Plan.load(self.path)

    @ddt.data(('a: 1\na: 2\n', 'line 2: a stands in line 1 already'),
              ('volumes:\n- gib: 1\n  gib: 2\n', 'line 3: gib stands in'))
    @ddt.unpack
    def test_what_stands_twice_is_told_of(self, text, words):
        self.path.write_text(text)
        with self.assertRaisesRegex(plan.PlanError, words):
            plan.Plan.load(self.path)

    def test_the_line_of_a_fault_is_told(self):
        self.path.write_text('plan: p1\nhost: h\nvolumes:\n\n# data2\n'
                             '- reference: {source-name: data2}\n  gib: x\n')
        with self.assertRaisesRegex(plan.PlanError,
                                    r'entry 1 \(line 6\) gib: '):
            plan.Plan.load(self.path)

    def test_single_entries_are_as_chosen(self):
        made = plan.Plan.of(
            Location('h'), [Manageable.of(ROW)], '{name}',
            {'data1': {'name': 'web', 'project': 'shop'}},
            project='all', volume_type='thick')
        entry, = made.volumes
        self.assertEqual(('web', 'shop', 'thick'),
                         (entry.name, entry.project, entry.volume_type))


@ddt.ddt
class RowsTest(InAFolder):

    def matched(self, text, *there):
        self.path.write_text(text)
        return rows.matched(rows.read(self.path), map(Manageable.of, there))

    @ddt.data('Name,Source ID\nwhatever,id-1\n', 'Name\ndata1\n',
              'Name,GiB,Source ID\ndata1,1,\n', '\ufeffname\n\ndata1\n',
              'Name,GiB,Bytes,Safe,Reasons,Kind,Tags,Source ID\n'
              'data1,1,4194304,True,,linear,"a,b",id-1\n')
    def test_a_csv_selects(self, text):
        (row, found), = self.matched(text, ROW, UNSAFE)
        self.assertEqual('data1', found.name)
        self.assertEqual({}, row.chosen)

    def test_a_csv_tells_what_the_volume_is_to_be(self):
        (row, _), = self.matched(
            'Name,Volume Name,Type,Project,Availability Zone,Bootable\n'
            'data1,web,thick,shop,,yes\n', ROW)
        self.assertEqual({'name': 'web', 'volume_type': 'thick',
                          'project': 'shop', 'bootable': True}, row.chosen)

    @ddt.data(('', 'neither a column Name'),
              ('Name\n', 'it has no row'),
              ('GiB\n1\n', 'neither a column Name'),
              ('Name,Volume Nmae\ndata1,x\n', "'Volume Nmae' is no column"),
              ('Name,Name\ndata1,data1\n', 'column Name is there twice'),
              ('Name,Type\ndata1\n', 'line 2: 1 cells, and 2 columns'),
              ('Name,Bootable\ndata1,on\n', "line 2: Bootable is 'on'"),
              ('Name\ndata1\ndata1\n', 'line 3: data1 is in line 2 already'),
              ('Name,Bytes\ndata1,5\n', 'has 4194304 Bytes now, and 5'),
              ('Name,GiB\ndata1,2\n', 'has 1 GiB now, and 2'),
              ('Name,Type\n,thick\n', 'there is no None'),
              ('Name\nx\ny\n', "line 2: there is no 'x'.*\n.*line 3"),
              ('Name\n"x', 'cannot be read'))
    @ddt.unpack
    def test_a_csv_that_is_wrong_is_told_of(self, text, words):
        with self.assertRaisesRegex(plan.PlanError, words):
            self.matched(text, ROW)

    @ddt.data(('reference', ['a', 'b', 'c']), ('size:desc', ['c', 'b', 'a']),
              ('size', ['a', 'b', 'c']),
              ('safe,reference:desc', ['c', 'b', 'a']),
              ('kind', ['a', 'b', 'c']))
    @ddt.unpack
    def test_rows_are_sorted(self, sort, names):
        there = [Manageable.of(ROW | {
            'reference': {'source-name': name}, 'safe_to_manage': name == 'a',
            'extra_info': {'size_bytes': size}})
            for name, size in (('b', '2'), ('c', '3'), ('a', '1'))]
        self.assertEqual(names, [each.name for each in
                                 rows.in_order(there, sort)])

    @ddt.data('name', 'size:up', '', 'size,')
    def test_another_order_is_told_of(self, sort):
        with self.assertRaisesRegex(plan.PlanError, 'the keys are reference'):
            rows.in_order([], sort)


class ReasonsTest(unittest.TestCase):

    def reasons(self, text, **info):
        return list(Manageable.of(UNSAFE | {
            'reason_not_safe': text, 'extra_info': info}).reasons)

    def test_each_reason_has_its_remedy(self):
        self.assertEqual(
            [('is open, mounted on /srv (sdb)', 'stop what uses it; or set x'),
             ('is read-only', 'lvchange --permission rw VG/LV'),
             ('is strange', '')],
            self.reasons('is open, mounted on /srv (sdb) (stop what uses it; '
                         'or set x); is read-only (lvchange --permission rw '
                         'VG/LV); is strange', source_id='i', layout='linear',
                         size_bytes='1', attr='-'))

    def test_what_other_drivers_say_is_left_as_it_is(self):
        self.assertEqual([('busy; (very)', '')], self.reasons('busy; (very)'))


@ddt.ddt
class JournalTest(InAFolder):

    def test_what_was_recorded_is_there_again(self):
        with journal.Journal(self.path, 'p1') as log:
            log.record('data1', journal.ASKED)
            log.record('data1', journal.MANAGING, volume='v1')
            log.record('data2', journal.ASKED)
        with journal.Journal(self.path) as log:
            self.assertEqual(journal.MANAGING, log.state('data1'))
            self.assertEqual('v1', log.volume('data1'))
            self.assertEqual(['data2'], log.sources(journal.ASKED))
            log.record('data1', journal.ADOPTED)
            self.assertEqual('v1', log.volume('data1'))

    def test_a_line_that_was_cut_off_does_not_count(self):
        with journal.Journal(self.path, 'p1') as log:
            log.record('data1', journal.ASKED)
        with self.path.open('a') as file:
            file.write('{"source": "data2", "sta')
        with journal.Journal(self.path, 'p1') as log:
            self.assertIsNone(log.state('data2'))
            log.record('data3', journal.ASKED)
        with journal.Journal(self.path, 'p1') as log:
            self.assertEqual(['data1', 'data3'], log.sources(journal.ASKED))

    @ddt.data('', '{"pl', '{"plan": "p1"}')
    def test_a_first_line_that_was_cut_off_is_written_anew(self, text):
        self.path.write_text(text)
        with journal.Journal(self.path, 'p1') as log:
            log.record('data1', journal.ASKED)
        self.assertEqual('{"plan": "p1"}',
                         self.path.read_text().splitlines()[0])

    def test_a_run_that_begins_nothing_leaves_no_journal(self):
        with journal.Journal(self.path, 'p1'):
            self.assertTrue(self.path.exists())
        self.assertFalse(self.path.exists())

    def test_one_run_at_a_time(self):
        with (journal.Journal(self.path, 'p1'),
              self.assertRaisesRegex(journal.JournalError, 'in use')):
            journal.Journal(self.path, 'p1').__enter__()

    def test_one_plan_has_one_journal(self):
        with journal.Journal(self.path, 'p1') as log:
            log.record('data1', journal.ASKED)
        with self.assertRaisesRegex(journal.JournalError, 'another plan, p1'):
            journal.Journal(self.path, 'p2').__enter__()

    @ddt.data('no JSON\n', 'no line', '{"plan": "p2"}',
              '{"source": "x"}\n{}\n', '[]\n[]\n')
    def test_another_file_is_no_journal(self, text):
        self.path.write_text(text)
        with self.assertRaisesRegex(journal.JournalError, 'is no journal'):
            journal.Journal(self.path, 'p1').__enter__()
        self.assertEqual(text, self.path.read_text())

    def test_an_undo_makes_no_journal(self):
        with self.assertRaisesRegex(journal.JournalError, 'cannot be opened'):
            journal.Journal(self.path).__enter__()
        self.assertFalse(self.path.exists())
