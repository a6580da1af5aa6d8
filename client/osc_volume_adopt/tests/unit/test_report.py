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

"""Status and report: what became of a plan, in every format."""

import dataclasses
import datetime
import fcntl
from html import parser
import json
import re

import ddt

from osc_volume_adopt import journal
from osc_volume_adopt import report
from osc_volume_adopt import status
from osc_volume_adopt.errors import JournalError
from osc_volume_adopt.journal import State
from osc_volume_adopt.manageable import Location
from osc_volume_adopt.plan import Plan
from osc_volume_adopt.status import Condition
from osc_volume_adopt.tests.unit import fakes
from osc_volume_adopt.volume_options import VolumeOptions

HOSTILE = '<script>alert("1")</script> | `rm` *b* [x](y) &amp; \\'
AT = datetime.datetime(2026, 11, 29, 12, 0, tzinfo=datetime.timezone.utc)


def plan(*names, **options):
    return Plan.of([*(fakes.named(name) for name in names or ('data1',)),
                    fakes.lv(fakes.UNSAFE)], VolumeOptions(**options))


def volume(id_='id-1', **fields):
    return {'id': id_, 'status': 'available', 'name': 'web', **fields}


@ddt.ddt
class StatusTest(fakes.InAFolder):

    def status(self, states, is_running=False, volumes=()):
        made = plan()
        with journal.RunJournal(self.path, made.id) as log:
            for state, more in states:
                log.record('data1', state, **more)
            found, = status.of(made, log, is_running, {
                each['id']: each for each in volumes})
        return found.condition, found.why

    @ddt.data(
        ([], False, [], (Condition.LEFT, '')),
        ([(State.REQUESTED, {})], True, [], (Condition.RUNNING, 'requested')),
        ([(State.REQUESTED, {})], False, [],
         (Condition.INTERRUPTED, 'requested')),
        ([(State.MANAGING, {'volume': 'id-1'})], True,
         [volume(status='creating')],
         (Condition.RUNNING, 'managing, volume id-1 has status creating')),
        ([(State.FAILED, {'why': 'refused'})], False, [],
         (Condition.FAILED, 'refused')),
        ([(State.ADOPTED, {'volume': 'id-1'})], False, [volume()],
         (Condition.DONE, '')),
        ([(State.ADOPTED, {'volume': 'id-1'})], False, [volume('id-2')],
         (Condition.FAILED, 'the volume no longer exists in Cinder')),
        ([(State.ADOPTED, {'volume': 'id-1'})], False,
         [volume(status='error_deleting')],
         (Condition.FAILED, 'the volume has status error_deleting')),
        ([(State.FAILED, {'why': 'refused'}),
          (State.ADOPTED, {'volume': 'id-1'})], False, [volume()],
         (Condition.DONE, '')),
        ([(State.UNMANAGED, {'volume': 'id-1'})], False, [],
         (Condition.UNDONE, '')))
    @ddt.unpack
    def test_each_condition(self, states, is_running, volumes, expected):
        self.assertEqual(expected, self.status(states, is_running, volumes))

    def test_a_journal_is_read_while_a_run_has_it(self):
        with journal.RunJournal(self.path, 'p1') as log:
            log.record('data1', State.REQUESTED)
            record, is_running = journal.peek(self.path, 'p1')
            self.assertIs(True, is_running)
            self.assertIs(State.REQUESTED, record.state('data1'))
            log.record('data1', State.FAILED, why='no')
            # The run goes on.
            with self.assertRaises(JournalError):
                journal.RunJournal(self.path, 'p1').__enter__()
        record, is_running = journal.peek(self.path, 'p1')
        self.assertIs(False, is_running)
        self.assertEqual('no', record.why('data1'))
        # Reading does not keep a run from starting.
        with self.path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_a_journal_that_is_missing_or_of_another_plan(self):
        record, is_running = journal.peek(self.path, 'p1')
        self.assertIsNone(record.state('data1'))
        self.assertIs(False, is_running)
        self.path.write_text('{"plan": "p2"}\n')
        with self.assertRaisesRegex(JournalError, 'of another plan, p2'):
            journal.peek(self.path, 'p1')


