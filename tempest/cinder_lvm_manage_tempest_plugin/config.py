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
    help='The tests run if manage_volume is set in the section '
         'volume-feature-enabled, those of snapshots if manage_snapshot and '
         'snapshot are set too. They use the API only, and so test only LVs '
         'of the kinds, sizes, names and states that Cinder creates.')

OPTIONS: list[cfg.Opt] = [
    cfg.StrOpt('backend_host',
               help='The cinder-volume service with this driver, as '
                    'host@backend. Default: the first one that is enabled '
                    'and up.'),
    cfg.StrOpt('backend_cluster',
               help='The cluster of that backend, as cluster@backend. If it '
                    'is set, the tests list and manage by cluster instead of '
                    'by host, with microversion 3.17 or newer.'),
    cfg.StrOpt('volume_type',
               help='A volume type whose volumes are created on that backend. '
                    'Default: the tests create one with the '
                    'volume_backend_name that the backend reports.'),
]
