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

"""Every rule, on rows that real LVM reported.

Rows of states that could not be brought about are recorded rows with a
character of lv_attr changed, as lvs(8) has it.
"""

import dataclasses
import unittest

import ddt
from oslo_utils import units

from cinder_lvm_manage import verdict
from cinder_lvm_manage.inventory import Inventory
from cinder_lvm_manage.naming import CinderNames
from cinder_lvm_manage.rules import Claim
from cinder_lvm_manage.rules import Kind
from cinder_lvm_manage.rules import Policy
from cinder_lvm_manage.rules import SnapshotClaim
from tests.lab import zoo
from tests.unit.reports import inventory

NAMES = CinderNames('volume-%s', 'snapshot-%s')
THICK = Policy(NAMES, without_device_mapper=True)
THIN = Policy(NAMES, thin_pool='scratch-pool', without_device_mapper=True)
UNCLAIMED = Claim()
OF_A_VOLUME = SnapshotClaim(origin_owner='some-id')


def as_volume(report, name, policy=THICK, claim=UNCLAIMED):
    lvs = report if isinstance(report, Inventory) else inventory(report)
    return verdict.judge(lvs.by_name[name], lvs, claim, policy)


def as_snapshot(report, name, policy=THICK, claim=OF_A_VOLUME):
    lvs = inventory(report)
    return verdict.judge(lvs.by_name[name], lvs, claim, policy)


def with_attr(name, place, character, report='device-mapper'):
    """The recorded inventory with one character of an LV's lv_attr changed."""
    recorded = inventory(report)
    attr = recorded.by_name[name].attr
    changed = attr[:place] + character + attr[place + 1:]
    return dataclasses.replace(recorded, lvs=tuple(
        lv._replace(attr=changed) if lv.name == name else lv
        for lv in recorded.lvs))


