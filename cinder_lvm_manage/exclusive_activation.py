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

"""ExclusiveActivation: LVs of a shared group, active only while in use.

LVM activates an LV of a shared group on one host at a time. An LV that stays
active cannot be used on any other host.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import threading

from oslo_log import log as logging

from cinder_lvm_manage import errors
from cinder_lvm_manage.inventory import Inventory
from cinder_lvm_manage.logical_volume import LogicalVolume
from cinder_lvm_manage.volume_group import VolumeGroup

LOG = logging.getLogger(__name__)


@dataclasses.dataclass
class _Activation:
    """How the operations of this process use an LV.

    :ivar holders: how many of them need it to be active
    :ivar ends: whether the last of them deactivates it
    """

    holders: int
    ends: bool


@dataclasses.dataclass(frozen=True)
class Held:
    """An LV that is active here, and on no other host.

    :ivar lv: as it was before; for a thick snapshot, this is its origin
    """

    lv: LogicalVolume
    _activation: _Activation

    @property
    def was_active(self) -> bool:
        """Whether it was active here before."""
        return self.lv.activation.active is True

    def keep(self) -> None:
        """Leave it active."""
        self._activation.ends = False

    def end(self) -> None:
        """Deactivate it when nothing in this process needs it."""
        self._activation.ends = True


class ExclusiveActivation:
    """The LVs of a shared group that this process has activated."""

    def __init__(self, vg: VolumeGroup) -> None:
        self._vg = vg
        self._lock = threading.Lock()
        # By the UUID of the LV, which may be renamed meanwhile.
        self._activations: dict[str, _Activation] = {}

    @contextlib.contextmanager
    def held(self, lv_name: str) -> Iterator[Held | None]:
        """Activate an LV exclusively, and deactivate it at the end.

        An LV that was active here before stays active. LVM has no lock of its
        own for a thick snapshot, so its origin is held.

        :returns: None if there is no such LV
        :raises LockedElsewhere: another host has it active
        :raises VolumeGroupError: LVM refused
        """
        with self._lock:
            held = self._acquire(self._vg.inventory(), lv_name)
        if held is None:
            yield None
            return
        try:
            yield held
        finally:
            with self._lock:
                self._release(held.lv.uuid)

    @contextlib.contextmanager
    def ended(self, lv_name: str) -> Iterator[None]:
        """Deactivate, at the end, an LV that is created meanwhile."""
        try:
            yield
        finally:
            with self._lock:
                self._deactivate(lambda inventory:
                                 inventory.by_name.get(lv_name))

    def _acquire(self, inventory: Inventory, lv_name: str) -> Held | None:
        lv = inventory.by_name.get(lv_name)
        if lv and 'thicksnapshot' in lv.roles:
            lv = inventory.by_name[lv.origin]
        if lv is None:
            return None
        activation = self._activations.get(lv.uuid)
        if activation is None:
            if not lv.activation.active:
                self._activate(lv)
            activation = self._activations[lv.uuid] = _Activation(
                0, not lv.activation.active)
        activation.holders += 1
        return Held(lv, activation)

    def _activate(self, lv: LogicalVolume) -> None:
        try:
            self._vg.activate(lv.name)
        except errors.LockedElsewhere:
            raise
        except errors.VolumeGroupError:
            # A command that timed out may have activated it all the same.
            self._deactivate(lambda inventory: inventory.by_uuid.get(lv.uuid))
            raise

    def _release(self, uuid: str) -> None:
        activation = self._activations[uuid]
        activation.holders -= 1
        if activation.holders == 0:
            del self._activations[uuid]
            if activation.ends:
                self._deactivate(lambda inventory:
                                 inventory.by_uuid.get(uuid))

    def _deactivate(self, find: Callable[[Inventory], LogicalVolume | None]
                    ) -> None:
        """Deactivate the LV, if it still exists.

        A failure is only logged: the operation that needed the LV has ended.
        """
        try:
            lv = find(self._vg.inventory())
            if lv and lv.activation.active:
                self._vg.deactivate(lv.name)
        except errors.VolumeGroupError as exc:
            LOG.warning('An LV of the shared volume group %(vg)s stays active '
                        'on this host, so no other host can use it: %(why)s. '
                        'Find what holds it open, then run `lvchange '
                        '--activate n` on it.',
                        {'vg': self._vg.name, 'why': exc})
