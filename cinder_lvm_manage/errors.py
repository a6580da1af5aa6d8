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

"""This package's errors; cinder_errors.py translates them into Cinder's.

Each message says what failed, why, and what to do. cinder_errors.py adds which
request failed. verdict.NotManageable is the one that is not defined here.
"""

from __future__ import annotations

from collections.abc import Sequence


class LVMManageError(Exception):
    """The root of this package's errors."""


class InvalidReference(LVMManageError):
    """The caller's reference is not one LV of this volume group."""


class InvalidPage(LVMManageError):
    """The marker or the sort order of a listing is invalid."""


class VolumeGroupError(LVMManageError):
    """The volume group could not be read or changed."""


class LVMCommandFailed(VolumeGroupError):
    """An LVM command failed.

    :ivar command: as it was run, without its environment
    :ivar exit_code: LVM's, 5 for most failures; os-brick's own value if LVM
        could not be run
    :ivar messages: the lines that LVM printed
    """

    def __init__(self, command: Sequence[str], shown: str,
                 exit_code: int | str | None,
                 messages: Sequence[str]) -> None:
        reason = '; '.join(messages) or 'LVM printed no reason'
        super().__init__(f'`{shown}` failed with exit code {exit_code}: '
                         f'{reason}')
        self.command = tuple(command)
        self.exit_code = exit_code
        self.messages = tuple(messages)


class LockedElsewhere(LVMCommandFailed):
    """LVM cannot lock an LV of a shared group: another host has it active.

    :ivar lv_name: the LV whose lock it is
    """

    def __init__(self, lv_name: str, command: Sequence[str], shown: str,
                 exit_code: int | str | None,
                 messages: Sequence[str]) -> None:
        super().__init__(command, shown, exit_code, messages)
        self.lv_name = lv_name


class ClusterRefused(LVMManageError):
    """The backend cannot be in a cluster as it is configured."""


class NotExported(LVMManageError):
    """The host that exported a volume of a shared group has failed."""


class AdoptionFailed(LVMManageError):
    """The adopted LV is not in the state that Cinder needs."""


class AmbiguousOwner(LVMManageError):
    """The LV of a volume or snapshot of Cinder cannot be determined."""
