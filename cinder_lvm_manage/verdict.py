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

"""The verdict on an LV: whether it may be managed, and every reason why not.

Listing and managing ask the same judge(). Its rules are in rules.py.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

from cinder_lvm_manage import contents as lv_contents
from cinder_lvm_manage import errors
from cinder_lvm_manage import rules
from cinder_lvm_manage.block_device import User
from cinder_lvm_manage.case import Case
from cinder_lvm_manage.case import ClaimT
from cinder_lvm_manage.claim import Claim
from cinder_lvm_manage.claim import Policy
from cinder_lvm_manage.claim import SnapshotClaim
from cinder_lvm_manage.claim import VolumeClaim
from cinder_lvm_manage.contents import Contents
from cinder_lvm_manage.foreign_owners import ForeignOwner
from cinder_lvm_manage.inventory import Inventory
from cinder_lvm_manage.logical_volume import LogicalVolume
from cinder_lvm_manage.rules import Rule


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why an LV may not be managed, and what to do about it.

    :ivar code: names the reason for programs
    """

    code: str
    kind: rules.Kind
    why: str
    remedy: str

    def __str__(self) -> str:
        return f'{self.why} ({self.remedy})'


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Every reason against managing an LV; none means that it is safe.

    :ivar extend_to: the size in bytes to which managing it as a volume extends
        it; None if it keeps its size
    :ivar foreign_owner: the system that created it, if that is known and it is
        not this Cinder
    """

    reasons: tuple[Reason, ...]
    extend_to: int | None = None
    foreign_owner: ForeignOwner | None = None

    @property
    def safe(self) -> bool:
        """Whether the LV may be managed."""
        return not self.reasons

    @property
    def kind(self) -> rules.Kind:
        """The kind that takes precedence; only of a verdict with reasons."""
        return min((reason.kind for reason in self.reasons),
                   key=list(rules.Kind).index)

    @property
    def reason(self) -> str:
        """All reasons with their remedies, as an operator reads them."""
        return '; '.join(map(str, self.reasons))

    def raise_for(self, lv: LogicalVolume) -> None:
        """:raises NotManageable: unless it is safe"""
        if not self.safe:
            raise NotManageable(lv.name, self)


class NotManageable(errors.LVMManageError):
    """The LV may not be managed.

    :ivar verdict: with every reason
    """

    def __init__(self, lv_name: str, verdict: Verdict) -> None:
        super().__init__(f'LV {lv_name} {verdict.reason}')
        self.verdict = verdict


def judge(lv: LogicalVolume, inventory: Inventory,
          claim: VolumeClaim | SnapshotClaim, policy: Policy,
          users: Sequence[User] = (), contents: Contents = lv_contents.NOT_READ
          ) -> Verdict:
    """Return whether the LV may be managed as the claimed volume or snapshot.

    :param inventory: the one that the LV was found in
    :param users: what is known to hold the LV open
    """
    as_any = rules.AS_ANY + (() if claim.owner else rules.ABOUT_CONTENTS)
    if isinstance(claim, VolumeClaim):
        return _judged(Case(lv, inventory, claim, policy, users, contents),
                       as_any + rules.AS_VOLUME)
    return _judged(Case(lv, inventory, claim, policy, users, contents),
                   as_any + rules.AS_SNAPSHOT)


def judge_contents(lv: LogicalVolume, inventory: Inventory, policy: Policy,
                   contents: Contents) -> Verdict:
    """Return the verdict on what an LV without an owner contains.

    For an LV that was judged before its contents could be read.
    """
    return _judged(Case(lv, inventory, Claim(), policy, contents=contents),
                   rules.ABOUT_CONTENTS)


def _judged(case: Case[ClaimT], table: Sequence[Rule[ClaimT]]) -> Verdict:
    inventory = case.inventory
    words = {'case': case, 'claim': case.claim, 'lv': case.lv,
             'vg': inventory.vg_name,
             'duplicates': ', '.join(inventory.duplicates)}
    return Verdict(tuple(
        Reason(rule.code, rule.kind, rule.why.format(**words),
               rule.remedy.format(**words))
        for rule in table if rule.applies(case)),
        case.extend_to, case.foreign_owner)
