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

import dataclasses
import os
import subprocess
import sys
from typing import Any
import unittest

import ddt
import yaml

from osc_volume_adopt import plan
from osc_volume_adopt.errors import InputError
from osc_volume_adopt.manageable import Location
from osc_volume_adopt.tests.unit import fakes
from osc_volume_adopt.volume_options import ImageProperty
from osc_volume_adopt.volume_options import VolumeOptions

ON = {'host': 'a@b#c'}
DATA1: dict[str, Any] = {
    **ON, 'reference': {'source-name': 'data1'}, 'gib': 1,
    'source_id': 'id-1'}
DATA2: dict[str, Any] = {
    **ON, 'reference': {'source-name': 'data2'}, 'gib': 2}
PLAN: dict[str, Any] = {'plan': 'p1', 'volumes': [{'lv': DATA1},
                                                  {'lv': DATA2}]}


def plan_of(*lvs, **fields):
    """A plan for these LVs, whose volumes have these fields."""
    return PLAN | {'volumes': [{'lv': lv, 'volume': fields} for lv in lvs]}


def changed(**fields):
    return plan_of(DATA1 | fields)


def planned(*lvs, overrides=None, **options):
    return plan.Plan.of(lvs, VolumeOptions(**options), overrides or {})


def named(name, **fields):
    return dataclasses.replace(fakes.named(name), **fields)


@ddt.ddt
class PlanTest(fakes.InAFolder):

    def test_safe_lvs_are_planned_and_the_others_left_out(self):
        made = planned(fakes.lv(), fakes.lv(fakes.UNSAFE),
                       name_template='{number}-{name}', volume_type='thick')
        self.assertEqual(
            [('pool', 'is a thin pool (manage the thin volumes in it)')],
            [(each.lv, each.why) for each in made.left_out])
        entry, = made.volumes
        self.assertEqual('1-data1', entry.name)
        self.assertEqual('thick', entry.volume_type)
        self.assertEqual(2 ** 30 - 2 ** 22, made.bytes_added)

    def test_a_saved_plan_is_loaded(self):
        made = planned(
            named('data1', location=Location(cluster='c')),
            fakes.lv(fakes.UNSAFE), metadata={'k': 'v'},
            image_properties=(ImageProperty('os_type', 'linux'),))
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
                                 made.volumes[0].managed_by)

    @ddt.data('{nam}', '{', '{0}', '{name.x.y}')
    def test_an_invalid_template_is_refused(self, template):
        with self.assertRaisesRegex(InputError, r'fields are \{name\}, '):
            planned(fakes.lv(), name_template=template)

    @ddt.data(
        (plan_of(DATA1, nme='x'),
         r"entry 1 \(line .\) volume: .*'nme' was unexpected"),
        (changed(nme='x'), r"entry 1 \(line .\) lv: .*'nme' was unexpected"),
        (plan_of(DATA1, bootable='yes'),
         "entry 1 .*bootable: 'yes' is not of type"),
        (changed(gib='1'), "entry 1 .*gib: '1' is not of type"),
        (changed(reference={}), 'entry 1 .*reference: '),
        (plan_of(DATA1, name='x' * 256), 'entry 1 .*name: .*is too long'),
        (plan_of(DATA1, metadata={'k': 1}),
         'entry 1 .*metadata.k: 1 is not of type'),
        (plan_of(DATA1, image_properties={'k': True}),
         'entry 1 .*image_properties.k: True is not of type'),
        (plan_of(DATA1, metadata={'k' * 256: 'x'}), "metadata: 'kkk.*match"),
        (plan_of(DATA1, metadata={1: 'x'}), 'metadata: 1 is not of type'),
        (plan_of(DATA1, image_properties={'hw_k\xe4se': 'x'}),
         "image_properties: 'hw_k\xe4se' does not match"),
        (plan_of(DATA2, DATA2), 'entry 2: data2 is already in entry 1'),
        (plan_of(DATA1, DATA2 | {'source_id': 'id-1'}),
         'entry 2: id-1 is already in entry 1'),
        (plan_of(DATA1, DATA1 | {'host': 'other', 'source_id': 'id-3'}),
         'entry 2: data1 is already in entry 1'),
        (plan_of(DATA1, metadata={'adopted_by_plan': 'x'}),
         'metadata.adopted_by_plan: this key is reserved'),
        (changed(key='x' * 254), 'too long for the volume.s property'),
        (changed(cluster='c'), 'entry 1 .* lv: '),
        (PLAN | {'hots': 'x'}, "the file: .*'hots' was unexpected"),
        ({'volumes': []}, "'plan' is a required property"),
        (PLAN | {'left_out': [{'lv': 'x'}]}, "'why' is a required property"),
        ([], "is not of type 'object'"), (None, "is not of type 'object'"),
        ('text', "is not of type 'object'"))
    @ddt.unpack
    def test_an_invalid_plan_is_refused(self, content, words):
        self.path.write_text(yaml.safe_dump(content))
        with self.assertRaisesRegex(InputError, words):
            plan.Plan.load(self.path)

    def test_all_faults_are_reported(self):
        self.path.write_text(yaml.safe_dump(PLAN | {'volumes': [
            {'lv': {'gib': 1}}, {'lv': DATA2 | {'gib': -1}}]}))
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
        self.path.write_text('plan: p1\nvolumes:\n\n# data2\n'
                             '- lv: {host: h, gib: x,\n'
                             '       reference: {source-name: data2}}\n')
        with self.assertRaisesRegex(InputError,
                                    r'entry 1 \(line 5\) lv.gib: '):
            plan.Plan.load(self.path)

    def test_single_entries_override_the_options(self):
        lv = fakes.lv()
        made = planned(
            lv, overrides={lv.identity: {
                'name': 'web', 'project': 'shop',
                'image_properties': {'hw_disk_bus': 'ide'}}},
            project='all', volume_type='thick', image_properties=(
                ImageProperty('hw_disk_bus', 'scsi'),
                ImageProperty('os_type', 'linux')))
        entry, = made.volumes
        self.assertEqual(('web', 'shop', 'thick'),
                         (entry.name, entry.project, entry.volume_type))
        self.assertEqual({'hw_disk_bus': 'ide', 'os_type': 'linux'},
                         entry.image_properties)

    def test_lvs_of_one_name_on_two_backends(self):
        other = Location(host='lab2@lvm#lvm')
        made = planned(named('data1'), named('data1', location=other),
                       named('data2', location=other))
        made.save(self.path)
        loaded = plan.Plan.load(self.path)
        self.assertEqual(['lab@lvm#lvm/data1', 'lab2@lvm#lvm/data1', 'data2'],
                         [entry.source for entry in loaded.volumes])
        self.assertEqual((fakes.HOST, other), loaded.locations)
        self.assertEqual('data1', loaded.volumes[1].lv_name)
        # The first is still found in the journal without the second.
        self.path.unlink()
        dataclasses.replace(made, volumes=made.volumes[:1]).save(self.path)
        self.assertEqual('lab@lvm#lvm/data1',
                         plan.Plan.load(self.path).volumes[0].source)


