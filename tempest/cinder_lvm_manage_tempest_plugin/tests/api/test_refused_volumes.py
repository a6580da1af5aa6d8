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

"""Requests that are refused, and leave the LV unchanged."""

from tempest import config
from tempest.lib import decorators
from tempest.lib import exceptions
from tempest.lib.common.utils import data_utils

from cinder_lvm_manage_tempest_plugin.tests.api import base

CONF = config.CONF


class RefusedVolumesTest(base.ManageTest):
    """The driver refuses; deleting the volume in error harms no LV."""

    @classmethod
    def resource_setup(cls):
        """Create an LV, which every test must leave unchanged."""
        super().resource_setup()
        cls.lv = cls.create_lv()

    def tearDown(self):
        """Check that the LV and its name are unchanged."""
        self.assert_untouched(self.lv)
        super().tearDown()

    @decorators.idempotent_id('1b31c1c4-ccec-4cf8-90ca-e448e66433da')
    def test_a_name_that_no_lv_has(self):
        self.assert_refused(
            {'source-name': data_utils.rand_name('no-such-lv')})

    @decorators.idempotent_id('3834fe29-62ae-4989-b2d4-179b000779f8')
    def test_a_uuid_that_no_lv_has(self):
        self.assert_refused(
            {'source-id': 'aaaaaa-aaaa-aaaa-aaaa-aaaa-aaaa-aaaaaa'})

    @decorators.idempotent_id('e9ec603c-5bb3-43e0-a9e4-ed44dd519cbf')
    def test_a_reference_with_both_keys(self):
        self.assert_refused(self.lv.by_name | self.lv.by_uuid)

    @decorators.idempotent_id('8111910e-c46f-4330-a0d4-82fa60180c1e')
    def test_a_reference_without_a_known_key(self):
        for ref in ({}, {'name': self.lv.name},
                    {'source-name': self.lv.name, 'pool': 'pool'}):
            self.assert_refused(ref)

    @decorators.idempotent_id('6fb9dda9-b013-47f0-8085-2d87f46c6229')
    def test_a_reference_that_is_not_a_dictionary(self):
        self.assert_refused(self.lv.name)

    @decorators.idempotent_id('88760e01-2963-40cc-ae63-194fa3ea52aa')
    def test_a_name_that_lvm_allows_for_no_lv(self):
        for name in ('', '..', f'vg/{self.lv.name}', f'-{self.lv.name}',
                     f'{self.lv.name} ', self.lv.name.ljust(128, 'x')):
            self.assert_refused({'source-name': name})

    @decorators.idempotent_id('9a656189-103c-4db0-b6d4-18e6ec62d69d')
    def test_a_uuid_that_is_not_a_string(self):
        for value in (None, [self.lv.uuid]):
            self.assert_refused({'source-id': value})

    @decorators.idempotent_id('eba4ff62-701c-4321-987d-c1a2a9eec23f')
    def test_a_uuid_as_a_name_and_a_name_as_a_uuid(self):
        self.assert_refused({'source-name': self.lv.uuid})
        self.assert_refused({'source-id': self.lv.name})

    @decorators.idempotent_id('cf929424-e8b3-4992-9691-4d9fd336a69f')
    def test_the_lv_of_a_volume_by_its_uuid(self):
        volume = self.create_volume()
        lv = self.lv_of(volume)
        self.assert_refused(lv.by_uuid)
        self.assertEqual(lv, self.lv_of(volume))

    @decorators.idempotent_id('d49b4749-73d5-48bb-9eaf-934434ca1990')
    def test_the_old_name_of_an_lv_that_is_managed(self):
        lv = self.create_lv()
        volume = self.manage(lv.by_name)
        self.assert_refused(lv.by_name)
        self.assertEqual(lv.uuid, self.lv_of(volume).uuid)

    @decorators.idempotent_id('0554d545-89ef-4fbd-9ace-edf57c479229')
    def test_an_lv_that_does_not_have_the_provisioning_of_the_type(self):
        thin = 'thin' in self.entry(self.lv)['extra_info']['layout']
        other = self.create_type(
            provisioning__type='thick' if thin else 'thin')
        self.assert_refused(self.lv.by_name, volume_type=other)

    @decorators.idempotent_id('09d405be-8b47-4543-b1dc-0d7b659e42c2')
    def test_a_plain_lv_as_a_snapshot(self):
        volume = self.create_volume()
        for ref in (self.lv.by_name, self.lv.by_uuid):
            self.assert_snapshot_refused(volume['id'], ref)

    @decorators.idempotent_id('abedae0b-8a4e-491e-82f6-c22de3e1e3be')
    def test_a_snapshot_reference_that_names_no_lv(self):
        volume = self.create_volume()
        for ref in (None, {}, self.lv.name, {'source-name': 'no-such-lv'},
                    self.lv.by_name | self.lv.by_uuid):
            self.assert_snapshot_refused(volume['id'], ref)


class RefusedRequestsTest(base.ManageTest):
    """Cinder's API refuses; no volume is created."""

    @decorators.idempotent_id('7d8a3583-fc30-447b-a5c6-bb86201817bb')
    def test_the_lv_of_a_volume_by_its_name(self):
        lv = self.lv_of(self.create_volume())
        self.assertRaises(exceptions.BadRequest, self.manage, lv.by_name)

    @decorators.idempotent_id('84c8ff5b-b94a-453f-920b-5abdc2981840')
    def test_a_backend_that_does_not_exist(self):
        lv = self.create_lv()
        self.assertRaises((exceptions.BadRequest, exceptions.NotFound),
                          self.manage, lv.by_name, **self.no_backend())
        self.assert_untouched(lv)

    @decorators.idempotent_id('3d0d4b5e-5a2e-4a52-9f33-5c0f3a4c1b0e')
    def test_a_name_that_is_not_a_string(self):
        self.assertRaises(exceptions.BadRequest, self.manage,
                          {'source-name': None})

    @decorators.idempotent_id('4ae89a8f-2088-495d-a888-1533dddf2b3c')
    def test_unmanage_of_a_volume_that_does_not_exist(self):
        self.assertRaises(exceptions.NotFound, self.volumes.unmanage_volume,
                          data_utils.rand_uuid())
