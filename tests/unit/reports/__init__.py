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

"""Inventories of what real LVM reported; README.rst says how it was made."""

from __future__ import annotations

import pathlib

from cinder_lvm_manage.inventory import Inventory

FOLDER = pathlib.Path(__file__).parent


def inventory(name: str) -> Inventory:
    """The recorded report of this name."""
    return Inventory.from_report((FOLDER / f'{name}.json').read_text(),
                                 'scratch')