@ddt.ddt
class VolumeOptionsTest(unittest.TestCase):

    @ddt.data(('a=b', ('a', 'b', '*')), ('win-*:a=b', ('a', 'b', 'win-*')),
              ('a:b:c=d=e:f', ('c', 'd=e:f', 'a:b')))
    @ddt.unpack
    def test_an_image_property_is_read(self, text, fields):
        self.assertEqual(ImageProperty(*fields), ImageProperty.parse(text))

    @ddt.data('', 'a', '=b', 'a=', '*:=b', 'a:b')
    def test_text_that_is_no_image_property_is_refused(self, text):
        with self.assertRaises(ValueError):
            ImageProperty.parse(text)

    @ddt.data(
        ((), (), False, {}),
        (('efi',), (), True, {'hw_firmware_type': 'uefi'}),
        (('bios',), (), True, {}), (('bios', 'efi'), (), True, {}),
        ((), ('data?',), True, {}), ((), ('x*', 'data1'), True, {}),
        ((), ('x*',), False, {}))
    @ddt.unpack
    def test_contents_and_globs_make_a_volume_bootable(
            self, partitions, globs, bootable, properties):
        fields = VolumeOptions(bootable=globs).fields_of(
            named('data1', boot_partitions=partitions), 1)
        self.assertIs(bootable, fields['bootable'])
        self.assertEqual(properties, fields['image_properties'])

    def test_options_override_what_contents_show(self):
        options = VolumeOptions(image_properties=(
            ImageProperty('hw_firmware_type', 'bios', 'old-*'),
            ImageProperty('hw_firmware_type', 'bios', '*2')))
        for name, firmware in (('data1', 'uefi'), ('data2', 'bios'),
                               ('old-1', 'bios')):
            fields = options.fields_of(
                named(name, boot_partitions=('efi',)), 1)
            self.assertEqual({'hw_firmware_type': firmware},
                             fields['image_properties'])