@ddt.ddt
class VolumeTest(unittest.TestCase):

    @ddt.data('size-4m', 'size-1g', 'size-1g-4m', 'size-1.5g', 'size-100g-4m',
              'two-segments', 'striped', 'tagged', 'skip-activation',
              'x' * 100, 'Odd+name_1.2', 'origin', 'origin-of-two', 'mirror',
              'raid1', 'raid5', 'raid10', 'cached', 'writecached')
    def test_a_sound_thick_lv_is_safe_on_a_thick_backend(self, name):
        self.assertEqual('', as_volume('zoo', name).reason)

    @ddt.data('thin', zoo.VOLUME, zoo.CLONE)
    def test_a_sound_thin_lv_is_safe_on_the_thin_backend(self, name):
        self.assertEqual('', as_volume('zoo', name, THIN).reason)

    @ddt.data('active', 'inactive', 'origin')
    def test_an_lv_that_nobody_has_open_is_safe(self, name):
        self.assertEqual('', as_volume('device-mapper', name,
                                       Policy(NAMES)).reason)

    @ddt.data(
        ('scratch-pool', 'is a thin pool'),
        ('empty-pool', 'is a thin pool'),
        ('scratch-pool_tdata', 'is internal to LVM'),
        ('scratch-pool_tmeta', 'is internal to LVM'),
        ('lvol0_pmspare', 'is internal to LVM'),
        ('vdo-pool', 'is a VDO pool'),
        ('vdo-pool_vdata', 'is internal to LVM'),
        ('cache-pool', 'is a cache pool'),
        ('cache-pool_cdata', 'is internal to LVM'),
        ('cached_corig', 'is internal to LVM'),
        ('fast_cvol', 'is internal to LVM'),
        ('writecached_wcorig', 'is internal to LVM'),
        ('mirror_mimage_0', 'is internal to LVM'),
        ('mirror_mlog', 'is internal to LVM'),
        ('raid1_rimage_0', 'is internal to LVM'),
        ('raid1_rmeta_0', 'is internal to LVM'),
        ('lvmlock', "holds lvmlockd's leases"),
        ('pvmove0', 'is the temporary LV of a pvmove'),
        ('moving', 'is locked by a pvmove'),
        ('locked', 'is locked by a pvmove'),
        ('error-target', 'has no storage behind it'),
        ('zero-target', 'has no storage behind it'),
        ('read-only', 'is read-only'),
        ('external-origin',
         'is the external origin of thin-on-external-origin'),
        ('thick-snapshot', 'is a snapshot of origin'),
        ('thin-snapshot', 'is a snapshot of thin'),
        ('thin-snapshot-of-snapshot', 'is a snapshot of thin-snapshot'),
        ('merging-origin', 'has a snapshot that is being merged into it'),
        ('thin-merging', 'has a snapshot that is being merged into it'),
        ('merging-snapshot', 'is being merged into its origin'),
        ('thin-merging-snapshot', 'is being merged into its origin'),
        (zoo.SNAPSHOT, f'is a snapshot of {zoo.VOLUME}'),
        (zoo.CLONE_IN_THE_MAKING, "is Cinder's temporary snapshot"))
    @ddt.unpack
    def test_an_lv_of_this_kind_is_refused(self, name, why):
        judged = as_volume('zoo', name)
        self.assertIn(why, judged.reason)
        self.assertIs(Kind.UNSAFE, judged.kind)

    @ddt.data(
        ('open', 'is open'),
        ('suspended', 'is suspended'),
        ('read-only', 'is read-only'),
        ('read-only-activation', 'is activated read-only'),
        ('overflowed', 'is an invalid snapshot'),
        ('thin-in-full-pool',
         'lies in thin pool full-pool, which is out of data space'))
    @ddt.unpack
    def test_an_active_lv_in_this_state_is_refused(self, name, why):
        self.assertIn(why, as_volume('device-mapper', name,
                                     Policy(NAMES)).reason)

    @ddt.data(
        (0, 'c', 'is being converted'),
        (4, 'S', 'is suspended'), (4, 'S', 'is an invalid snapshot'),
        (4, 'm', 'whose merge has failed'), (4, 'M', 'is suspended'),
        (4, 'd', 'has a device without a live table'),
        (4, 'i', 'has a device without a live table'),
        (4, 'c', 'needs a check'), (4, 'C', 'needs a check'),
        (4, 'h', 'is historical'), (4, 'X', 'that LVM cannot tell'),
        (5, 'X', 'that LVM cannot tell'),
        (6, 'u', 'has a target this kernel does not know'),
        (8, 'p', 'lies on a missing physical volume'),
        (8, 'X', 'that LVM cannot tell'),
        (8, 'r', 'needs refresh or repair'),
        (8, 'm', 'has RAID images that differ'),
        (8, 's', 'is being reshaped'),
        (8, 'R', 'has images to be removed'),
        (8, 'E', 'has errors in its writecache'),
        (8, 'F', 'has failed'), (8, 'D', 'is out of data space'),
        (8, 'M', 'has read-only metadata'))
    @ddt.unpack
    def test_lv_attr_with_this_character_is_refused(self, place, character,
                                                    why):
        changed = with_attr('active', place, character)
        self.assertIn(why, as_volume(changed, 'active', Policy(NAMES)).reason)

    @ddt.data((8, 'w'), (9, 'k'), (0, 'm'), (0, 'R'))
    @ddt.unpack
    def test_lv_attr_with_this_character_is_no_obstacle(self, place,
                                                        character):
        changed = with_attr('active', place, character)
        self.assertTrue(as_volume(changed, 'active', Policy(NAMES)).safe)

    @ddt.data((8, 'F', 'which has failed'),
              (8, 'D', 'which is out of data space'),
              (8, 'M', 'whose metadata is read-only'),
              (8, 'p', 'which has a missing physical volume'),
              (4, 'c', 'which needs a check'), (4, 'C', 'which needs a check'))
    @ddt.unpack
    def test_a_thin_volume_is_refused_for_what_ails_its_pool(
            self, place, character, why):
        changed = with_attr('scratch-pool', place, character)
        self.assertIn(f'lies in thin pool scratch-pool, {why}',
                      as_volume(changed, 'thin', THIN).reason)

    def test_an_open_lv_is_safe_where_the_operator_allows_it(self):
        self.assertTrue(as_volume('device-mapper', 'open',
                                  Policy(NAMES, in_use=True)).safe)

    def test_an_unknown_state_is_refused_unless_the_operator_allows_it(self):
        self.assertIn('that LVM cannot tell (lv_attr -wi-XX----)',
                      as_volume('zoo', 'size-1g', Policy(NAMES)).reason)
        self.assertTrue(as_volume('zoo', 'size-1g', THICK).safe)

    @ddt.data(('exported', 'sound', 'exported volume group', 'vgimport'),
              ('partial', 'sound', 'a physical volume is missing',
               'vgreduce --removemissing'),
              ('partial', 'partial', 'lies on a missing physical volume',
               'vgextend --restoremissing'),
              ('read-only-group', 'sound', 'read-only volume group',
               'vgcfgrestore'))
    @ddt.unpack
    def test_a_group_that_cannot_be_changed_is_a_reason(self, report, name,
                                                        why, remedy):
        judged = as_volume(report, name)
        self.assertIn(why, judged.reason)
        self.assertIn(remedy, judged.reason)

    @ddt.data(('thin', THICK, "this backend's volumes are thick"),
              ('thin-in-other-pool', THIN, 'lies in thin pool other-pool'),
              ('size-1g', THIN, 'is thick'),
              ('vdo', THICK, 'is a VDO volume'))
    @ddt.unpack
    def test_an_lv_unlike_the_backends_is_a_type_mismatch(self, name, policy,
                                                          why):
        judged = as_volume('zoo', name, policy)
        self.assertIn(why, judged.reason)
        self.assertIs(Kind.TYPE_MISMATCH, judged.kind)

    def test_a_managed_lv_tells_its_owner(self):
        judged = as_volume('zoo', 'size-1g', claim=Claim(owner='some-id'))
        self.assertIn('is already managed as some-id', judged.reason)
        self.assertIs(Kind.ALREADY_MANAGED, judged.kind)

    def test_all_reasons_are_told_together(self):
        judged = as_volume('zoo', 'thin-snapshot', Policy(NAMES),
                           Claim(owner='some-id'))
        self.assertIs(Kind.ALREADY_MANAGED, judged.kind)
        for why in ('is already managed', 'is a snapshot of thin',
                    'LVM cannot tell', "this backend's volumes are thick"):
            self.assertIn(why, judged.reason)

    def test_no_lv_of_the_zoo_but_the_sound_is_safe_on_either_backend(self):
        lvs = inventory('zoo')
        safe = {lv.name for lv in lvs.lvs for policy in (THICK, THIN)
                if verdict.judge(lv, lvs, UNCLAIMED, policy).safe}
        self.assertEqual(
            {'size-4m', 'size-1g', 'size-1g-4m', 'size-1.5g', 'size-100g-4m',
             'two-segments', 'striped', 'tagged', 'skip-activation',
             'x' * 100, 'Odd+name_1.2', 'origin', 'origin-of-two', 'cloned',
             'mirror', 'raid1', 'raid5', 'raid10', 'cached', 'writecached',
             'thin', zoo.VOLUME, zoo.CLONE}, safe)


