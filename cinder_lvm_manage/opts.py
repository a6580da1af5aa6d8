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

"""The driver's options, read from the backend's section of cinder.conf."""

from __future__ import annotations

from oslo_config import cfg
from oslo_config import types

# Those that oslo.utils recognizes, except raw.
IMAGE_FORMATS = ('qcow2', 'qed', 'vdi', 'vhd', 'vhdx', 'vmdk')

manage_opts = [
    cfg.BoolOpt(
        'lvm_manage_in_use',
        default=False,
        help='Manage a logical volume even if something on this host holds '
             'it open. Renaming it does not disturb its users, but from then '
             'on both they and Cinder write to it.'),
    cfg.BoolOpt(
        'lvm_manage_extend_to_gib',
        default=False,
        help='Extend a logical volume to the whole GiB that Cinder records '
             'for it when it is managed as a volume. Otherwise it keeps its '
             'size. Unmanaging it does not reduce it again.'),
    cfg.BoolOpt(
        'lvm_manage_restore_name',
        default=True,
        help='Restore the original name of a logical volume when Cinder '
             'unmanages it.'),
    cfg.BoolOpt(
        'lvm_manage_without_device_mapper',
        default=False,
        help='Manage logical volumes even if LVM cannot ask the kernel '
             'whether they are open or suspended. Only for hosts that keep '
             'LVM metadata but never activate logical volumes.'),
    cfg.BoolOpt(
        'lvm_manage_read_contents',
        default=True,
        help='Read the first 128 KiB and the last 64 KiB of each active '
             'logical volume that is listed or managed, to show what it '
             'contains, and to refuse disk images and the metadata of other '
             'storage systems. On a rotating disk, this costs two seeks for '
             'each logical volume.'),
    cfg.ListOpt(
        'lvm_manage_image_formats',
        default=[],
        item_type=types.String(choices=IMAGE_FORMATS),
        help='Formats of disk images, besides raw, that a logical volume may '
             'contain to be managed. Cinder attaches every logical volume as '
             'a raw disk, so instances see the image file and not the disk '
             'in it.'),
    cfg.IntOpt(
        'lvm_manage_command_timeout',
        default=120,
        min=1,
        help='Seconds after which an LVM command of a listing, a manage or '
             'an unmanage is stopped and considered failed. A request that '
             'waits for another one on its volume group fails after five '
             'times as long.'),
    cfg.BoolOpt(
        'lvm_manage_local_coordinator',
        default=False,
        help='Start in a cluster even if backend_url in section coordination '
             'is one that only the processes of one host share. Only for '
             'tests on one host.'),
]


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options by section, for oslo.config's sample generator."""
    return [('backend_defaults', manage_opts)]
