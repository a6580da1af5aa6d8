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

"""Non-administrators can neither list nor manage."""

from tempest.common import waiters
from tempest.lib import decorators
from tempest.lib import exceptions

from cinder_lvm_manage_tempest_plugin.tests.api import base


class MembersTest(base.ManageTest):
    """A member cannot list, manage or unmanage."""

    @classmethod
    def setup_clients(cls):
        """Set up the member's clients too."""
        super().setup_clients()
        cls.member = cls.os_primary.lvm_manage.ManageableClient()
        cls.members_volumes = cls.os_primary.volumes_client_latest

    @classmethod
    def resource_setup(cls):
        """Create an LV that an administrator could manage."""
        super().resource_setup()
        cls.lv = cls.create_lv()

    def assert_forbidden(self, request, *args, **kwargs):
        self.assertRaises(exceptions.Forbidden, request, *args, **kwargs)

    @decorators.idempotent_id('0042771c-b0a7-42b5-9053-9443ec807bc5')
    def test_lists_nothing(self):
        for request in (self.member.list_volumes, self.member.list_snapshots):
            for detail in (False, True):
                self.assert_forbidden(request, detail, **self.backend())

    @decorators.idempotent_id('6783deb3-e412-4a64-a8e1-a3e9fefabf3d')
    def test_manages_no_volume(self):
        for ref in (self.lv.by_name, self.lv.by_uuid):
            self.assert_forbidden(self.member.manage_volume,
                                  **self.backend(), ref=ref)
        self.assert_untouched(self.lv)

    @decorators.idempotent_id('0649405b-3822-49ee-8d83-e7702b16a05e')
    def test_does_not_unmanage_a_volume_of_their_own_project(self):
        volume_id = self.members_volumes.create_volume(size=1)['volume']['id']
        self.addClassResourceCleanup(self.delete_volume, volume_id)
        waiters.wait_for_volume_resource_status(
            self.members_volumes, volume_id, 'available')
        self.assert_forbidden(self.members_volumes.unmanage_volume, volume_id)
        self.assert_forbidden(self.member.manage_snapshot,
                              volume_id=volume_id, ref=self.lv.by_name)
