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

"""What can go wrong here; driver.py alone turns these into Cinder's own.

Each message says why something is not done and what to do; what was asked is
added where they are turned.
"""

from __future__ import annotations

import typing

if typing.TYPE_CHECKING:
    from cinder_lvm_manage import verdict


class LVMManageError(Exception):
    """The root of this package's errors."""


class InvalidReference(LVMManageError):
    """The caller's reference is not one LV of this volume group."""


class InvalidPage(LVMManageError):
    """The marker or the sort order of a listing makes no sense."""


class NotManageable(LVMManageError):
    """The LV may not be managed; carries the verdict with every reason."""

    def __init__(self, lv_name: str, verdict: verdict.Verdict) -> None:
        super().__init__(f'LV {lv_name} {verdict.reason}')
        self.verdict = verdict


class VolumeGroupError(LVMManageError):
    """An LVM command failed, took too long, or reported nonsense."""


class AdoptionFailed(LVMManageError):
    """The LV under the new name is not the one that was judged."""
