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

"""SharedGroupLVMDriver: AnySizeLVMDriver on a group that several hosts share.

LVM activates an LV of a shared group on one host at a time. An LV is active
while a method needs it, or while it is exported. In a cluster, a method is
performed on the host that has the LV active.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import functools
from typing import Any

from cinder import context
from cinder import exception
from cinder import objects
from oslo_concurrency import lockutils
from oslo_concurrency import processutils
from oslo_config import cfg
from oslo_log import log as logging

from cinder_lvm_manage import cinder_records
from cinder_lvm_manage import cluster
from cinder_lvm_manage import errors
from cinder_lvm_manage import exports
from cinder_lvm_manage import targets
from cinder_lvm_manage.any_size import AnySizeLVMDriver
from cinder_lvm_manage.cinder_errors import translated
from cinder_lvm_manage.cinder_errors import VolumeLocked
from cinder_lvm_manage.exclusive_activation import ExclusiveActivation
from cinder_lvm_manage.exclusive_activation import Held
from cinder_lvm_manage.exports import Export
from cinder_lvm_manage.logical_volume import LogicalVolume
from cinder_lvm_manage.peers import Peers
from cinder_lvm_manage.peers import routed

LOG = logging.getLogger(__name__)

CONF = cfg.CONF


class SharedGroupLVMDriver(AnySizeLVMDriver):
    """Cinder's LVM driver, which activates LVs of a shared group on demand.

    In a group that is not shared, it is AnySizeLVMDriver.
    """

    SUPPORTS_ACTIVE_ACTIVE = True

    # Whether LVs are active only on demand; check_for_setup_error decides it.
    # A thin pool is active on one host, and its volumes stay active there.
    _on_demand = False
    _peers: Peers | None = None
    # Names of the LVs that this host may have exported when it started.
    # ensure_export leaves others alone.
    _exported_at_start: frozenset[str] = frozenset()

    def check_for_setup_error(self) -> None:
        """Check that the group and the cluster, if any, fit together.

        :raises VolumeBackendAPIException: they do not
        """
        shared = self._is_shared()
        super().check_for_setup_error()
        # Only now, because lvm_type = auto is decided there.
        self._on_demand = shared and not self._is_thin
        if self.cluster_name:
            self._peers = Peers(self, self.host, self.cluster_name)
            self._take_stock(self._peers)

    def set_initialized(self) -> None:
        """Begin to serve requests of other services of the cluster.

        Cinder calls this after ensure_export for all volumes. An export that
        this host created earlier for a peer could be mistaken for its own.
        """
        if self._on_demand:
            self._ensure_other_exports()
        super().set_initialized()
        if self._peers:
            self._peers.listen()

    def _ensure_other_exports(self) -> None:
        """Ensure the exports of attached volumes that are not in-use.

        Cinder leaves them out. A volume with a server is reserved or attaching
        while another one is attached, or while the server is migrated, and is
        backing-up during a backup.
        """
        for volume in cinder_records.volumes_of(self.cluster_name, self.host):
            if (volume.status != 'in-use'
                    and cinder_records.is_attached(volume)):
                try:
                    self.ensure_export(context.get_admin_context(), volume)
                except (exception.CinderException,
                        processutils.ProcessExecutionError):
                    LOG.exception('Cannot export volume %(id)s again: servers '
                                  'that are attached to it cannot reach it '
                                  'until that is corrected and cinder-volume '
                                  'is restarted.', {'id': volume.id})

    @translated('start')
    def _is_shared(self) -> bool:
        """Return whether other hosts may use the group.

        :raises ClusterRefused: this backend cannot be in its cluster
        """
        inventory = self._volume_group.inventory()
        if self.cluster_name:
            settings = self.configuration
            cluster.check(inventory, self.host, settings.lvm_type,
                          CONF.coordination.backend_url,
                          settings.lvm_manage_local_coordinator)
        return inventory.shared

    @translated('find out what an earlier process has left')
    def _take_stock(self, peers: Peers) -> None:
        """Find the LVs that this host exports, and deactivate the others.

        A service that was killed may have left LVs active that it does not
        export. Other hosts could not use them. An LV that may be exported gets
        a tag, so that other hosts ask this one.
        """
        inventory = self._volume_group.inventory()
        here = Export(self.host)
        known = {self.host, *peers.members()}
        exported = set()
        for volume in cinder_records.volumes_of(self.cluster_name,
                                                self.host):
            lv = inventory.by_name.get(volume.name)
            export = Export.of(lv) if lv else None
            if lv is None:
                # ensure_export then fails, and reports that it is missing.
                exported.add(volume.name)
            elif not lv.activation.active:
                if export == here:
                    exported.add(lv.name)
                elif export and export.host not in known:
                    LOG.warning('Volume %(id)s was exported by %(host)s, '
                                'which is no service of cluster %(cluster)s. '
                                'If this host had that name, detach the '
                                'volume and attach it again.',
                                {'id': volume.id, 'host': export.host,
                                 'cluster': self.cluster_name})
            elif (cinder_records.may_be_connected(volume) if export == here
                  else lv.is_in_use or cinder_records.is_attached(volume)):
                exported.add(lv.name)
                self._record_export(lv)
            else:
                self._end_left_activation(volume)
        self._exported_at_start = frozenset(exported)

    def _end_left_activation(self, volume: objects.Volume) -> None:
        LOG.warning('LV %(lv)s was left active on this host by an operation '
                    'that was interrupted; it is deactivated, so that other '
                    'hosts can use it.', {'lv': volume.name})
        try:
            self._end_export(context.get_admin_context(), volume,
                             unless=lambda _volume: False)
        except (exception.CinderException,
                processutils.ProcessExecutionError):
            LOG.exception('Cannot deactivate LV %(lv)s: operations on its '
                          'volume have to be performed on this host until '
                          'that is corrected.', {'lv': volume.name})

    def has_active(self, lv_uuid: str) -> bool:
        """Return whether an LV is in this group, and active on this host."""
        lv = self._volume_group.inventory().by_uuid.get(lv_uuid)
        return lv is not None and lv.activation.active is True

    def perform_elsewhere(self, locked: VolumeLocked, method: str,
                          arguments: Mapping[str, Any]) -> Any:
        """Have the host that has an LV active perform a method; see routed.

        :raises VolumeBackendAPIException: no host performed it
        """
        vg_name = self.vg.vg_name
        lv = self._volume_group.inventory().by_name.get(locked.lv_name)
        what = f'LV {locked.lv_name} of volume group {vg_name}'
        if lv is None:
            why = f'{what} no longer exists'
        elif self._peers is None:
            why = (f'{what} is active on another host. Run `lvchange '
                   f'--activate n {vg_name}/{locked.lv_name}` on that host, '
                   'then retry')
        else:
            export = Export.of(lv)
            asked = self._peers.perform(
                lv.uuid, export.host if export else None, method, arguments)
            if asked.done:
                return asked.result
            if asked.silent:
                hosts = ' or '.join(asked.silent)
                why = (f'{what} is active on {hosts}, whose cinder-volume '
                       'does not answer. Servers keep their access to the '
                       'volume if that host is running: start cinder-volume '
                       'there, then retry. If the host has failed, retry when '
                       'its locks have expired, about 3 minutes after; then '
                       'detach the volume and attach it again')
            elif asked.failed:
                reasons = '; '.join(f'{host}: {reason}' for host, reason
                                    in asked.failed.items())
                why = (f'{what} is active on another host, and these '
                       'services could not say whether they have it. Correct '
                       f'that, then retry: {reasons}')
            else:
                why = (f'{what} is active on a host without a running '
                       f'cinder-volume of cluster {self.cluster_name}, or was '
                       'until now. Retry. If that does not help, run '
                       f'`lvchange --activate n {vg_name}/{locked.lv_name}` '
                       'on that host, or start its cinder-volume')
                if export:
                    why += f'. The tags of the LV name {export.host}'
        LOG.error('Failed to perform %(method)s: %(why)s',
                  {'method': method, 'why': why})
        raise exception.VolumeBackendAPIException(data=why) from locked

    @translated('create volume {volume[id]}')
    def create_volume(self, volume: objects.Volume) -> None:
        """Create an LV, inactive in a shared group."""
        with self._ended(volume['name']):
            super().create_volume(volume)

    @routed
    @translated('create volume {volume[id]} from snapshot {snapshot[id]}')
    def create_volume_from_snapshot(self, volume: objects.Volume,
                                    snapshot: objects.Snapshot) -> None:
        """Copy a snapshot on the host that can activate it."""
        with (self._held(self._escape_snapshot(snapshot['name'])),
              self._ended(volume['name'])):
            super().create_volume_from_snapshot(volume, snapshot)

    @routed
    @translated('clone volume {src_vref[id]} to {volume[id]}')
    def create_cloned_volume(self, volume: objects.Volume,
                             src_vref: objects.Volume) -> None:
        """Copy a volume on the host that can activate it."""
        with self._held(src_vref['name']), self._ended(volume['name']):
            super().create_cloned_volume(volume, src_vref)

    @routed
    @translated('delete volume {volume[id]}')
    def delete_volume(self, volume: objects.Volume) -> None:
        """Remove the LV on the host that can activate it."""
        with self._held(volume['name']):
            super().delete_volume(volume)

    @routed
    @translated('create snapshot {snapshot[id]}')
    def create_snapshot(self, snapshot: Any) -> None:
        """Create a snapshot on the host that can activate its origin."""
        with self._held(snapshot['volume_name']):
            super().create_snapshot(snapshot)

    @routed
    @translated('delete snapshot {snapshot[id]}')
    def delete_snapshot(self, snapshot: Any) -> None:
        """Remove a snapshot on the host that can activate its origin."""
        with self._held(self._escape_snapshot(snapshot['name'])):
            super().delete_snapshot(snapshot)

    @routed
    @translated('revert volume {volume[id]} to snapshot {snapshot[id]}')
    def revert_to_snapshot(self, context: context.RequestContext,
                           volume: objects.Volume,
                           snapshot: objects.Snapshot) -> None:
        """Merge a snapshot on the host that can activate its origin."""
        with self._held(volume['name']):
            super().revert_to_snapshot(context, volume, snapshot)

    @routed
    @translated('extend volume {volume[id]}')
    def extend_volume(self, volume: Any, new_size: int) -> None:
        """Extend the LV and its export on the host that has it active."""
        with self._held(volume['name']):
            super().extend_volume(volume, new_size)

    @routed
    @translated('copy an image to volume {volume[id]}')
    def copy_image_to_volume(self, context: context.RequestContext,
                             volume: objects.Volume, image_service: Any,
                             image_id: str, disable_sparse: bool = False
                             ) -> None:
        """Write an image to the LV on the host that can activate it."""
        with self._held(volume['name']):
            super().copy_image_to_volume(context, volume, image_service,
                                         image_id, disable_sparse)

    @routed
    @translated('copy volume {volume[id]} to an image')
    def copy_volume_to_image(self, context: context.RequestContext,
                             volume: objects.Volume, image_service: Any,
                             image_meta: dict[str, Any]) -> None:
        """Read the LV on the host that can activate it."""
        with self._held(volume['name']):
            super().copy_volume_to_image(context, volume, image_service,
                                         image_meta)

    @translated('migrate volume {volume[id]}')
    def migrate_volume(self, ctxt: context.RequestContext,
                       volume: objects.Volume, host: dict[str, Any],
                       *args: Any, **kwargs: Any
                       ) -> tuple[bool, dict[str, Any] | None]:
        """Copy the LV to another group of this host, except in a cluster.

        In a cluster, the request may go to a host that cannot activate the LV.
        So Cinder migrates the volume by attaching it.
        """
        if self.cluster_name:
            return False, None
        with self._held(volume['name']):
            return super().migrate_volume(ctxt, volume, host, *args, **kwargs)

    @routed
    @translated('export volume {volume[id]}')
    def create_export(self, context: context.RequestContext,
                      volume: objects.Volume, connector: dict[str, Any],
                      vg: str | None = None) -> dict[str, str]:
        """Export the LV here, unless another host exports it already."""
        with (self._export_locked(volume),
              self._held(volume['name']) as held):
            if held:
                self._disconnected.discard(volume['id'])
                self._record_export(held.lv)
                self._remove_stale_target(context, volume, held)
            update: dict[str, str] = super().create_export(
                context, volume, connector, vg)
            if held:
                held.keep()
            return update

    @routed
    def remove_export(self, context: context.RequestContext,
                      volume: objects.Volume) -> None:
        """Remove the export on the host that has it, and deactivate the LV."""
        if not self._on_demand:
            super().remove_export(context, volume)
            return
        self._end_export(context, volume, unless=self._has_another_attachment)

    @translated('remove the export of volume {volume[id]}')
    def _end_export(self, context: context.RequestContext,
                    volume: objects.Volume,
                    unless: Callable[[objects.Volume], bool]) -> None:
        """Remove the export and deactivate the LV.

        :param unless: returns whether the export is needed. An attachment may
            have begun meanwhile: Cinder records it before it asks for an
            export.
        """
        with (self._export_locked(volume),
              self._held(volume['name']) as held):
            if unless(volume):
                return
            if held is None or held.was_active:
                targets.remove(self.target_driver, context, volume)
            if held:
                held.end()
                if exports.tags_of(held.lv):
                    self._forget_export(held.lv.name)
            self._disconnected.discard(volume['id'])

    def _has_another_attachment(self, volume: objects.Volume) -> bool:
        """Return whether an attachment other than the one that ends remains.

        Cinder asks to remove an export although one remains, if that one began
        during the detach, or if the one that ends could not be connected.
        """
        if not cinder_records.needs_export_after_detach(volume):
            return False
        self._disconnected.add(volume['id'])
        return True

    def _end_unused_exports(self) -> None:
        """Remove the exports that Cinder has not had removed after a detach.

        Of two attachments that are deleted at once, neither is the last one
        for Cinder; one that never had a connector is deleted without the
        driver; and if an export cannot be removed, Cinder ignores that.
        """
        for volume in cinder_records.without_connection(self._disconnected):
            try:
                self._end_export(context.get_admin_context(), volume,
                                 unless=self._is_used)
            except VolumeLocked:
                # This host has lost it since.
                self._disconnected.discard(volume.id)
            except (exception.CinderException,
                    processutils.ProcessExecutionError):
                LOG.exception('Volume %(id)s is not attached any more, but '
                              'its export cannot be removed; it is tried '
                              'again in %(seconds)s seconds.',
                              {'id': volume.id, 'seconds':
                               CONF.backend_stats_polling_interval})

    def _is_used(self, volume: objects.Volume) -> bool:
        return (volume.id not in self._disconnected
                or not cinder_records.without_connection({volume.id}))

    @translated('export volume {volume[id]} again')
    def ensure_export(self, context: context.RequestContext,
                      volume: objects.Volume) -> dict[str, Any] | None:
        """Export the LV again, if this host exported it before it stopped.

        Cinder calls this on each host that starts, for all volumes in use of
        the cluster, and sets a volume to error if it fails.
        """
        if not self._on_demand:
            return super().ensure_export(context, volume)
        if (self.cluster_name
                and volume['name'] not in self._exported_at_start):
            return None
        here = Export(self.host)
        try:
            with (self._export_locked(volume),
                  self._held(volume['name']) as held):
                if held is None:
                    raise errors.VolumeGroupError(
                        f"LV {volume['name']} does not exist")
                if not held.was_active and Export.of(held.lv) != here:
                    return None
                self._record_export(held.lv)
                if (held.was_active
                        and targets.exists(self.target_driver, volume)):
                    update: dict[str, Any] | None = super().ensure_export(
                        context, volume)
                    return update
                self._remove_stale_target(context, volume, held)
                self._export_again(context, volume)
                held.keep()
                return None
        except errors.LockedElsewhere as exc:
            LOG.warning('LV %(lv)s is no longer exported by this host: '
                        '%(why)s', {'lv': volume['name'], 'why': exc})
            return None

    @routed
    @translated('connect volume {volume[id]}')
    def initialize_connection(self, volume: objects.Volume,
                              connector: dict[str, Any]) -> dict[str, Any]:
        """Give a connector access on the host that has the export."""
        with self._held(volume['name']) as held:
            if held and not held.was_active:
                raise errors.NotExported(
                    f'LV {held.lv.name} is not exported any more: the host '
                    'that exported it has failed. Delete the attachment, then '
                    'attach the volume again')
            connection: dict[str, Any] = super().initialize_connection(
                volume, connector)
            return connection

    @routed
    @translated('disconnect volume {volume[id]}')
    def terminate_connection(self, volume: objects.Volume,
                             connector: dict[str, Any], **kwargs: Any) -> bool:
        """Withdraw a connector's access on the host that has the export.

        If its host has failed, there is no export any more.
        """
        shared: bool
        if not self._on_demand:
            shared = super().terminate_connection(volume, connector, **kwargs)
            return shared
        with self._held(volume['name']) as held:
            if held and held.was_active:
                # Who else uses an export is known only if Cinder records it.
                if volume.volume_attachment:
                    self._disconnected.add(volume['id'])
                try:
                    shared = super().terminate_connection(volume, connector,
                                                          **kwargs)
                except exception.ISCSITargetDetachFailed:
                    if targets.exists(self.target_driver, volume):
                        raise
                else:
                    return shared
        LOG.warning('Volume %(id)s is not exported by any host any more, so '
                    'there is no connection to terminate.',
                    {'id': volume['id']})
        return len(volume.volume_attachment) > 1

    def _update_volume_stats(self) -> None:
        """Report the same from each host of a cluster.

        Cinder calls this periodically, so exports that a detach has left are
        removed here too.
        """
        self._end_unused_exports()
        super()._update_volume_stats()
        if self.cluster_name:
            for pool in self._stats['pools']:
                # Cinder's LVM driver copies a volume without the network if
                # this is its own host.
                kind, _, *rest = pool['location_info'].split(':')
                pool['location_info'] = ':'.join(
                    [kind, self.cluster_name, *rest])

    @staticmethod
    def _export_locked(volume: objects.Volume
                       ) -> contextlib.AbstractContextManager[object]:
        """Let no other thread create or remove an export of the volume.

        An export is created and removed by the service that has the LV.
        """
        lock: contextlib.AbstractContextManager[object] = lockutils.lock(
            f"cinder-lvm-manage-export-{volume['name']}")
        return lock

    def _record_export(self, lv: LogicalVolume) -> None:
        """Tag an LV with this host, and remove tags with other hosts."""
        tags = exports.tags_of(lv)
        ours = {Export(self.host).tag}
        if tags != ours:
            self._volume_group.change(lv.name, sorted(ours - tags),
                                      sorted(tags - ours))

    def _forget_export(self, lv_name: str) -> None:
        """Remove the tag of an LV whose target was removed.

        An LV that is open stays active here, so it keeps its tag. If the tag
        of another one cannot be removed, other hosts ask this one in vain.
        """
        try:
            lv = self._volume_group.inventory().by_name.get(lv_name)
            tags = exports.tags_of(lv) if lv and not lv.is_open else set()
            if tags:
                self._volume_group.change(lv_name, remove_tags=sorted(tags))
        except errors.VolumeGroupError as exc:
            LOG.warning('LV %(lv)s keeps the tag that names its export, which '
                        'was removed: %(why)s',
                        {'lv': lv_name, 'why': exc})

    def _remove_stale_target(self, context: context.RequestContext,
                             volume: objects.Volume, held: Held) -> None:
        """Remove the target that an earlier boot has left, if any.

        LIO restores all targets when a host boots, but not their LUNs, because
        the LVs are inactive then. Such a target prevents creating another one.
        """
        if (not held.was_active
                and targets.exists(self.target_driver, volume)):
            targets.remove(self.target_driver, context, volume)

    def _export_again(self, context: context.RequestContext,
                      volume: objects.Volume) -> None:
        """Create the target again that was lost when this host stopped.

        Cinder's own ensure_export has LIO restore the targets of all volumes
        at once, including those that another host exports now.
        """
        volume.update(super().create_export(context, volume, {}))
        volume.save()
        for attachment in volume.volume_attachment:
            if attachment.connector:
                super().initialize_connection(volume, attachment.connector)

    @contextlib.contextmanager
    def _held(self, lv_name: str) -> Iterator[Held | None]:
        """Hold an LV of a shared group; see ExclusiveActivation.held."""
        if not self._on_demand:
            yield None
            return
        with self._exclusive_activation.held(lv_name) as held:
            yield held

    @contextlib.contextmanager
    def _ended(self, lv_name: str) -> Iterator[None]:
        """Deactivate a new LV at the end, in a shared group."""
        if not self._on_demand:
            yield
            return
        with self._exclusive_activation.ended(lv_name):
            yield

    @functools.cached_property
    def _disconnected(self) -> set[str]:
        """IDs of volumes that may have an export that nobody needs."""
        return set()

    @functools.cached_property
    def _exclusive_activation(self) -> ExclusiveActivation:
        return ExclusiveActivation(self._volume_group)
