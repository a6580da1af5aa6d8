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

"""What a listing of manageable volumes reports of each LV.

The keys of extra_info are a contract with cinder_lvm_manage, described on the
page "The keys of extra_info" of its documentation. Other drivers report there
what they like.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import json
import logging
from typing import Any
from typing import TypeAlias

LOG = logging.getLogger(__name__)

# What cinder_lvm_manage reports as extra_info['driver'], and no other driver.
LVM_MANAGE = 'cinder_lvm_manage'

# Keys of extra_info that have an attribute of their own.
_ATTRIBUTES = ('driver', 'reasons', 'source_id', 'size_bytes',
               'size_bytes_managed', 'layout', 'tags', 'owner', 'contents',
               'boot_partitions', 'named_for', 'adopter', 'former_name')


@dataclasses.dataclass(frozen=True)
class Location:
    """A backend, named by a host or by a cluster; the other one is None.

    :ivar host: host@backend#pool; the pool may be missing
    :ivar cluster: cluster@backend#pool; the pool may be missing
    """

    host: str | None = None
    cluster: str | None = None

    @property
    def query(self) -> dict[str, str]:
        """The parameters of a request."""
        return {name: value for name, value in dataclasses.asdict(self).items()
                if value}

    @property
    def name(self) -> str:
        """The name alone."""
        return self.host or self.cluster or ''

    def __str__(self) -> str:
        return f'{"host" if self.host else "cluster"} {self.name}'


Identity: TypeAlias = tuple[Location, frozenset[tuple[str, str]]]
# A backend, and the name of an LV on it.
Place: TypeAlias = tuple[Location, str]


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why an LV is not safe to manage.

    :ivar code: identifies the rule, like 'thin-pool'; empty with drivers that
        report text only
    :ivar kind: already-managed, unsafe or type-mismatch; empty likewise
    :ivar why: a sentence without its subject, which is the LV; or, with other
        drivers, all that they report
    :ivar remedy: what to do about it; empty if nothing is reported
    """

    code: str
    kind: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f'{self.why} ({self.remedy})' if self.remedy else self.why

    @property
    def statement(self) -> str:
        """The reason as a statement of its own, without the remedy."""
        return f'the LV {self.why}' if self.code else self.why


_REASON = [field.name for field in dataclasses.fields(Reason)]


@dataclasses.dataclass(frozen=True)
class Manageable:
    """One row of a detailed listing.

    What the driver does not report is empty, or None.

    :ivar location: the backend that lists it
    :ivar gib: the size that Cinder would record
    :ivar reason: the driver's text on why it is not safe; empty if it is
    :ivar driver: LVM_MANAGE for cinder_lvm_manage, empty for most others
    :ivar size: in bytes
    :ivar size_managed: in bytes, after managing has extended it
    :ivar owner: another system that created the LV
    :ivar contents: what the LV contains, for people
    :ivar boot_partitions: the kinds of its partitions that firmware boots
        from: efi, bios
    :ivar named_for: ID of the volume or snapshot for which Cinder would give
        an LV this name
    :ivar adopter: ID of the volume that adopted the LV, as the LV's tags say
    :ivar former_name: the LV's name before it was adopted, likewise
    :ivar snapshots: the names of its snapshots that Cinder does not manage;
        the listing of snapshots has them
    :ivar blocking: those of them that keep Cinder from deleting its volume
    :ivar more: the rest of extra_info
    """

    location: Location
    reference: Mapping[str, str]
    gib: int
    safe: bool
    reason: str = ''
    reasons: tuple[Reason, ...] = ()
    cinder_id: str | None = None
    driver: str = ''
    source_id: str = ''
    size: int | None = None
    size_managed: int | None = None
    layout: str = ''
    tags: str = ''
    owner: str = ''
    contents: str = ''
    boot_partitions: tuple[str, ...] = ()
    named_for: str = ''
    adopter: str = ''
    former_name: str = ''
    snapshots: tuple[str, ...] = ()
    blocking: tuple[str, ...] = ()
    more: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_api(cls, row: Mapping[str, Any],
                 location: Location) -> Manageable:
        """Return the LV of one row of the API's answer about a backend."""
        info = row.get('extra_info')
        info = {name: text for name, text in info.items()
                if text is not None} if isinstance(info, dict) else {}
        reason = row['reason_not_safe'] or ''
        return cls(
            location=location, reference=row['reference'], gib=row['size'],
            safe=row['safe_to_manage'], reason=reason,
            reasons=() if row['safe_to_manage'] else _reasons(info, reason),
            cinder_id=row['cinder_id'], driver=info.get('driver', ''),
            source_id=info.get('source_id')
            or row['reference'].get('source-id', ''),
            size=_number(info.get('size_bytes')),
            size_managed=_number(info.get('size_bytes_managed')),
            layout=info.get('layout', ''), tags=info.get('tags', ''),
            owner=info.get('owner', ''), contents=info.get('contents', ''),
            boot_partitions=_words(info.get('boot_partitions', '')),
            named_for=info.get('named_for', ''),
            adopter=info.get('adopter', ''),
            former_name=info.get('former_name', ''),
            more={name: text for name, text in info.items()
                  if name not in _ATTRIBUTES})

    @property
    def name(self) -> str:
        """The LV's name, or, without one, the first value of its reference."""
        return str(self.reference.get('source-name')
                   or next(iter(self.reference.values())))

    @property
    def identity(self) -> Identity:
        """What identifies the LV among those of all backends."""
        return self.location, frozenset(self.reference.items())

    @property
    def place(self) -> Place:
        """Where the LV is, and its name there."""
        return self.location, self.name

    @property
    def codes(self) -> list[str]:
        """The codes of all reasons."""
        return [reason.code for reason in self.reasons if reason.code]

    @property
    def provisioning(self) -> str:
        """Thin or thick, as an LV's layout says; empty without a layout."""
        if not self.layout:
            return ''
        return 'thin' if 'thin' in self.layout.split(',') else 'thick'


def _reasons(info: Mapping[str, str], text: str) -> tuple[Reason, ...]:
    as_text = (Reason(code='', kind='', why=text, remedy=''),)
    if info.get('driver') != LVM_MANAGE:
        return as_text
    try:
        reasons = tuple(
            Reason(*(str(each[name]) for name in _REASON))
            for each in json.loads(info['reasons']))
    except (KeyError, TypeError, ValueError) as exc:
        LOG.debug('reasons are malformed in %s: %r', info, exc)
        return as_text
    return reasons or as_text


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(',')))


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
