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

"""Plans: what is planned, written and read, and what is refused and why."""

import os
import subprocess
import sys
from typing import Any

import ddt
import yaml

from osc_volume_adopt import plan
from osc_volume_adopt.errors import InputError
from osc_volume_adopt.manageable import Location
from osc_volume_adopt.tests.unit import fakes

PLAN: dict[str, Any] = {'plan': 'p1', 'host': 'a@b#c', 'volumes': [
    {'reference': {'source-name': 'data1'}, 'gib': 1, 'source_id': 'id-1'},
    {'reference': {'source-name': 'data2'}, 'gib': 2}]}


def changed(**fields):
    return PLAN | {'volumes': [PLAN['volumes'][0] | fields]}


def planned(*lvs, location=fakes.HOST, template='{name}', overrides=None,
            **options):
    return plan.Plan.of(location, lvs, template,
                        plan.VolumeOptions(**options), overrides or {})


@ddt.ddt
class PlanTest(fakes.InAFolder):

    def test_safe_lvs_are_planned_and_the_others_left_out(self):
        made = planned(fakes.lv(), fakes.lv(fakes.UNSAFE),
                       template='{number}-{name}', volume_type='thick')
        self.assertEqual(
            (('pool', 'is a thin pool (manage the thin volumes in it)'),),
            made.left_out)
        entry, = made.volumes
        self.assertEqual('1-data1', entry.name)
        self.assertEqual('thick', entry.volume_type)
        self.assertEqual(2 ** 30 - 2 ** 22, made.bytes_added)

    def test_a_saved_plan_is_loaded(self):
        made = planned(fakes.lv(), location=Location(cluster='c'),
                       metadata={'k': 'v'})
        made.save(self.path)
        self.assertEqual(made, plan.Plan.load(self.path))

    def test_a_plan_file_does_not_depend_on_the_locale(self):
        made = planned(fakes.named('données'))
        made.save(self.path)
        copy = self.path.with_name('copy')
        script = ('import pathlib, sys\n'
                  'from osc_volume_adopt.plan import Plan\n'
                  'path, copy = map(pathlib.Path, sys.argv[1:])\n'
                  'Plan.load(path).save(copy)')
        subprocess.run(
            [sys.executable, '-c', script, self.path, copy],
            env=os.environ | {'LC_ALL': 'C', 'PYTHONCOERCECLOCALE': '0',
                              'PYTHONUTF8': '0'}, check=True)
        self.assertEqual(made, plan.Plan.load(copy))

    def test_an_existing_file_is_not_overwritten(self):
        self.path.write_text('precious')
        with self.assertRaisesRegex(InputError, 'already exists'):
            planned().save(self.path)
        self.assertEqual('precious', self.path.read_text())

    def test_only_cinder_lvm_manage_is_given_a_uuid(self):
        for row, reference in (
                (fakes.SAFE, {'source-id': 'id-1'}),
                # Others may report an ID, and not accept it.
                (fakes.SAFE | {'extra_info': fakes.SAFE['extra_info'] | {
                    'driver': 'other'}}, {'source-name': 'data1'}),
                (fakes.SAFE | {'extra_info': {
                    name: text for name, text
                    in fakes.SAFE['extra_info'].items()
                    if name != 'driver'}}, {'source-name': 'data1'}),
                (fakes.BARE, {'source-id': 'abc', 'type': 'lun'})):
            made = planned(fakes.lv(row))
            with self.subTest(reference=reference):
                self.assertEqual(reference,
                                 made.reference_of(made.volumes[0]))

    @ddt.data('{nam}', '{', '{0}', '{name.x.y}')
    def test_an_invalid_template_is_refused(self, template):
        with self.assertRaisesRegex(InputError, r'fields are \{name\}, '):
            list(plan.names([fakes.lv()], template))

    @ddt.data(
        (changed(nme='x'), r"entry 1 \(line .\): .*'nme' was unexpected"),
        (changed(bootable='yes'), "entry 1 .*bootable: 'yes' is not of type"),
        (changed(gib='1'), "entry 1 .*gib: '1' is not of type"),
        (changed(reference={}), 'entry 1 .*reference: '),
        (changed(name='x' * 256), 'entry 1 .*name: .*is too long'),
        (changed(metadata={'k': 1}), 'entry 1 .*metadata.k: 1 is not of type'),
        (PLAN | {'volumes': [PLAN['volumes'][1]] * 2},
         'entry 2: data2 is already in entry 1'),
        (PLAN | {'volumes': [PLAN['volumes'][0], PLAN['volumes'][1] | {
            'source_id': 'id-1'}]}, 'entry 2: id-1 is already in entry 1'),
        (changed(metadata={'adopted_by_plan': 'x'}),
         'metadata.adopted_by_plan: this key is reserved'),
        (PLAN | {'cluster': 'c'}, 'the file: '),
        (PLAN | {'hots': 'x'}, "the file: .*'hots' was unexpected"),
        ({key: PLAN[key] for key in ('host', 'volumes')},
         "'plan' is a required property"),
        ([], "is not of type 'object'"), (None, "is not of type 'object'"),
        ('text', "is not of type 'object'"))
    @ddt.unpack
    def test_an_invalid_plan_is_refused(self, content, words):
        self.path.write_text(yaml.safe_dump(content))
        with self.assertRaisesRegex(InputError, words):
            plan.Plan.load(self.path)

    def test_all_faults_are_reported(self):
        self.path.write_text(yaml.safe_dump(PLAN | {'volumes': [
            {'gib': 1}, {'reference': {'source-name': 'x'}, 'gib': -1}]}))
        with self.assertRaises(InputError) as refused:
            plan.Plan.load(self.path)
        self.assertIn('entry 1', str(refused.exception))
        self.assertIn('entry 2', str(refused.exception))

    @ddt.data(b'a: [', b'\xff\xfe\x00', b'!!python/object:os.system {}')
    def test_a_file_that_is_not_yaml_is_refused(self, content):
        self.path.write_bytes(content)
        with self.assertRaisesRegex(InputError, 'Cannot read'):
            plan.Plan.load(self.path)

    @ddt.data(('a: 1\na: 2\n', 'line 2: a is already set in line 1'),
              ('volumes:\n- gib: 1\n  gib: 2\n', 'line 3: gib is already'))
    @ddt.unpack
    def test_a_duplicate_key_is_refused(self, text, words):
        self.path.write_text(text)
        with self.assertRaisesRegex(InputError, words):
            plan.Plan.load(self.path)

    def test_the_line_of_a_fault_is_reported(self):
        self.path.write_text('plan: p1\nhost: h\nvolumes:\n\n# data2\n'
                             '- reference: {source-name: data2}\n  gib: x\n')
        with self.assertRaisesRegex(InputError,
                                    r'entry 1 \(line 6\) gib: '):
            plan.Plan.load(self.path)

    def test_single_entries_override_the_options(self):
        made = planned(
            fakes.lv(), overrides={'data1': {'name': 'web',
                                             'project': 'shop'}},
            project='all', volume_type='thick')
        entry, = made.volumes
        self.assertEqual(('web', 'shop', 'thick'),
                         (entry.name, entry.project, entry.volume_type))
