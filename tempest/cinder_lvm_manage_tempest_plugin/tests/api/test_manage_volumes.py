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

"""LVs become volumes, and LVs again."""

from tempest.lib import decorators

from cinder_lvm_manage_tempest_plugin.tests.api import base


class ManageVolumesTest(base.ManageTest):
    """What Cinder records, and how the LV changes."""

    @decorators.idempotent_id('f2690e97-cc99-462e-afc1-04fda12c53ca')
    def test_an_lv_is_managed_by_its_name(self):
        lv = self.create_lv(size=2)
        volume = self.manage(lv.by_name, name='by name', description='an LV',
                             metadata={'origin': 'rack 7'})
        self.assertEqual(
            ('by name', 'an LV', 2, {'origin': 'rack 7'}, 'false',
             self.place(self.host)),
            (volume['name'], volume['description'], volume['size'],
             volume['metadata'], volume['bootable'],
             self.place(volume['os-vol-host-attr:host'])))
        self.assertEqual(lv.uuid, self.lv_of(volume).uuid)

    @decorators.idempotent_id('745481a7-df41-41ac-b59f-b7e928f41e28')
    def test_an_lv_is_managed_by_its_uuid(self):
        lv = self.create_lv()
        volume = self.manage(lv.by_uuid, bootable=True)
        self.assertEqual('true', volume['bootable'])
        self.assertEqual(lv.uuid, self.lv_of(volume).uuid)

    @decorators.idempotent_id('d502316a-d7b2-4e98-9fd4-1369f18f305b')
    def test_a_managed_lv_has_another_name(self):
        lv = self.create_lv()
        volume = self.manage(lv.by_name)
        name = self.lv_of(volume).name
        self.assertNotEqual(lv.name, name)
        self.assertIn(volume['id'], name)

    @decorators.idempotent_id('339a5b1e-156e-46d9-8e6c-317e04797da0')
    def test_unmanage_restores_the_old_name(self):
        lv = self.create_lv()
        self.unmanage(self.manage(lv.by_name)['id'])
        self.assert_untouched(lv)

    @decorators.idempotent_id('70e1f925-af5d-4f99-af86-cd44274d6f6b')
    def test_unmanage_restores_the_old_name_each_time(self):
        lv = self.create_lv()
        for ref in (lv.by_uuid, lv.by_name, lv.by_uuid):
            self.unmanage(self.manage(ref)['id'])
            self.assert_untouched(lv)

    @decorators.idempotent_id('0f33e14c-4518-4cad-96fb-45cf071793aa')
    def test_an_lv_that_cinder_made_keeps_its_name(self):
        # create_lv takes the name before the volume is unmanaged.
        self.assert_untouched(self.create_lv())

    @decorators.idempotent_id('81e63a4a-12d9-4dc0-95a8-4dd565683f35')
    def test_a_managed_volume_is_deleted_with_its_lv(self):
        lv = self.create_lv()
        self.delete_volume(self.manage(lv.by_name)['id'])
        self.assertNotIn(lv.uuid, [entry['extra_info']['source_id']
                                   for entry in self.entries()])

    @decorators.idempotent_id('9c9e67c3-b574-484e-8b0b-f113499d756d')
    def test_the_volume_belongs_to_the_project_of_the_request(self):
        volume = self.manage(self.create_lv().by_name)
        self.assertEqual(self.os_admin.credentials.project_id,
                         volume['os-vol-tenant-attr:tenant_id'])

    @decorators.idempotent_id('197a9285-d444-420b-9431-99dcdf89f361')
    def test_an_lv_in_the_list_is_managed_by_the_reference_listed(self):
        lv = self.create_lv()
        volume = self.manage(self.entry(lv)['reference'])
        self.assertEqual(lv.uuid, self.lv_of(volume).uuid)
