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

"""Registers the tests, options and client of this package with Tempest."""

from __future__ import annotations

import pathlib
from typing import Any

from oslo_config import cfg
from tempest import config
from tempest.test_discover import plugins

from cinder_lvm_manage_tempest_plugin import config as plugin_config

_FOLDER = pathlib.Path(__file__).parent


class LVMManageTempestPlugin(plugins.TempestPlugin):
    """The entry point of tempest.test_plugins."""

    def load_tests(self) -> tuple[str, str]:
        """Return the folder of the tests, and the one to import them from."""
        return str(_FOLDER / 'tests'), str(_FOLDER.parent)

    def register_opts(self, conf: cfg.ConfigOpts) -> None:
        """Register the options."""
        config.register_opt_group(conf, plugin_config.GROUP,
                                  plugin_config.OPTIONS)

    def get_opt_lists(self) -> list[tuple[str, list[cfg.Opt]]]:
        """Return the options by section, for the sample configuration."""
        return [(plugin_config.GROUP.name, plugin_config.OPTIONS)]

    def get_service_clients(self) -> list[dict[str, Any]]:
        """Return how client managers create ManageableClient."""
        return [{
            'name': 'lvm_manage',
            'service_version': 'lvm_manage.v3',
            'module_path': 'cinder_lvm_manage_tempest_plugin'
                           '.manageable_client',
            'client_names': ['ManageableClient'],
            **config.service_client_config('volume'),
        }]
