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

"""The targets with which Cinder's target driver exports LVs on this host.

If Cinder's own code cannot list the targets, it continues as if there were
none. Here that is an error, because an export would be left behind.
"""

from __future__ import annotations

from typing import Any

from cinder import context
from cinder import exception
from cinder import objects
from cinder.volume.targets import iscsi
from cinder.volume.targets import lio


def exists(target_driver: Any, volume: objects.Volume) -> bool:
    """Return whether a volume has a target.

    It is True if the target driver has no way to find out.

    :raises ProcessExecutionError: the targets cannot be listed
    """
    if not isinstance(target_driver, iscsi.ISCSITarget):
        return True
    prefix = target_driver.configuration.target_prefix
    try:
        target_driver.show_target(None, iqn=f"{prefix}{volume['name']}")
    except exception.NotFound:
        return False
    return True


def remove(target_driver: Any, context: context.RequestContext,
           volume: objects.Volume) -> None:
    """Remove the target of a volume, if it has one.

    :raises CinderException, ProcessExecutionError: it was not removed
    """
    if isinstance(target_driver, lio.LioAdm):
        # remove_export finds neither a target whose location Cinder has not
        # recorded nor a backstore without a target. An interruption can leave
        # either of them.
        target_driver.remove_iscsi_target(0, 0, volume['id'], volume['name'])
    else:
        target_driver.remove_export(context, volume)
