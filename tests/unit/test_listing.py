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

import json
import unittest

import ddt
from oslo_utils import units

from cinder_lvm_manage import adoption
from cinder_lvm_manage import contents
from cinder_lvm_manage import errors
from cinder_lvm_manage import listing
from cinder_lvm_manage import verdict
from cinder_lvm_manage.block_device import User
from cinder_lvm_manage.claim import Owner
from cinder_lvm_manage.claim import Policy
from cinder_lvm_manage.claim import SnapshotClaim
from cinder_lvm_manage.claim import VolumeClaim
from cinder_lvm_manage.contents import Contents
from cinder_lvm_manage.contents import Finding
from cinder_lvm_manage.contents import Image
from cinder_lvm_manage.naming import CinderNames
from cinder_lvm_manage.rules import Kind
from cinder_lvm_manage.verdict import Reason
from cinder_lvm_manage.verdict import Verdict
from tests.unit.reports import inventory

ZOO = inventory('zoo')
NO_CLAIM = VolumeClaim()
SIZES = ['size-100g-4m', 'size-1g', 'size-1g-4m', 'size-1.5g', 'size-4m']


def page(marker=None, limit=None, offset=None, keys=('reference',),
         dirs=('asc',)):
    lvs = [ZOO.by_name[name] for name in SIZES]
    return [lv.name for lv in
            listing.page(lvs, marker, limit, offset, keys, dirs)]


@ddt.ddt
class PageTest(unittest.TestCase):

    @ddt.data(
        (('reference',), ('asc',),
         ['size-1.5g', 'size-100g-4m', 'size-1g', 'size-1g-4m', 'size-4m']),
        (('reference',), ('desc',),
         ['size-4m', 'size-1g-4m', 'size-1g', 'size-100g-4m', 'size-1.5g']),
        (('size',), ('asc',),
         ['size-1g', 'size-4m', 'size-1.5g', 'size-1g-4m', 'size-100g-4m']),
        (('size',), ('desc',),
         ['size-100g-4m', 'size-1.5g', 'size-1g-4m', 'size-1g', 'size-4m']),
        (('size', 'reference'), ('asc', 'desc'),
         ['size-4m', 'size-1g', 'size-1g-4m', 'size-1.5g', 'size-100g-4m']))
    @ddt.unpack
    def test_the_order_is_by_these_keys_and_stable(self, keys, dirs, names):
        self.assertEqual(names, page(keys=keys, dirs=dirs))

    @ddt.data((None, None, 0, 5), (2, None, 0, 2), (2, 1, 1, 3),
              (None, 3, 3, 5), (10, 4, 4, 5), (10, 10, 5, 5), (0, 0, 0, 0))
    @ddt.unpack
    def test_offset_and_limit_cut_a_page(self, limit, offset, first, last):
        self.assertEqual(page()[first:last], page(limit=limit, offset=offset))

    @ddt.data(
        {'source-name': 'size-100g-4m'},
        json.dumps({'source-name': 'size-100g-4m'}),
        {'source-id': ZOO.by_name['size-100g-4m'].uuid},
        json.dumps({'source-id': ZOO.by_name['size-100g-4m'].uuid}))
    def test_a_page_starts_after_its_marker(self, marker):
        self.assertEqual(['size-1g', 'size-1g-4m'], page(marker, limit=2))
        self.assertEqual(['size-1g-4m', 'size-4m'], page(marker, offset=1))

    def test_pages_by_marker_show_every_lv_once(self):
        shown, marker = [], None
        while names := page(marker, limit=2, keys=('size',), dirs=('desc',)):
            shown += names
            marker = {'source-name': names[-1]}
        self.assertEqual(page(keys=('size',), dirs=('desc',)), shown)

    @ddt.data('size-1g', '{', '[]', '7', '"size-1g"', '{}', '[' * 100000,
              {}, [], 0, '{"source-name": 7}', {'source-name': 'a/b'},
              {'source-name': 'x' * 5000}, ['size-1g'], 7)
    def test_a_marker_that_is_no_reference_is_told_so(self, marker):
        with self.assertRaisesRegex(errors.InvalidPage, 'marker .* is not a '
                                                        'reference') as told:
            page(marker)
        self.assertLess(len(str(told.exception)), 400)

    @ddt.data('thin', 'nope')
    def test_a_marker_outside_the_listing_is_told_so(self, name):
        with self.assertRaisesRegex(errors.InvalidPage,
                                    f'marker source-name {name} is not in'):
            page({'source-name': name})

    @ddt.data((('name',), ('asc',)), (('size',), ('up',)), (('size',), ()),
              ((), ('asc',)))
    @ddt.unpack
    def test_an_order_that_is_none_is_told_so(self, keys, dirs):
        with self.assertRaisesRegex(errors.InvalidPage, 'cannot sort by'):
            page(keys=keys, dirs=dirs)


