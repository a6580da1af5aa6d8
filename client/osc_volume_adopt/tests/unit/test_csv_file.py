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

"""CSV files for plan --csv, and the order and columns of a list."""

import dataclasses
import json

import ddt

from osc_volume_adopt import columns
from osc_volume_adopt import csv_file
from osc_volume_adopt.errors import InputError
from osc_volume_adopt.manageable import Location
from osc_volume_adopt.tests.unit import fakes


@ddt.ddt
class CsvFileTest(fakes.InAFolder):

    def matched(self, text, *rows):
        self.path.write_text(text)
        return csv_file.matched(csv_file.read(self.path),
                                map(fakes.lv, rows))

    @ddt.data('Name,Source ID\nwhatever,id-1\n', 'Name\ndata1\n',
              'Name,GiB,Source ID\ndata1,1,\n', '\ufeffname\n\ndata1\n',
              'Name,Size,GiB,Safe,Codes,Reasons,Layout,Tags,Source ID\n'
              'data1,4194304,1,True,[],,linear,"a,b",id-1\n',
              'Name;Tags\ndata1;"a,b;c"\n', 'Name\tGiB\ndata1\t1\n',
              '\ufeffName;GiB\r\ndata1;1\r\n')
    def test_it_selects_lvs(self, text):
        (row, found), = self.matched(text, fakes.SAFE, fakes.UNSAFE)
        self.assertEqual('data1', found.name)
        self.assertEqual({}, row.fields)

    def test_it_describes_the_volume(self):
        (row, _), = self.matched(
            'Name,Volume Name,Type,Project,Availability Zone,Bootable,'
            'Firmware,Disk Bus,OS Type,Image Properties\n'
            'data1,web,thick,shop,,yes,UEFI,scsi,,"a=b, c = d=e"\n',
            fakes.SAFE)
        self.assertEqual({'name': 'web', 'volume_type': 'thick',
                          'project': 'shop', 'bootable': True,
                          'image_properties': {
                              'hw_firmware_type': 'uefi', 'a': 'b',
                              'hw_disk_bus': 'scsi', 'c': 'd=e'}}, row.fields)

    def test_every_column_of_a_list_is_known(self):
        titles = [column.title for column in columns.COLUMNS]
        others = [*csv_file.VOLUME_COLUMNS]
        self.path.write_text(','.join([*titles, *others]) + '\n' + ','.join(
            ['yes'] * (len(titles) + len(others) - 1)) + ',a=b\n')
        row, = csv_file.read(self.path)
        self.assertEqual(set(titles), row.listed.keys())

    def test_an_lv_is_found_on_its_backend(self):
        other = dataclasses.replace(fakes.lv(), location=Location(
            host='other@lvm#lvm'))
        lvs = (fakes.named('data1'), dataclasses.replace(
            other, source_id='id-other'))
        self.path.write_text('Name,Backend\ndata1,other@lvm#lvm\n'
                             'data1,lab@lvm#lvm\n')
        found = csv_file.matched(csv_file.read(self.path), lvs)
        self.assertEqual(['other@lvm#lvm', 'lab@lvm#lvm'],
                         [lv.location.name for _, lv in found])
        self.path.write_text('Name\ndata1\n')
        with self.assertRaisesRegex(InputError, 'data1 is on several backen'):
            csv_file.matched(csv_file.read(self.path), lvs)

    @ddt.data(('', 'a column Name or Source ID is required'),
              ('Name\n', 'it has no rows'),
              ('GiB\n1\n', 'a column Name or Source ID is required'),
              ('Name,Volume Nmae\ndata1,x\n', "unknown column 'Volume Nmae'"),
              ('Name,Volume Type\ndata1,x\n', "unknown column 'Volume Type'"),
              ('Name,Name\ndata1,data1\n', 'duplicate column Name'),
              ('Name,Type\ndata1\n', 'line 2: 1 cells in a table of 2 col'),
              ('Name,Bootable\ndata1,on\n', "line 2: Bootable is 'on', but"),
              ('Name,Image Properties\ndata1,x\n',
               "line 2: Image Properties is 'x', but must be key=value"),
              ('Name,Backend\ndata1,x@y#z\n', 'data1 not found'),
              ('Name\ndata1\ndata1\n', 'line 3: data1 is already in line 2'),
              ('Name,Size\ndata1,5\n', ('Size of data1 is 5 in the file, but '
                                       '4194304 on the backend')),
              ('Name,GiB\ndata1,2\n', 'GiB of data1 is 2 in the file, but 1'),
              ('Name,Type\n,thick\n', 'neither Name nor Source ID is set'),
              ('Name\nx\ny\n', 'line 2: x not found on.*\n.*line 3'),
              ('Name\n"x', 'Cannot read'))
    @ddt.unpack
    def test_an_invalid_file_is_refused(self, text, words):
        with self.assertRaisesRegex(InputError, words):
            self.matched(text, fakes.SAFE)

    @ddt.data(('name', ['a', 'b', 'c']), ('size:desc', ['c', 'b', 'a']),
              ('size', ['a', 'b', 'c']), ('gib', ['a', 'b', 'c']),
              ('safe,name:desc', ['c', 'b', 'a']),
              ('codes:desc', ['c', 'b', 'a']),
              ('layout', ['a', 'b', 'c']), ('cinder-id', ['a', 'b', 'c']),
              ('backend:desc', ['a', 'b', 'c']))
    @ddt.unpack
    def test_lvs_are_sorted(self, sort, names):
        lvs = [fakes.named(
            name, fakes.SAFE | {'safe_to_manage': name == 'a'},
            size_bytes=size, reasons=json.dumps(
                [fakes.THIN_POOL | {'code': name}]))
            for name, size in (('b', '2'), ('c', '3'), ('a', '1'))]
        self.assertEqual(names, [each.name for each in
                                 columns.in_order(lvs, sort)])

    @ddt.data('nme', 'size:up', '', 'size,')
    def test_an_unknown_order_is_refused(self, sort):
        with self.assertRaisesRegex(InputError, 'The keys are name, size,'):
            columns.in_order([], sort)
