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


"""Private and undocumented names of Cinder and os-brick that are in use.

doc/source/cinder-internals.rst lists them. Where a name is used in a way that
only a call shows, another test is named there.
"""

import inspect

from cinder import coordination
from cinder import objects
from cinder import rpc
from cinder import utils
from cinder.image import glance
from cinder.objects import base
from cinder.objects import fields
from cinder.scheduler.filters import extra_specs_ops
from cinder.volume import api
from cinder.volume import configuration
from cinder.volume import rpcapi
from cinder.volume import volume_types
from cinder.volume import volume_utils
from cinder.volume.drivers import lvm
from cinder.volume.flows import common
from cinder.volume.flows.manager import create_volume
from cinder.volume.manager import VolumeManager
from cinder.volume.targets import iscsi
from cinder.volume.targets import lio
from os_brick import executor
import os_brick.exception
from os_brick.local_dev.lvm import LVM
import os_brick.utils
import pytest

from cinder_lvm_manage import claim


@pytest.mark.parametrize(('function', 'parameters'), [
    (lvm.LVMVolumeDriver._escape_snapshot, ['snapshot_name']),
    (lvm.LVMVolumeDriver._clear_volume, ['volume', 'is_snapshot']),
    (lvm.LVMVolumeDriver.migrate_volume, ['ctxt', 'volume', 'host']),
    (lvm.LVMVolumeDriver.revert_to_snapshot,
     ['context', 'volume', 'snapshot']),
    (lvm.LVMVolumeDriver.before_volume_copy,
     ['context', 'src_vol', 'dest_vol', 'remote']),
    (LVM.revert, ['snapshot_name']),
    (LVM.activate_lv, ['name', 'is_snapshot']),
    (LVM.deactivate_lv, ['name']),
    (volume_utils.clear_volume,
     ['volume_size', 'volume_path', 'volume_clear', 'volume_clear_size',
      'volume_clear_ionice']),
    (volume_types.is_encrypted, ['context', 'volume_type_id']),
    (volume_types.get_volume_type_extra_specs, ['volume_type_id']),
    (extra_specs_ops.match, ['value', 'req']),
    (objects.VolumeList.get_all, ['context', 'filters']),
    (objects.SnapshotList.get_all, ['context', 'filters']),
    (objects.Volume.obj_clone, []),
    (utils.get_root_helper, []),
    (coordination.COORDINATOR.get_lock, ['name']),
    (objects.ServiceList.get_all, ['context', 'filters']),
    (rpc.get_client, ['target', 'serializer']),
    (rpc.get_server, ['target', 'endpoints', 'serializer']),
    (base.CinderObjectSerializer, ['version_cap']),
    (rpcapi.VolumeAPI.determine_obj_version_cap, []),
    (glance.get_default_image_service, []),
    (lvm.LVMVolumeDriver.copy_image_to_volume,
     ['context', 'volume', 'image_service', 'image_id', 'disable_sparse']),
    (lvm.LVMVolumeDriver.copy_volume_to_image,
     ['context', 'volume', 'image_service', 'image_meta']),
    (lvm.LVMVolumeDriver.create_export,
     ['context', 'volume', 'connector', 'vg']),
    (lio.LioAdm.remove_iscsi_target, ['tid', 'lun', 'vol_id', 'vol_name']),
    (iscsi.ISCSITarget.show_target, ['iscsi_target', 'iqn']),
    (executor.Executor.__init__, ['root_helper']),
    (os_brick.utils.retry,
     ['retry_param', 'interval', 'backoff_rate', 'retry']),
])
def test_a_function_has_the_parameters_that_it_is_called_with(
        function, parameters):
    assert set(parameters) <= inspect.signature(function).parameters.keys()


@pytest.mark.parametrize(('where', 'name'), [
    # Attributes that only instances have.
    (LVM, 'self.vg_name = '),
    (LVM, 'self.vg_thin_pool = '),
    (executor.Executor, 'self._root_helper = '),
    (executor.Executor, 'def _execute(self, *args, **kwargs)'),
    # any_size.py hands the inherited methods dicts with these keys.
    (lvm.LVMVolumeDriver.create_volume_from_snapshot,
     "snapshot['volume_size']"),
    (lvm.LVMVolumeDriver.create_cloned_volume, "src_vref['size']"),
    # LVMVolumeDriver replaces "auto" when it is set up.
    (lvm.LVMVolumeDriver, "self.configuration.lvm_type == 'auto'"),
    (lvm.LVMVolumeDriver, "self.configuration.lvm_type = 'thin'"),
    # A thick snapshot's room, which is cleared.
    (lvm.LVMVolumeDriver, '"-cow"'),
    # What rules.py takes for a temporary snapshot of Cinder's.
    (lvm.LVMVolumeDriver.create_cloned_volume, "'clone-snap-%s'"),
    (lvm.LVMVolumeDriver, "LVMVolumeDriver:%(hostname)s:%(vg)s'"),
    # A cluster reports the same from each host.
    (lvm.LVMVolumeDriver._update_volume_stats, 'self._stats = data'),
    (lvm.LVMVolumeDriver._update_volume_stats, 'location_info=location_info'),
    # In a cluster.
    (VolumeManager.__init__, 'self.driver.SUPPORTS_ACTIVE_ACTIVE'),
    (VolumeManager._init_host, "volume['status'] in ['in-use']"),
    # What targets.py avoids.
    (lio.LioAdm.ensure_export, 'self._restore_configuration()'),
    (iscsi.ISCSITarget.remove_export, 'except Exception:'),
    # What cinder_records.py derives from a status and from launched_at.
    (create_volume.CreateVolumeOnFinishTask, 'launched_at'),
    (common.error_out, 'resource.save()'),
    # An AttributeError of a listing becomes an empty list.
    (VolumeManager.get_manageable_volumes, 'except AttributeError'),
    (VolumeManager.get_manageable_snapshots, 'except AttributeError'),
])
def test_the_source_has_what_is_relied_on(where, name):
    assert name in inspect.getsource(where)


def test_the_states_of_a_failed_manage():
    managing, deleting = claim.FAILED_TO_MANAGE
    assert managing == fields.VolumeStatus.ERROR_MANAGING
    assert f"'{deleting}'" in inspect.getsource(api.API.delete)


@pytest.mark.parametrize(('module', 'name'), [
    (configuration, 'SHARED_CONF_GROUP'),
    (os_brick.exception, 'ExecutionTimeout'),
    (os_brick.utils, 'retry_if_exit_code'),
])
def test_a_module_has_the_name(module, name):
    assert hasattr(module, name)


def test_exports_are_ensured_before_the_driver_is_initialized():
    source = inspect.getsource(VolumeManager._init_host)
    assert source.index('.check_for_setup_error()') < source.index(
        '.ensure_export(') < source.index('.set_initialized()')
