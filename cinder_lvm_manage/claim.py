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

"""Cinder's claim to an LV, and the operator's policy."""

from __future__ import annotations

import dataclasses
import enum

from cinder_lvm_manage.naming import CinderNames

# The statuses of a volume that Cinder failed to manage. Cinder has no constant
# for the second: cinder/volume/api.py, delete.
FAILED_TO_MANAGE = ('error_managing', 'error_managing_deleting')


class Sign(enum.Enum):
    """What shows that a volume or snapshot of Cinder owns an LV."""

    NAME = enum.auto()
    JOURNAL = enum.auto()
    # The LV's name contains the ID, but not as the templates have it now.
    ID_IN_NAME = enum.auto()


@dataclasses.dataclass(frozen=True)
class Owner:
    """The volume or snapshot of Cinder that owns an LV.

    :ivar kind: volume or snapshot
    :ivar host: host@backend#pool, as Cinder records it; empty if it records
        none
    :ivar status: as Cinder records it
    """

    id: str
    kind: str
    host: str
    status: str
    sign: Sign = Sign.NAME

    @property
    def machine(self) -> str:
        """The host that its cinder-volume runs on, without backend and pool.

        Cinder's cluster names have the same form.
        """
        return self.host.partition('@')[0]


@dataclasses.dataclass(frozen=True)
class Claim:
    """Cinder's claim to an LV.

    :ivar owner: the LV's present owner
    """

    owner: Owner | None = None


@dataclasses.dataclass(frozen=True)
class VolumeClaim(Claim):
    """Cinder's claim to an LV as a volume.

    :ivar provisioning: which of thin and thick the volume type allows
    :ivar encrypted: whether the volume type encrypts volumes
    """

    provisioning: frozenset[str] = frozenset({'thin', 'thick'})
    encrypted: bool = False


@dataclasses.dataclass(frozen=True)
class SnapshotClaim(Claim):
    """Cinder's claim to an LV as a snapshot.

    :ivar origin_owner: the owner of the LV's origin
    :ivar parent: ID of the volume that the snapshot must be of; None for any
    """

    origin_owner: Owner | None = None
    parent: str | None = None


@dataclasses.dataclass(frozen=True)
class ActivationLists:
    """Two settings of lvm.conf: names of groups, group/LV, @TAG or @*.

    :ivar volume_list: LVM activates only these LVs; None for all
    :ivar read_only_volume_list: LVM activates these read-only
    """

    volume_list: tuple[str, ...] | None = None
    read_only_volume_list: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Policy:
    """How the backend's volumes are provisioned, and what its options allow.

    :ivar names: how Cinder names its volumes
    :ivar host: host@backend of this backend; of its cluster, if it is in one
    :ivar adopting_host: what an adoption records as its host: host@backend in
        a cluster, empty otherwise
    :ivar thin_pool: the pool of the backend's volumes; None if they are thick
    :ivar in_use: an open LV may be managed
    :ivar without_device_mapper: an LV whose state LVM cannot determine may be
        managed
    :ivar extend_to_gib: a volume's LV is extended to its whole GiB
    :ivar activation: which LVs LVM activates on this host
    :ivar image_formats: formats other than raw that an LV may contain, as
        oslo.utils names them
    """

    names: CinderNames
    host: str = ''
    adopting_host: str = ''
    thin_pool: str | None = None
    in_use: bool = False
    without_device_mapper: bool = False
    extend_to_gib: bool = False
    activation: ActivationLists = ActivationLists()
    image_formats: frozenset[str] = frozenset()

    @property
    def machine(self) -> str:
        """The host of this backend, without the backend's name."""
        return self.host.partition('@')[0]