@ddt.ddt
class ExtensionTest(unittest.TestCase):

    POLICY = dataclasses.replace(THICK, extend_to_gib=True)

    @ddt.data(('size-4m', units.Gi), ('size-1g', None),
              ('size-1g-4m', 2 * units.Gi), ('size-100g-4m', 101 * units.Gi))
    @ddt.unpack
    def test_an_lv_would_get_its_whole_gib(self, name, size):
        judged = as_volume('zoo', name, self.POLICY)
        self.assertEqual(size, judged.extend_to)
        self.assertTrue(judged.safe)
        self.assertIsNone(as_volume('zoo', name).extend_to)

    @ddt.data((units.Gi - 4 * units.Mi, True),
              (units.Gi - 8 * units.Mi, False))
    @ddt.unpack
    def test_there_has_to_be_room_for_it(self, free, safe):
        lvs = dataclasses.replace(inventory('zoo'), free=free)
        judged = as_volume(lvs, 'size-4m', self.POLICY)
        self.assertIs(safe, judged.safe)
        if not safe:
            self.assertIn(
                'is to be extended from 4194304 to 1073741824 bytes, but '
                'volume group scratch has 1065353216 free', judged.reason)

    def test_a_thin_lv_needs_no_room_in_the_group(self):
        lvs = dataclasses.replace(inventory('device-mapper'), free=0)
        thin = lvs.by_name['thin']._replace(size=units.Mi)
        lvs = dataclasses.replace(lvs, lvs=tuple(
            thin if lv.name == 'thin' else lv for lv in lvs.lvs))
        judged = as_volume(lvs, 'thin', dataclasses.replace(
            self.POLICY, thin_pool='scratch-pool'))
        self.assertEqual(('', units.Gi), (judged.reason, judged.extend_to))

    def test_an_active_origin_of_thick_snapshots_is_not_extended(self):
        judged = as_volume('device-mapper', 'origin', self.POLICY)
        self.assertIn('LVM does not do to an active LV with thick snapshots',
                      judged.reason)
        inactive = dataclasses.replace(with_attr('origin', 4, '-'),
                                       free=units.Gi)
        self.assertTrue(as_volume(inactive, 'origin', self.POLICY).safe)

    def test_a_snapshot_keeps_its_size(self):
        self.assertIsNone(
            as_snapshot('zoo', 'thick-snapshot', self.POLICY).extend_to)


