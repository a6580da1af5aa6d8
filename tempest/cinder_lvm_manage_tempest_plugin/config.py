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

"""The options of this plugin, in the section lvm_manage of tempest.conf."""

from oslo_config import cfg

GROUP = cfg.OptGroup(
    'lvm_manage', title='Managing of logical volumes',
    help='These tests run where manage_volume, and those of snapshots where '
         'manage_snapshot and snapshot too, are set in the section '
         'volume-feature-enabled. They reach no volume group: LVs of other '
         'kinds, sizes, names and states than Cinder makes are not tested.')

OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt('backend_host',
               help='The cinder-volume with this driver, host@backend. By '
                    'default the first that is enabled and up.'),
    cfg.StrOpt('volume_type',
               help='A volume type whose volumes go to that backend. By '
                    'default one is made, from the volume_backend_name that '
                    'the backend reports.'),
]
