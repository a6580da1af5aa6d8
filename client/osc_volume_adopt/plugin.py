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

"""The plugin interface of python-openstackclient.

python-openstackclient finds this module by the entry point
openstack.cli.extension, and the commands by openstack.volume_adoption.v1.
"""

from __future__ import annotations

import argparse
from typing import Any

from osc_volume_adopt.api import CinderApi

API_NAME = 'volume_adoption'
API_VERSION_OPTION = 'os_volume_adoption_api_version'
API_VERSIONS = {'1': 'osc_volume_adopt.api.CinderApi'}
DEFAULT_API_VERSION = '1'


def make_client(instance: Any) -> CinderApi:
    """Return what the commands use as client_manager.volume_adoption."""
    return CinderApi(instance.sdk_connection)


def build_option_parser(parser: argparse.ArgumentParser
                        ) -> argparse.ArgumentParser:
    """Set the only version of the commands; there is no option for it."""
    parser.set_defaults(**{API_VERSION_OPTION: DEFAULT_API_VERSION})
    return parser