class Tables(parser.HTMLParser):
    """The cells of all tables of a page, by row; and all its elements."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.elements = [], []
        self._cell: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == 'tr':
            self.rows.append([])
        if tag in ('td', 'th'):
            self._cell = []

    def handle_endtag(self, tag):
        if tag in ('td', 'th'):
            self.rows[-1].append(''.join(self._cell))

    def handle_data(self, data):
        self._cell.append(data)


class ReportTest(fakes.InAFolder):

    def report(self, made, volumes=(), states=(), title='A report'):
        self.path.unlink(missing_ok=True)
        with journal.RunJournal(self.path, made.id) as log:
            for source, state, more in states:
                log.record(source, state, **more)
            return report.Report.of(
                title, made, status.of(made, log, False, {
                    each['id']: each for each in volumes}),
                lambda project: f'name of {project}', AT)

    def done(self, **fields):
        """One volume is done, one failed, one is left, and one left out."""
        return self.report(
            plan('data1', 'data2', 'data3', project='shop'),
            [volume(**{'volume_type': 'thick',
                       'os-vol-tenant-attr:tenant_id': 'p1', **fields})],
            [('data1', State.ADOPTED, {'volume': 'id-1'}),
             ('data2', State.FAILED, {'why': 'refused'})])

    def test_the_rows_of_a_page(self):
        rows = Tables(self.done().html()).rows
        self.assertIn(
            ['data1', 'webid-1', 'name of p1', 'thick', '1', '4,194,304',
             'ext4 file system', 'Proxmox VE, guest 101', 'done'], rows)
        self.assertIn(
            ['data2', 'data2', 'name of shop', 'default', '1', '4,194,304',
             'ext4 file system', 'Proxmox VE, guest 101', 'failed: refused'],
            rows)
        self.assertIn(
            ['pool', '1', '1,073,741,824', '', '',
             'is a thin pool (manage the thin volumes in it)'], rows)
        self.assertIn(['name of p1', '1', '1', '4,194,304'], rows)
        self.assertIn(['3 volumes', '3', '12,582,912', ''], rows)

    def test_the_rows_of_a_ticket(self):
        lines = self.done().markdown().splitlines()
        for line in (
                '# A report', '| planned | 3 | 3 | 12,582,912 |',
                '| done | 1 | 1 | 4,194,304 |',
                '| failed | 1 | 1 | 4,194,304 |',
                '| left | 1 | 1 | 4,194,304 |',
                '| not in the plan | 1 | 1 | 1,073,741,824 |',
                '| name of p1 | 1 | 1 | 4,194,304 |',
                ('| data1 | web (id-1) | name of p1 | thick | 1 | 4,194,304 | '
                 'ext4 file system | Proxmox VE, guest 101 | done |'),
                ('| data2 | data2 | name of shop | default | 1 | 4,194,304 | '
                 'ext4 file system | Proxmox VE, guest 101 | failed: refused '
                 '|')):
            self.assertIn(line, lines)
        # A table has as many cells in each line.
        for table in re.findall(r'(?:^\|.*\n)+', self.done().markdown(),
                                re.MULTILINE):
            self.assertEqual(1, len({
                len(re.findall(r'(?<!\\)\|', line))
                for line in table.splitlines()}))

    def test_a_page_needs_nothing_else_and_runs_nothing(self):
        page = Tables(self.done().html())
        names = {name for name, _ in page.elements}
        self.assertFalse(names & {'script', 'link', 'img', 'iframe', 'a'})
        self.assertFalse([
            attributes for _, attributes in page.elements if any(
                name in ('src', 'href') or name.startswith('on')
                for name in attributes)])
        self.assertNotRegex(self.done().html(), r'url\(|@import|https?:')
        # Print and dark screens have rules of their own.
        self.assertIn('@media print', self.done().html())
        self.assertIn('prefers-color-scheme: dark', self.done().html())

    def test_hostile_text_is_shown_as_it_is(self):
        lvs = [dataclasses.replace(
            lv, contents=HOSTILE, owner=HOSTILE,
            reference={'source-name': HOSTILE}) for lv in (
                fakes.lv(), fakes.lv(fakes.UNSAFE, reasons=json.dumps([
                    fakes.THIN_POOL | {'why': HOSTILE}])))]
        made = Plan.of(lvs, VolumeOptions())
        found = self.report(
            made, [volume(name=HOSTILE, volume_type=HOSTILE)],
            [(HOSTILE, State.ADOPTED, {'volume': 'id-1'})], title=HOSTILE)
        page = Tables(found.html())
        self.assertNotIn('script', {name for name, _ in page.elements})
        row = next(row for row in page.rows if row[-1] == 'done')
        self.assertEqual(
            [HOSTILE, HOSTILE + 'id-1', HOSTILE, HOSTILE, HOSTILE],
            [row[column] for column in (0, 1, 3, 6, 7)])
        ticket = found.markdown()
        self.assertNotIn('<script', re.sub(r'\\.', '', ticket))
        line = next(line for line in ticket.splitlines()
                    if line.endswith('| done |'))
        self.assertEqual(10, len(re.findall(r'(?<!\\)\|', re.sub(
            r'\\\\', '', line))))

    def test_a_terminal_obeys_no_name_in_a_ticket(self):
        ticket = self.report(
            Plan.of([fakes.lv()], VolumeOptions()),
            [volume(name='a\x1b[2J')],
            [('data1', State.ADOPTED, {'volume': 'id-1'})]).markdown()
        self.assertIn(r'| a\\x1b\[2J (id-1) |', ticket)

    def test_several_backends_are_named(self):
        other = Location(host='lab2@lvm#lvm')
        made = Plan.of([fakes.lv(), dataclasses.replace(
            fakes.lv(), location=other)], VolumeOptions())
        found = self.report(made)
        self.assertIn(r'data1 on lab2@lvm\#lvm', found.markdown())
        self.assertIn('data1lab2@lvm#lvm',
                      {row[0] for row in Tables(found.html()).rows})

    def test_a_plan_without_volumes(self):
        found = self.report(Plan('p1', ()))
        self.assertIn('| planned | 0 | 0 | 0 |', found.markdown())
        self.assertIn('<b>0</b>', found.html())
