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

"""Snapshots are listed, managed under their volume, and unmanaged."""

from tempest import config
from tempest.common import waiters
from tempest.lib import decorators
from tempest.lib import exceptions

from cinder_lvm_manage_tempest_plugin.tests.api import base

CONF = config.CONF


class SnapshotsTest(base.ManageTest):
    """A volume with two snapshots, the first of which is unmanaged.

    Every test leaves them as they were.
    """

    @classmethod
    def skip_checks(cls):
        """Skip unless snapshots and managing them are enabled."""
        super().skip_checks()
        for feature in ('snapshot', 'manage_snapshot'):
            if not CONF.volume_feature_enabled[feature]:
                raise cls.skipException(f'{feature} is not enabled')

    @classmethod
    def resource_setup(cls):
        """Create them."""
        super().resource_setup()
        cls.volume = cls.create_volume()
        cls.snapshot = cls.take_snapshot()
        cls.lv = cls.lv_of_snapshot(cls.snapshot)
        cls.unmanage_snapshot(cls.snapshot['id'])
        cls.addClassResourceCleanup(cls.remove_snapshot, cls.lv)
        cls.managed = cls.take_snapshot()

    @classmethod
    def take_snapshot(cls):
        """Have Cinder take a snapshot of the volume."""
        snapshot = cls.snapshots.create_snapshot(
            volume_id=cls.volume['id'])['snapshot']
        cls.addClassResourceCleanup(cls.delete_snapshot, snapshot['id'])
        waiters.wait_for_volume_resource_status(
            cls.snapshots, snapshot['id'], 'available')
        return snapshot

    @classmethod
    def unmanage_snapshot(cls, snapshot_id):
        """Unmanage a snapshot, and wait."""
        cls.snapshots.unmanage_snapshot(snapshot_id)
        cls.snapshots.wait_for_resource_deletion(snapshot_id)

    @classmethod
    def snapshot_entries(cls, detail=True, **query):
        """Return one page of the backend's manageable snapshots."""
        return cls.manageable.list_snapshots(
            detail, **cls.backend(), **query)['manageable-snapshots']

    @classmethod
    def lv_of_snapshot(cls, snapshot):
        """Return the LV of a snapshot."""
        entry = next(entry for entry in cls.snapshot_entries()
                     if entry['cinder_id'] == snapshot['id'])
        return base.LV(entry['reference']['source-name'],
                       entry['extra_info']['source_id'], entry['size'])

    @classmethod
    def snapshot_entry(cls, lv):
        """Return the current list entry of a snapshot's LV."""
        return next(entry for entry in cls.snapshot_entries()
                    if entry['extra_info']['source_id'] == lv.uuid)

    @classmethod
    def remove_snapshot(cls, lv):
        """Remove the LV, through Cinder."""
        entry = cls.snapshot_entry(lv)
        cls.delete_snapshot(entry['cinder_id'] or cls.manage_snapshot(
            cls.volume['id'], entry['reference'])['id'])

    def tearDown(self):
        """Check that the LV has its name and can be managed."""
        entry = self.snapshot_entry(self.lv)
        self.assertEqual((self.lv.by_name, True, None),
                         (entry['reference'], entry['safe_to_manage'],
                          entry['cinder_id']), entry['reason_not_safe'])
        super().tearDown()

    @decorators.idempotent_id('9f477298-849c-4d6a-88b9-7f22f72502f2')
    def test_the_summary_has_the_origin(self):
        self.assertIn(
            {'reference': self.lv.by_name, 'size': 1, 'safe_to_manage': True,
             'source_reference': self.lv_of(self.volume).by_name},
            self.snapshot_entries(detail=False))

    @decorators.idempotent_id('e8667248-bf3e-40ee-a696-ababddda5ecb')
    def test_a_snapshot_in_detail(self):
        entry = self.snapshot_entry(self.lv)
        self.assertEqual(str(1024 ** 3), entry['extra_info']['size_bytes'])
        self.assertEqual(self.lv_of(self.volume).by_name,
                         entry['source_reference'])

    @decorators.idempotent_id('88b6b7ed-61b0-4aa5-a728-8a084bda4476')
    def test_a_managed_snapshot_is_not_safe(self):
        entry = self.snapshot_entry(self.lv_of_snapshot(self.managed))
        self.assertEqual((False, self.managed['id']),
                         (entry['safe_to_manage'], entry['cinder_id']))
        self.assertIn('managed', entry['reason_not_safe'])

    @decorators.idempotent_id('3b34544b-581b-4c6f-ae6a-78d65877cee3')
    def test_order_and_pages(self):
        own = [self.lv.name, self.lv_of_snapshot(self.managed).name]
        for direction, reverse in (('asc', False), ('desc', True)):
            query = {'sort': f'reference:{direction}', 'detail': False}
            names = [entry['reference']['source-name']
                     for entry in self.snapshot_entries(**query)]
            self.assertEqual(sorted(names, reverse=reverse), names)
            first, second = sorted(own, reverse=reverse)
            after = [entry['reference']['source-name']
                     for entry in self.snapshot_entries(
                         marker={'source-name': first}, **query)]
            self.assertNotIn(first, after)
            self.assertIn(second, after)
        self.assertEqual(1, len(self.snapshot_entries(limit=1)))
        self.assertEqual(len(names) - 1,
                         len(self.snapshot_entries(offset=1)))
        self.assertRaises(exceptions.BadRequest, self.snapshot_entries,
                          marker={'source-name': 'no-such-lv'})

    @decorators.idempotent_id('974eefb3-56da-4d4c-af79-0a810a916044')
    def test_snapshots_are_not_listed_as_volumes(self):
        self.assertNotIn(self.lv.by_name,
                         [entry['reference'] for entry in self.entries()])

    @decorators.idempotent_id('e815ec1b-f516-4021-84ba-851b3924dec2')
    def test_manage_by_name_and_by_uuid_and_unmanage(self):
        for ref in (self.lv.by_name, self.lv.by_uuid):
            snapshot = self.manage_snapshot(
                self.volume['id'], ref, name='managed', metadata={'a': 'b'})
            self.assertEqual(
                (self.volume['id'], 1, 'managed', {'a': 'b'}),
                (snapshot['volume_id'], snapshot['size'], snapshot['name'],
                 snapshot['metadata']))
            lv = self.lv_of_snapshot(snapshot)
            self.assertEqual(self.lv.uuid, lv.uuid)
            self.assertIn(snapshot['id'], lv.name)
            self.unmanage_snapshot(snapshot['id'])
            self.assertEqual(
                self.lv.by_name, self.snapshot_entry(self.lv)['reference'])

    @decorators.idempotent_id('a8347213-a9b7-4ee4-8e22-0d6d98e902ea')
    def test_a_snapshot_of_another_volume_is_refused(self):
        other = self.create_volume()
        for ref in (self.lv.by_name, self.lv.by_uuid):
            self.assert_snapshot_refused(other['id'], ref)

    @decorators.idempotent_id('82edad23-932e-4bb9-982f-b2b60c9be8a0')
    def test_a_snapshot_that_is_managed_is_refused(self):
        lv = self.lv_of_snapshot(self.managed)
        for ref in (lv.by_name, lv.by_uuid):
            self.assert_snapshot_refused(self.volume['id'], ref)

    @decorators.idempotent_id('64ff0d9e-2d4c-4c65-966a-65f4105a4aed')
    def test_a_snapshot_is_refused_as_a_volume(self):
        for ref in (self.lv.by_name, self.lv.by_uuid):
            self.assert_refused(ref)

    @decorators.idempotent_id('329e791d-b77a-4074-81a1-7163ea20fd7f')
    def test_a_volume_with_snapshots_is_not_unmanaged(self):
        self.assertRaises(exceptions.BadRequest,
                          self.volumes.unmanage_volume, self.volume['id'])
