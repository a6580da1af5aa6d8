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

"""The command openstack volume adoption, which lists the others."""

from __future__ import annotations

import argparse
from importlib import metadata
import inspect
from typing import Any

from osc_volume_adopt.command import Command

_GROUP = 'openstack.volume_adoption.v1'
# In the order in which an operator needs them.
_ORDER = ('list', 'show', 'plan', 'apply', 'status', 'report', 'undo',
          'recover', 'audit')


class Adoption(Command):
    """Show the commands that adopt existing logical volumes.

    Each has a help of its own: openstack help volume adoption plan
    """

    auth_required = False
    _epilog: Any = """commands::

  list, show        what can be adopted, and why the rest cannot
  plan              write a plan, which you can edit
  apply             check the plan and adopt its volumes, or resume that
  status, report    what became of the plan
  undo              unmanage the volumes that were adopted
  recover           write a lost journal again, which apply and undo need
  audit             whether Cinder's volumes and the LVs match
"""

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        commands = {entry.name.removeprefix('volume_adoption_'): entry
                    for entry in metadata.entry_points(group=_GROUP)
                    if entry.name != 'volume_adoption'}
        for name in (*_ORDER, *sorted(commands.keys() - set(_ORDER))):
            if name in commands:
                first, _, _ = (inspect.getdoc(commands[name].load())
                               or '').partition('\n')
                self.app.stdout.write(f'volume adoption {name:8} {first}\n')
        return 0