@ddt.ddt
class VolumeTypeTest(unittest.TestCase):

    @ddt.data(('size-1g', THICK, {'thin'}, False),
              ('size-1g', THICK, {'thick'}, True),
              ('thin', THIN, {'thick'}, False),
              ('thin', THIN, {'thin'}, True),
              ('thin', THIN, set(), False))
    @ddt.unpack
    def test_the_volume_type_has_to_allow_its_kind(self, name, policy,
                                                   allowed, safe):
        judged = as_volume('zoo', name, policy,
                           Claim(provisioning=frozenset(allowed)))
        self.assertIs(safe, judged.safe)
        if not safe:
            self.assertIs(Kind.TYPE_MISMATCH, judged.kind)


@ddt.ddt
class SnapshotTest(unittest.TestCase):

    @ddt.data(('thick-snapshot', THICK), ('thick-snapshot-1', THICK),
              ('thin-snapshot', THIN), ('thin-snapshot-of-snapshot', THIN),
              (zoo.SNAPSHOT, THIN))
    @ddt.unpack
    def test_a_sound_snapshot_of_a_volume_is_safe(self, name, policy):
        self.assertEqual('', as_snapshot('zoo', name, policy).reason)

    @ddt.data('size-1g', 'origin', 'scratch-pool')
    def test_what_is_no_snapshot_is_refused(self, name):
        self.assertIn('is not a snapshot', as_snapshot('zoo', name).reason)

    def test_a_clone_that_cinder_named_is_no_snapshot(self):
        self.assertIn('is not a snapshot',
                      as_snapshot('zoo', zoo.CLONE, THIN).reason)

    def test_a_snapshot_of_an_lv_that_is_no_volume_is_refused(self):
        judged = as_snapshot('zoo', 'thick-snapshot', claim=SnapshotClaim())
        self.assertIn('is a snapshot of LV origin, which is no volume',
                      judged.reason)
        self.assertIn('manage origin as a volume first', judged.reason)

    def test_a_snapshot_of_another_volume_is_refused(self):
        judged = as_snapshot('zoo', 'thick-snapshot', claim=SnapshotClaim(
            origin_owner='volume-a', parent='volume-b'))
        self.assertIn('is a snapshot of volume volume-a, not of volume '
                      'volume-b', judged.reason)

    @ddt.data(('merging-snapshot', THICK), ('thin-merging-snapshot', THIN))
    @ddt.unpack
    def test_a_merging_snapshot_is_refused(self, name, policy):
        self.assertIn('is being merged into its origin',
                      as_snapshot('zoo', name, policy).reason)

    def test_an_overflowed_snapshot_is_refused(self):
        self.assertIn('is an invalid snapshot',
                      as_snapshot('device-mapper', 'overflowed').reason)

    def test_a_thin_snapshot_on_a_thick_backend_is_a_type_mismatch(self):
        judged = as_snapshot('zoo', 'thin-snapshot', THICK)
        self.assertIs(Kind.TYPE_MISMATCH, judged.kind)

    def test_cinders_own_temporary_snapshot_is_refused(self):
        self.assertIn("is Cinder's temporary snapshot",
                      as_snapshot('zoo', zoo.CLONE_IN_THE_MAKING).reason)


class RulesTest(unittest.TestCase):

    def test_every_reason_has_a_remedy(self):
        for report in ('zoo', 'device-mapper', 'partial', 'exported'):
            lvs = inventory(report)
            for lv in lvs.lvs:
                for reason in verdict.judge(
                        lv, lvs, UNCLAIMED, Policy(NAMES)).reasons:
                    self.assertTrue(reason.why)
                    self.assertTrue(reason.remedy)
                    self.assertNotIn('{', str(reason))