OWNER = Owner('some-id', 'volume', '', 'available')


@ddt.ddt
class EntryTest(unittest.TestCase):

    def entry(self, name, claim=NO_CLAIM, contents=contents.NOT_READ):
        return listing.entry(ZOO.by_name[name], ZOO, claim, Verdict(()),
                             contents=contents)

    def test_extra_info_is_a_dict_of_strings(self):
        for name in ('tagged', 'thin', 'cached', 'scratch-pool'):
            for value in self.entry(name)['extra_info'].values():
                self.assertIsInstance(value, str)

    def test_extra_info_names_the_driver(self):
        self.assertEqual('cinder_lvm_manage',
                         self.entry('thin')['extra_info']['driver'])

    def test_reasons_are_data(self):
        verdict = Verdict((
            Reason('in-use', Kind.UNSAFE, 'is open, mounted on /a; (b',
                   '`umount "/a; (b"`'),
            Reason('vdo', Kind.TYPE_MISMATCH, 'is VDO', 'copy it')))
        entry = listing.entry(ZOO.by_name['thin'], ZOO, NO_CLAIM, verdict)
        self.assertEqual(
            [{'code': 'in-use', 'kind': 'unsafe',
              'why': 'is open, mounted on /a; (b',
              'remedy': '`umount "/a; (b"`'},
             {'code': 'vdo', 'kind': 'type-mismatch', 'why': 'is VDO',
              'remedy': 'copy it'}],
            json.loads(entry['extra_info']['reasons']))

    def test_a_safe_lv_has_no_reasons(self):
        self.assertEqual('[]', self.entry('thin')['extra_info']['reasons'])

    def test_a_reference_can_be_given_back(self):
        self.assertEqual({'source-name': 'thin'},
                         self.entry('thin')['reference'])

    def test_exact_bytes_stand_beside_the_gib(self):
        entry = self.entry('size-1g-4m')
        self.assertEqual(2, entry['size'])
        self.assertEqual('1077936128', entry['extra_info']['size_bytes'])

    def test_the_size_that_it_would_get_is_told(self):
        lv = ZOO.by_name['size-4m']
        entry = listing.entry(lv, ZOO, NO_CLAIM, Verdict((), units.Gi))
        self.assertEqual('1073741824',
                         entry['extra_info']['size_bytes_managed'])
        self.assertNotIn('size_bytes_managed',
                         self.entry('size-4m')['extra_info'])

    def test_the_users_of_an_open_lv_are_told(self):
        lv = ZOO.by_name['size-1g']
        entry = listing.entry(lv, ZOO, NO_CLAIM, Verdict(()), (
            User('here', '`umount /here`'), User('there', '')))
        self.assertEqual('here, there', entry['extra_info']['users'])
        self.assertNotIn('users', self.entry('size-1g')['extra_info'])

    def test_boot_partitions_are_listed_where_there_are_any(self):
        info = self.entry('size-1g', contents=Contents(
            boot_partitions=('bios', 'efi')))['extra_info']
        self.assertEqual('bios,efi', info['boot_partitions'])
        self.assertNotIn('boot_partitions',
                         self.entry('size-1g')['extra_info'])

    def test_whom_cinder_named_an_lv_for_is_listed(self):
        row = listing.entry(ZOO.by_name['size-1g'], ZOO, NO_CLAIM, Verdict(()),
                            named_for='some-id')
        self.assertEqual('some-id', row['extra_info']['named_for'])
        self.assertNotIn('named_for', self.entry('size-1g')['extra_info'])

    def test_a_pool_and_an_origin_are_told_where_there_are_any(self):
        info = self.entry('thin-snapshot')['extra_info']
        self.assertEqual(('scratch-pool', 'thin'),
                         (info['pool'], info['origin']))
        self.assertFalse({'pool', 'origin'}
                         & self.entry('size-1g')['extra_info'].keys())

    def test_a_thin_lv_shows_what_it_shares_blocks_with(self):
        self.assertEqual(
            'thin,thin-snapshot-of-snapshot',
            self.entry('thin-snapshot')['extra_info']['shares_blocks_with'])
        for name in ('thick-snapshot', 'origin', 'thin-on-external-origin'):
            self.assertNotIn('shares_blocks_with',
                             self.entry(name)['extra_info'])

    def test_an_adopted_lv_shows_what_its_tags_record(self):
        lv = ZOO.by_name['size-1g']
        for tags, shown in (
                (adoption.Journal('some-id', 'data1').tags,
                 {'adopter': 'some-id', 'former_name': 'data1'}),
                ({'cinder_lvm_manage:id=some-id'}, {}), (set(), {})):
            info = listing.entry(lv._replace(tags=tuple(tags)), ZOO, NO_CLAIM,
                                 Verdict(()))['extra_info']
            self.assertEqual(shown, {
                key: text for key, text in info.items()
                if key in ('adopter', 'former_name')})

    @ddt.data(
        (Contents((Finding('swap area'),)), 'swap area', 'raw'),
        (Contents(images=(Image('qcow2'), Image('vdi'))),
         'qcow2 image; vdi image', 'qcow2,vdi'),
        (Contents(images=(Image('qed'),), note='not read: I/O error'),
         'qed image; not read: I/O error', 'qed'),
        (Contents((Finding('swap area'),), note='not read: I/O error'),
         'swap area; not read: I/O error', None),
        (contents.NOT_READ, 'not read: lvm_manage_read_contents is off',
         None))
    @ddt.unpack
    def test_contents_are_described_and_their_format_is_data(
            self, found, text, image_format):
        info = self.entry('size-1g', contents=found)['extra_info']
        self.assertEqual(text, info['contents'])
        self.assertEqual(image_format, info.get('image_format'))
        self.assertTrue(all(isinstance(value, str)
                            for value in info.values()))

    @ddt.data((NO_CLAIM, 'Proxmox VE, guest 100'), (VolumeClaim(OWNER), None))
    @ddt.unpack
    def test_the_owner_is_the_system_that_created_an_lv_not_in_cinder(
            self, claim, owner):
        lv = ZOO.by_name['size-1g']._replace(name='vm-100-disk-0')
        entry = listing.entry(lv, ZOO, claim, verdict.judge(
            lv, ZOO, claim, Policy(CinderNames('volume-%s', 'snapshot-%s'))))
        self.assertEqual(owner, entry['extra_info'].get('owner'))

    def test_a_snapshot_tells_its_origin_and_whose_that_is(self):
        entry = self.entry('thick-snapshot',
                           SnapshotClaim(origin_owner=OWNER))
        self.assertEqual({'source-name': 'origin'},
                         entry['source_reference'])
        self.assertEqual(('thick', 'some-id'),
                         (entry['extra_info']['kind'],
                          entry['extra_info']['origin_volume_id']))
