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

"""ManageTest: the base class of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

from tempest import config
from tempest import test
from tempest.common import waiters
from tempest.lib import exceptions
from tempest.lib.common import api_version_utils
from tempest.lib.common.utils import data_utils
from tempest.lib.common.utils import test_utils

CONF = config.CONF


class LV(NamedTuple):
    """A logical volume that Cinder does not manage.

    :ivar uuid: LVM's; it does not change when Cinder renames the LV
    :ivar size: in GiB
    """

    name: str
    uuid: str
    size: int

    @property
    def by_name(self) -> dict[str, str]:
        """The reference with its name."""
        return {'source-name': self.name}

    @property
    def by_uuid(self) -> dict[str, str]:
        """The reference with its UUID."""
        return {'source-id': self.uuid}


class ManageTest(api_version_utils.BaseMicroversionTest, test.BaseTestCase):
    """Creates LVs on one backend, as an administrator.

    :ivar host: the backend as host@backend#pool, once create_volume was called
    """

    credentials = ('primary', 'admin')
    # The first microversion that has manageable_volumes.
    min_microversion = '3.8'

    @classmethod
    def skip_checks(cls) -> None:
        """Skip unless Cinder is available and manage_volume is enabled."""
        super().skip_checks()
        if CONF.lvm_manage.backend_cluster:
            # The first microversion that lists by cluster.
            cls.min_microversion = '3.17'
        if not CONF.service_available.cinder:
            raise cls.skipException('Cinder is not available')
        if not CONF.volume_feature_enabled.manage_volume:
            raise cls.skipException('manage_volume is not enabled')
        api_version_utils.check_skip_with_microversion(
            cls.min_microversion, cls.max_microversion,
            CONF.volume.min_microversion, CONF.volume.max_microversion)

    @classmethod
    def setup_credentials(cls) -> None:
        """Create no network: no test needs one."""
        cls.set_network_resources()
        super().setup_credentials()

    @classmethod
    def setup_clients(cls) -> None:
        """Set up the administrator's clients."""
        super().setup_clients()
        cls.volumes = cls.os_admin.volumes_client_latest
        cls.snapshots = cls.os_admin.snapshots_client_latest
        cls.types = cls.os_admin.volume_types_client_latest
        cls.manageable = cls.os_admin.lvm_manage.ManageableClient()

    @classmethod
    def resource_setup(cls) -> None:
        """Find the backend, and a volume type for it."""
        super().resource_setup()
        cls.setup_api_microversion_fixture(
            volume_microversion=api_version_utils.select_request_microversion(
                cls.min_microversion, CONF.volume.min_microversion))
        cls._lift_quota()
        cls.volume_type = CONF.lvm_manage.volume_type or cls.create_type(
            volume_backend_name=cls._backend_name())

    @classmethod
    def _lift_quota(cls) -> None:
        """Remove the quota of a project that Tempest created.

        Cinder counts a refused volume against the quota, even after it is
        deleted. Credentials that Tempest did not create need enough quota.
        """
        if CONF.auth.use_dynamic_credentials:
            quotas = cls.os_admin.volume_quotas_client_latest
            project = cls.os_admin.credentials.project_id
            cls.addClassResourceCleanup(quotas.delete_quota_set, project)
            quotas.update_quota_set(project, volumes=-1, snapshots=-1,
                                    gigabytes=-1)

    @classmethod
    def _backend_name(cls) -> str:
        # The scheduler's pools are those of a cluster, where there is one.
        wanted = (CONF.lvm_manage.backend_cluster
                  or CONF.lvm_manage.backend_host or cls._any_backend())
        stats = cls.os_admin.volume_scheduler_stats_client_latest
        for pool in stats.list_pools(detail=True)['pools']:
            if pool['name'].partition('#')[0] == wanted.partition('#')[0]:
                return str(pool['capabilities']['volume_backend_name'])
        raise exceptions.InvalidConfiguration(
            f'{wanted} has reported no pool to the scheduler')

    @classmethod
    def _any_backend(cls) -> str:
        services = cls.os_admin.volume_services_client_latest
        for service in services.list_services(
                binary='cinder-volume')['services']:
            if (service['state'], service['status']) == ('up', 'enabled'):
                return str(service.get('cluster') or service['host'])
        raise exceptions.InvalidConfiguration(
            'No cinder-volume service is enabled and up')

    @classmethod
    def create_type(cls, **extra_specs: str) -> str:
        """Create a volume type, and return its name."""
        created = cls.types.create_volume_type(
            name=data_utils.rand_name('lvm-manage'),
            extra_specs={key.replace('__', ':'): value
                         for key, value in extra_specs.items()})
        cls.addClassResourceCleanup(cls.types.delete_volume_type,
                                    created['volume_type']['id'])
        return str(created['volume_type']['name'])

    @classmethod
    def create_volume(cls, size: int = 1) -> dict[str, Any]:
        """Create a volume on the backend."""
        volume_id = cls.volumes.create_volume(
            size=size, volume_type=cls.volume_type,
            name=data_utils.rand_name('lvm-manage'))['volume']['id']
        cls.addClassResourceCleanup(cls.delete_volume, volume_id)
        waiters.wait_for_volume_resource_status(cls.volumes, volume_id,
                                                'available')
        volume: dict[str, Any] = cls.volumes.show_volume(volume_id)['volume']
        cls.host = volume['os-vol-host-attr:host']
        wanted = CONF.lvm_manage.backend_host
        if wanted and cls.host.partition('#')[0] != wanted.partition('#')[0]:
            raise exceptions.InvalidConfiguration(
                f'A volume of type {cls.volume_type} was created on '
                f'{cls.host}, not on backend_host {wanted}. Set volume_type '
                'to a type of that backend.')
        return volume

    @classmethod
    def backend(cls) -> dict[str, str]:
        """Return the backend's host or cluster, for a request."""
        cluster = CONF.lvm_manage.backend_cluster
        return {'cluster': cluster} if cluster else {'host': cls.host}

    @classmethod
    def no_backend(cls) -> dict[str, str]:
        """Return a host or cluster that does not exist, for a request."""
        return {key: data_utils.rand_name('no-such') + '@lvm#lvm'
                for key in cls.backend()}

    @staticmethod
    def place(host: str) -> str:
        """Return the part of a host that all volumes of the backend share.

        In a cluster, that is backend#pool: the volume has the name of the host
        that has created or managed it. Otherwise it is host@backend#pool.
        """
        return (host.partition('@')[2] if CONF.lvm_manage.backend_cluster
                else host)

    @classmethod
    def delete_volume(cls, volume_id: str) -> None:
        """Delete a volume, unless it is gone, and wait."""
        test_utils.call_and_ignore_notfound_exc(cls.volumes.delete_volume,
                                                volume_id)
        cls.volumes.wait_for_resource_deletion(volume_id)

    @classmethod
    def create_lv(cls, size: int = 1) -> LV:
        """Create an LV that Cinder does not manage, and remove it later."""
        volume = cls.create_volume(size)
        lv = cls.lv_of(volume)
        cls.addClassResourceCleanup(cls._remove, lv)
        cls.unmanage(volume['id'])
        return lv

    @classmethod
    def lv_of(cls, volume: dict[str, Any]) -> LV:
        """Return the LV of a volume."""
        entry = next(entry for entry in cls.entries()
                     if entry['cinder_id'] == volume['id'])
        return LV(entry['reference']['source-name'],
                  entry['extra_info']['source_id'], volume['size'])

    @classmethod
    def entries(cls, detail: bool = True,
                **query: Any) -> Iterator[dict[str, Any]]:
        """Return all of the backend's manageable volumes, of all pages."""
        marker: dict[str, Any] = {}
        while page := cls.manageable.list_volumes(
                detail, **cls.backend(), **query, **marker
                )['manageable-volumes']:
            yield from page
            marker = {'marker': page[-1]['reference']}

    @classmethod
    def entry(cls, lv: LV) -> dict[str, Any]:
        """Return the current list entry of an LV, whatever its name is."""
        return next(entry for entry in cls.entries()
                    if entry['extra_info']['source_id'] == lv.uuid)

    @classmethod
    def manage(cls, ref: Any, **fields: Any) -> dict[str, Any]:
        """Manage an LV, and return the volume once it is available.

        The volume is deleted later.
        """
        volume_id = cls._request_to_manage(ref, fields)
        waiters.wait_for_volume_resource_status(cls.manageable, volume_id,
                                                'available')
        volume: dict[str, Any] = cls.volumes.show_volume(volume_id)['volume']
        return volume

    @classmethod
    def _request_to_manage(cls, ref: Any, fields: dict[str, Any]) -> str:
        fields = {**cls.backend(), 'volume_type': cls.volume_type, **fields}
        volume_id: str = cls.manageable.manage_volume(
            ref=ref, **fields)['volume']['id']
        cls.addClassResourceCleanup(cls.delete_volume, volume_id)
        return volume_id

    @classmethod
    def unmanage(cls, volume_id: str) -> None:
        """Unmanage a volume, and wait."""
        cls.volumes.unmanage_volume(volume_id)
        cls.volumes.wait_for_resource_deletion(volume_id)

    @classmethod
    def _remove(cls, lv: LV) -> None:
        found = [entry for entry in cls.entries()
                 if entry['extra_info']['source_id'] == lv.uuid]
        for entry in found:
            cls.delete_volume(entry['cinder_id']
                              or cls.manage(entry['reference'])['id'])

    @classmethod
    def manage_snapshot(cls, volume_id: str, ref: Any,
                        status: str = 'available',
                        **fields: Any) -> dict[str, Any]:
        """Manage a snapshot, and return it once it has this status."""
        snapshot_id = cls.manageable.manage_snapshot(
            volume_id=volume_id, ref=ref, **fields)['snapshot']['id']
        cls.addClassResourceCleanup(cls.delete_snapshot, snapshot_id)
        waiters.wait_for_volume_resource_status(cls.snapshots, snapshot_id,
                                                status)
        snapshot: dict[str, Any] = cls.snapshots.show_snapshot(
            snapshot_id)['snapshot']
        return snapshot

    @classmethod
    def delete_snapshot(cls, snapshot_id: str) -> None:
        """Delete a snapshot, unless it is gone, and wait."""
        test_utils.call_and_ignore_notfound_exc(cls.snapshots.delete_snapshot,
                                                snapshot_id)
        cls.snapshots.wait_for_resource_deletion(snapshot_id)

    def assert_snapshot_refused(self, volume_id: str, ref: Any) -> None:
        """Check that the API accepts the request and the driver does not."""
        snapshot = self.manage_snapshot(volume_id, ref, status='error')
        self.delete_snapshot(snapshot['id'])

    def assert_refused(self, ref: Any, **fields: Any) -> None:
        """Check that the API accepts the request and the driver does not.

        The reason is only in the log of cinder-volume.
        """
        volume_id = self._request_to_manage(ref, fields)
        waiters.wait_for_volume_resource_status(self.manageable, volume_id,
                                                'error')
        self.delete_volume(volume_id)

    def assert_untouched(self, lv: LV) -> None:
        """Check that the LV has its name and can be managed."""
        entry = self.entry(lv)
        self.assertEqual(lv.by_name, entry['reference'])
        self.assertTrue(entry['safe_to_manage'], entry['reason_not_safe'])
        self.assertIsNone(entry['cinder_id'])
