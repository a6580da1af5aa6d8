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

"""Exports of LVs by LIO, the kernel's iSCSI target, without Cinder."""

from __future__ import annotations

from typing import NamedTuple

from tests.lab.cluster_hosts import VOLUME_GROUP
from tests.lab.nodes import Node

_PREFIX = 'iqn.2026-01.org.lab.target:'


class Export(NamedTuple):
    """The target and portal by which an initiator finds an LV."""

    target: str
    portal: str


def export(node: Node, lv_name: str) -> Export:
    """Activate an LV and export it to any initiator."""
    target = f'{_PREFIX}{lv_name}'
    portal = f'{node.address}:3260'
    node.output(f"""set -e
lvchange --activate y {VOLUME_GROUP}/{lv_name}
cd /sys/kernel/config/target
mkdir -p core/iblock_0/{lv_name}
echo udev_path=/dev/{VOLUME_GROUP}/{lv_name} >core/iblock_0/{lv_name}/control
echo 1 >core/iblock_0/{lv_name}/enable
group=iscsi/{target}/tpgt_1
mkdir -p $group/lun/lun_0
ln -s /sys/kernel/config/target/core/iblock_0/{lv_name} $group/lun/lun_0/lv
mkdir $group/np/{portal}
echo 0 >$group/attrib/authentication
echo 1 >$group/attrib/generate_node_acls
echo 1 >$group/attrib/cache_dynamic_acls
echo 0 >$group/attrib/demo_mode_write_protect
echo 1 >$group/enable""")
    return Export(target, portal)


def remove(node: Node, lv_name: str) -> None:
    """Remove an export, and deactivate the LV."""
    node.output(f"""set -e
cd /sys/kernel/config/target
target=iscsi/{_PREFIX}{lv_name}
group=$target/tpgt_1
echo 0 >$group/enable
rm $group/lun/lun_0/lv
rmdir $group/lun/lun_0 $group/np/* $group $target core/iblock_0/{lv_name}
lvchange --activate n {VOLUME_GROUP}/{lv_name}""")
