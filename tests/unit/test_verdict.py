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
import uuid

import ddt
from oslo_utils import units

from cinder_lvm_manage import rules
from cinder_lvm_manage import verdict
from cinder_lvm_manage.block_device import User
from cinder_lvm_manage.claim import ActivationLists
from cinder_lvm_manage.claim import Owner
from cinder_lvm_manage.claim import Policy
from cinder_lvm_manage.claim import Sign
from cinder_lvm_manage.claim import SnapshotClaim
from cinder_lvm_manage.claim import VolumeClaim
from cinder_lvm_manage.contents import Contents
from cinder_lvm_manage.contents import Finding
from cinder_lvm_manage.contents import Image
from cinder_lvm_manage.inventory import Inventory
from cinder_lvm_manage.lv_attr import LVAttr
from cinder_lvm_manage.naming import CinderNames
from cinder_lvm_manage.rules import Kind
from tests.lab import zoo
from tests.unit.reports import inventory

NAMES = CinderNames('volume-%s', 'snapshot-%s')
THICK = Policy(NAMES, 'here@lvm', without_device_mapper=True)
THIN = dataclasses.replace(THICK, thin_pool='scratch-pool')
ACTIVE = Policy(NAMES, 'here@lvm')
OWNER = Owner('some-id', 'volume', 'here@lvm#LVM', 'available')
UNCLAIMED = VolumeClaim()
OF_A_VOLUME = SnapshotClaim(origin_owner=OWNER)


def as_volume(report, name, policy=THICK, claim=UNCLAIMED):
    lvs = report if isinstance(report, Inventory) else inventory(report)
    return verdict.judge(lvs.by_name[name], lvs, claim, policy)


def as_snapshot(report, name, policy=THICK, claim=OF_A_VOLUME):
    lvs = inventory(report)
    return verdict.judge(lvs.by_name[name], lvs, claim, policy)


def with_attr(name, place, character, report='device-mapper'):
    """The recorded inventory with one character of an LV's lv_attr changed."""
    recorded = inventory(report)
    attr = str(recorded.by_name[name].attr)
    changed = LVAttr.parse(attr[:place] + character + attr[place + 1:])
    return dataclasses.replace(recorded, lvs=tuple(
        lv._replace(attr=changed) if lv.name == name else lv
        for lv in recorded.lvs))


def with_room(report, *free):
    """The recorded inventory, with so many bytes free on each device."""
    recorded = inventory(report)
    return dataclasses.replace(recorded, physical_volumes=tuple(
        dataclasses.replace(recorded.physical_volumes[0], free=each)
        for each in free))


def codes(judged):
    return [reason.code for reason in judged.reasons]


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
                                       ACTIVE).reason)

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
        ('lvmlock', 'holds the leases of lvmlockd'),
        ('pvmove0', 'is the temporary LV of a pvmove'),
        ('moving', 'is locked by a pvmove'),
        ('locked', 'is locked by a pvmove'),
        ('error-target', 'has segments that store no data'),
        ('zero-target', 'has segments that store no data'),
        ('read-only', 'is read-only'),
        ('external-origin',
         'is the external origin of thin-on-external-origin'),
        ('thick-snapshot', 'is a snapshot of origin'),
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
         'is in thin pool full-pool, which is out of data space'))
    @ddt.unpack
    def test_an_active_lv_in_this_state_is_refused(self, name, why):
        self.assertIn(why, as_volume('device-mapper', name,
                                     ACTIVE).reason)

    @ddt.data(
        (0, 'c', 'is being converted'),
        (4, 'S', 'is suspended'), (4, 'S', 'is an invalid snapshot'),
        (4, 'm', 'whose merge has failed'), (4, 'M', 'is suspended'),
        (4, 'd', 'has a device without a live table'),
        (4, 'i', 'has a device without a live table'),
        (4, 'c', 'needs a check'), (4, 'C', 'needs a check'),
        (4, 'h', 'is historical'), (4, 'X', 'that cannot be determined'),
        (5, 'X', 'that cannot be determined'),
        (6, 'u', 'that this LVM does not know'),
        (8, 'p', 'is on a missing physical volume'),
        (8, 'X', 'that cannot be determined'),
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
        self.assertIn(why, as_volume(changed, 'active', ACTIVE).reason)

    @ddt.data((8, 'w'), (9, 'k'), (0, 'm'), (0, 'R'))
    @ddt.unpack
    def test_lv_attr_with_this_character_is_no_obstacle(self, place,
                                                        character):
        changed = with_attr('active', place, character)
        self.assertTrue(as_volume(changed, 'active', ACTIVE).safe)

    @ddt.data((8, 'F', 'which has failed'),
              (8, 'D', 'which is out of data space'),
              (8, 'M', 'whose metadata is read-only'),
              (8, 'p', 'which is on a missing physical volume'),
              (4, 'c', 'which needs a check'), (4, 'C', 'which needs a check'))
    @ddt.unpack
    def test_a_thin_volume_is_refused_for_what_ails_its_pool(
            self, place, character, why):
        changed = with_attr('scratch-pool', place, character)
        self.assertIn(f'is in thin pool scratch-pool, {why}',
                      as_volume(changed, 'thin', THIN).reason)

    def test_who_holds_an_lv_open_is_told_with_what_releases_it(self):
        lvs = inventory('device-mapper')
        judged = verdict.judge(
            lvs.by_name['open'], lvs, UNCLAIMED, Policy(NAMES),
            (User('mounted on /a via b', '`umount /a`'),
             User('held by dm-crypt device b', '`cryptsetup close b`')))
        self.assertEqual(
            'is open, mounted on /a via b, held by dm-crypt device b '
            '(`umount /a`, then `cryptsetup close b`; or set '
            'lvm_manage_in_use)', judged.reason)

    def test_an_lv_that_is_open_to_something_unknown_has_a_remedy(self):
        self.assertIn('is open (find what holds it with `lsblk`',
                      as_volume('device-mapper', 'open',
                                Policy(NAMES)).reason)

    @ddt.data('scratch-pool', 'scratch-pool_tdata')
    def test_what_lvm_itself_holds_open_is_not_in_use(self, name):
        self.assertNotIn('is open', as_volume('device-mapper', name).reason)

    def test_an_open_lv_is_safe_where_the_operator_allows_it(self):
        policy = dataclasses.replace(ACTIVE, in_use=True)
        self.assertTrue(as_volume('device-mapper', 'open', policy).safe)

    def test_an_unknown_state_is_refused_unless_the_operator_allows_it(self):
        self.assertIn('that cannot be determined (lv_attr -wi-XX----)',
                      as_volume('zoo', 'size-1g', ACTIVE).reason)
        self.assertTrue(as_volume('zoo', 'size-1g', THICK).safe)

    @ddt.data(('exported', 'sound', 'exported volume group', 'vgimport'),
              ('partial', 'sound', 'a physical volume is missing',
               'vgreduce --removemissing'),
              ('partial', 'partial', 'is on a missing physical volume',
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
              ('thin-in-other-pool', THIN, 'is in thin pool other-pool'),
              ('size-1g', THIN, 'is thick'),
              ('vdo', THICK, 'is a VDO volume'))
    @ddt.unpack
    def test_an_lv_unlike_the_backends_is_a_type_mismatch(self, name, policy,
                                                          why):
        judged = as_volume('zoo', name, policy)
        self.assertIn(why, judged.reason)
        self.assertIs(Kind.TYPE_MISMATCH, judged.kind)

    def test_a_managed_lv_tells_its_owner(self):
        judged = as_volume('zoo', 'size-1g', claim=VolumeClaim(OWNER))
        self.assertIn('is already managed as volume some-id', judged.reason)
        self.assertIs(Kind.ALREADY_MANAGED, judged.kind)

    def test_all_reasons_are_told_together(self):
        judged = as_volume('zoo', 'thick-snapshot',
                           dataclasses.replace(ACTIVE, thin_pool='POOL'),
                           VolumeClaim(OWNER))
        self.assertIs(Kind.ALREADY_MANAGED, judged.kind)
        for why in ('is already managed', 'is a snapshot of origin',
                    'cannot be determined', 'is thick, but'):
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
             'thin', 'thin-snapshot', 'thin-snapshot-of-snapshot',
             'thin-on-external-origin', zoo.VOLUME, zoo.CLONE}, safe)


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
        judged = as_volume(with_room('zoo', free, 0), 'size-4m', self.POLICY)
        self.assertIs(safe, judged.safe)
        if not safe:
            self.assertIn(
                'must grow from 4194304 to 1073741824 bytes, but volume group '
                'scratch does not have enough free space', judged.reason)

    @ddt.data(('striped', units.Gi, units.Gi, True),
              ('striped', 2 * units.Gi, 0, False),
              ('raid1', units.Gi, units.Gi, True),
              ('raid1', 2 * units.Gi, 0, False))
    @ddt.unpack
    def test_each_image_needs_room_on_a_device_of_its_own(self, name, first,
                                                          second, safe):
        judged = as_volume(with_room('zoo', first, second), name, self.POLICY)
        self.assertIs(safe, judged.safe)

    @ddt.data(('zoo', 3 * units.Mi, 'size-4m', 1075838976, False),
              ('zoo', 4 * units.Mi, 'size-4m', None, True))
    @ddt.unpack
    def test_it_has_to_get_exactly_its_whole_gib(self, report, extent, name,
                                                 length, exact):
        lvs = dataclasses.replace(inventory(report), extent_size=extent)
        judged = as_volume(lvs, name, self.POLICY)
        self.assertIs(exact, judged.safe)
        if not exact:
            self.assertEqual(['extend-inexact'], codes(judged))
            self.assertIn(f'LVM would make it {length} bytes long',
                          judged.reason)

    def test_a_thin_lv_needs_no_room_in_the_group(self):
        lvs = with_room('device-mapper', 0, 0)
        thin = lvs.by_name['thin']._replace(size=units.Mi)
        lvs = dataclasses.replace(lvs, lvs=tuple(
            thin if lv.name == 'thin' else lv for lv in lvs.lvs))
        judged = as_volume(lvs, 'thin', dataclasses.replace(
            self.POLICY, thin_pool='scratch-pool'))
        self.assertEqual(('', units.Gi), (judged.reason, judged.extend_to))

    def test_an_active_origin_of_thick_snapshots_is_not_extended(self):
        judged = as_volume('device-mapper', 'origin', self.POLICY)
        self.assertIn('LVM cannot do while it is active and has thick '
                      'snapshots',
                      judged.reason)
        roomy = with_room('device-mapper', units.Gi, 0)
        inactive = dataclasses.replace(with_attr('origin', 4, '-'),
                                       physical_volumes=roomy.physical_volumes)
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
                           VolumeClaim(provisioning=frozenset(allowed)))
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

    def test_a_thin_snapshot_can_be_a_volume(self):
        self.assertTrue(as_volume('zoo', 'thin-snapshot', THIN).safe)
        self.assertTrue(as_snapshot('zoo', 'thin-snapshot', THIN).safe)

    def test_the_remedy_of_a_thin_snapshot_offers_a_volume(self):
        judged = as_snapshot('zoo', 'thin-snapshot', THIN, SnapshotClaim())
        self.assertIn('manage thin as a volume first, or manage this LV as a '
                      'volume', judged.reason)
        judged = as_snapshot('zoo', 'thick-snapshot', claim=SnapshotClaim())
        self.assertNotIn('or manage this LV', judged.reason)

    def test_a_thin_snapshot_that_cinder_named_is_no_volume(self):
        lvs = inventory('zoo')
        name = f'_snapshot-{uuid.UUID(int=1)}'
        lv = lvs.by_name['thin-snapshot']._replace(name=name)
        lvs = dataclasses.replace(lvs, lvs=(*lvs.lvs, lv))
        self.assertEqual(['snapshot'], codes(as_volume(lvs, name, THIN)))

    def test_a_read_only_base_says_that_its_clones_are_not_affected(self):
        lvs = inventory('zoo')
        base = lvs.by_name['thin']
        base = base._replace(attr=base.attr._replace(permissions='r'))
        lvs = dataclasses.replace(lvs, lvs=tuple(
            base if lv.name == 'thin' else lv for lv in lvs.lvs))
        judged = as_volume(lvs, 'thin', THIN)
        self.assertIn('this does not change thin-snapshot, which shares '
                      'blocks with it', judged.reason)

    def test_a_snapshot_of_a_hidden_origin_is_to_be_copied(self):
        lvs = inventory('zoo')
        hidden = lvs.by_name['origin']._replace(visible=False)
        lvs = dataclasses.replace(lvs, lvs=tuple(
            hidden if lv.name == 'origin' else lv for lv in lvs.lvs))
        self.assertIn('copy it to a new LV and manage that',
                      as_volume(lvs, 'thick-snapshot').reason)

    def test_a_thin_pool_is_not_called_thick(self):
        self.assertEqual(['thin-pool'],
                         codes(as_volume('zoo', 'scratch-pool', THIN)))

    def test_a_clone_that_cinder_named_is_no_snapshot(self):
        self.assertIn('is not a snapshot',
                      as_snapshot('zoo', zoo.CLONE, THIN).reason)

    def test_a_snapshot_of_an_lv_that_is_no_volume_is_refused(self):
        judged = as_snapshot('zoo', 'thick-snapshot', claim=SnapshotClaim())
        self.assertIn('is a snapshot of LV origin, which Cinder does not '
                      'manage',
                      judged.reason)
        self.assertIn('manage origin as a volume first', judged.reason)

    def test_a_snapshot_of_another_volume_is_refused(self):
        judged = as_snapshot('zoo', 'thick-snapshot', claim=SnapshotClaim(
            origin_owner=dataclasses.replace(OWNER, id='volume-a'),
            parent='volume-b'))
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


@ddt.ddt
class OwnerTest(unittest.TestCase):

    @ddt.data(
        ({}, 'already-managed', 'no action is needed'),
        ({'host': ''}, 'already-managed', 'no action is needed'),
        ({'host': 'here@other#pool'}, 'already-managed',
         'no action is needed'),
        ({'host': 'there@lvm#LVM'}, 'already-managed-elsewhere',
         'do not unmanage some-id'),
        ({'status': 'error_managing'}, 'manage-incomplete',
         'delete it, which restores the LV'),
        ({'status': 'error_deleting'}, 'owner-in-error',
         'find the cause in the log of cinder-volume'),
        ({'sign': Sign.ID_IN_NAME}, 'id-in-name',
         'if volume_name_template or snapshot_name_template has been changed'),
        ({'sign': Sign.ID_IN_NAME, 'host': 'there@lvm#LVM'}, 'id-in-name',
         '`lvrename scratch size-1g NEWNAME`'),
        ({'sign': Sign.ID_IN_NAME, 'host': ''}, 'id-in-name',
         'which exists in Cinder (if'))
    @ddt.unpack
    def test_the_remedy_depends_on_where_and_how_the_owner_is(
            self, fields, code, remedy):
        judged = as_volume('zoo', 'size-1g', claim=VolumeClaim(
            dataclasses.replace(OWNER, **fields)))
        self.assertEqual([code], codes(judged))
        self.assertIs(Kind.ALREADY_MANAGED, judged.kind)
        self.assertIn(remedy, judged.reason)

    def test_of_a_copy_that_was_adopted_the_tags_are_to_be_removed(self):
        lvs = inventory('zoo')
        lv = lvs.by_name['size-1g']._replace(
            tags=('cinder_lvm_manage:id=a', 'cinder_lvm_manage:name=b', 'c'))
        judged = verdict.judge(lv, lvs, VolumeClaim(dataclasses.replace(
            OWNER, host='there@lvm#LVM')), THICK)
        self.assertIn('`lvchange --deltag cinder_lvm_manage:id=a --deltag '
                      'cinder_lvm_manage:name=b scratch/NEWNAME`',
                      judged.reason)


@ddt.ddt
class GroupTest(unittest.TestCase):

    @ddt.data(
        ({'duplicates': ('/dev/sdx',)}, 'duplicate-devices', '/dev/sdx'),
        ({'unknown_types': ('tuna',)}, 'group-unknown-segments',
         'does not know all types of segments'),
        ({'locked': False}, 'no-lock', 'vgchange --lockstart scratch'),
        ({'metadata_free': 0}, 'metadata-full', 'has 0 bytes free'),
        ({'writeable': False}, 'group-read-only', 'read-only volume group'),
        ({'exported': True}, 'group-exported', 'vgimport scratch'),
        ({'partial': True}, 'group-partial',
         'vgreduce --removemissing scratch'))
    @ddt.unpack
    def test_what_keeps_lvm_from_changing_the_group_is_a_reason(
            self, fields, code, text):
        lvs = dataclasses.replace(inventory('zoo'), **fields)
        judged = as_volume(lvs, 'size-1g')
        self.assertEqual([code], codes(judged))
        self.assertIn(text, judged.reason)

    @ddt.data('vm_vdata', 'a_cvol', 'x_rimage_0', 'snapshot1', 'pvmove9',
              'x' * 119)
    def test_a_name_that_lvrename_would_refuse_is_a_reason(self, name):
        lvs = inventory('zoo')
        lv = lvs.by_name['size-1g']._replace(name=name)
        judged = verdict.judge(lv, lvs, UNCLAIMED, THICK)
        self.assertEqual(['name-not-restorable'], codes(judged))

    def test_an_lv_with_unknown_segments_is_not_to_be_removed(self):
        lvs = with_attr('active', 6, 'u')
        judged = as_volume(lvs, 'active', ACTIVE)
        self.assertEqual(['unknown-segments', 'group-unknown-segments'],
                         codes(judged))
        self.assertNotIn('lvremove', judged.reason)

    def test_a_character_that_no_lvm_is_known_to_print_is_a_reason(self):
        judged = as_volume(with_attr('active', 8, 'Q'), 'active', ACTIVE)
        self.assertEqual(['unknown-attr'], codes(judged))

    @ddt.data(('thin-in-other-pool', 'second-pool', THICK),
              ('thin-in-other-pool', 'second-pool', THIN),
              ('thin', 'thin-on-thick-backend', THICK))
    @ddt.unpack
    def test_the_remedy_for_a_thin_lv_depends_on_its_pool(self, name, code,
                                                          policy):
        self.assertEqual([code], codes(as_volume('zoo', name, policy)))

    @ddt.data(THICK, THIN)
    def test_a_pool_of_another_name_can_be_renamed_for_cinder(self, policy):
        zoo_lvs = inventory('zoo')
        lvs = dataclasses.replace(zoo_lvs, lvs=tuple(
            lv for lv in zoo_lvs.lvs if lv.name != 'scratch-pool'))
        judged = as_volume(lvs, 'thin-in-other-pool', policy)
        self.assertEqual(['other-pool'], codes(judged))
        self.assertIn('`lvrename scratch other-pool scratch-pool`',
                      judged.reason)


@ddt.ddt
class ActivationListsTest(unittest.TestCase):
    """The volume group is scratch; 'tagged' has the tags env=prod and web."""

    def judged(self, name='active', report='device-mapper', **lists):
        policy = dataclasses.replace(
            ACTIVE, activation=ActivationLists(**lists))
        lvs = inventory(report)
        return as_volume(dataclasses.replace(lvs, tags=('rack1',)), name,
                         policy)

    @ddt.data((), ('other',), ('scratch/active', '@rack2'),
              ('scratch/another', 'scratchy'))
    def test_volume_list_can_exclude_the_lv(self, entries):
        judged = self.judged(volume_list=entries)
        self.assertEqual(['not-in-volume-list'], codes(judged))
        self.assertIn('add "scratch" to activation/volume_list',
                      judged.reason)

    @ddt.data(None, ('scratch',), ('other', '@rack1'), ('@*',))
    def test_volume_list_can_include_the_lv(self, entries):
        self.assertTrue(self.judged(volume_list=entries).safe)

    def test_an_lv_is_included_by_its_own_tag(self):
        lvs = inventory('zoo')
        tag = lvs.by_name['tagged'].tags[0]
        for tags, expected in ((f'@{tag}', False), ('@no', True)):
            self.assertIs(
                expected, 'not-in-volume-list' in codes(self.judged(
                    'tagged', 'zoo', volume_list=(tags,))))

    @ddt.data(('scratch',), ('@rack1',))
    def test_a_read_only_volume_list_can_have_the_lv(self, entries):
        judged = self.judged(read_only_volume_list=entries)
        self.assertEqual(['in-read-only-volume-list'], codes(judged))

    @ddt.data((), ('other', '@rack2', '@*'), ('scratch/active',))
    def test_a_read_only_volume_list_can_lack_the_lv(self, entries):
        self.assertTrue(self.judged(read_only_volume_list=entries).safe)

    def test_a_snapshot_is_not_activated(self):
        policy = dataclasses.replace(
            ACTIVE, activation=ActivationLists(('other',), ('scratch',)))
        self.assertTrue(as_snapshot('device-mapper', 'thick-snapshot',
                                    policy).safe)

    def test_the_lists_do_not_matter_where_nothing_is_activated(self):
        policy = dataclasses.replace(
            THICK, activation=ActivationLists((), ('scratch',)))
        self.assertTrue(as_volume('zoo', 'size-1g', policy).safe)


QCOW2 = Image('qcow2', 10 * units.Gi)
VHDX = Image('vhdx')
CONVERSION = ('run `lvcreate --size 10737418240b --name NEWNAME scratch` and '
              '`qemu-img convert -n -f qcow2 -O raw /dev/scratch/size-1g '
              '/dev/scratch/NEWNAME`, and manage NEWNAME; or allow the format '
              'with lvm_manage_image_formats')


@ddt.ddt
class ContentsTest(unittest.TestCase):

    def judged(self, contents, claim=UNCLAIMED, name='size-1g', **policy):
        lvs = inventory('zoo')
        return verdict.judge(lvs.by_name[name], lvs, claim,
                             dataclasses.replace(THICK, **policy),
                             contents=contents)

    def test_an_image_is_refused_with_its_conversion(self):
        reason, = self.judged(Contents(images=(QCOW2,))).reasons
        self.assertEqual('image-format', reason.code)
        self.assertEqual(
            'contains a qcow2 image of 10 GiB, not a raw disk: instances '
            'would see the image file as their disk', reason.why)
        self.assertEqual(CONVERSION, reason.remedy)

    def test_headers_of_two_formats_are_named(self):
        judged = self.judged(Contents(images=(QCOW2, VHDX)))
        self.assertIn('contains a qcow2 image of 10 GiB and a vhdx image, ',
                      judged.reason)

    @ddt.data(((), ['image-format']), ({'vhdx'}, ['image-format']),
              ({'vhdx', 'qcow2'}, []))
    @ddt.unpack
    def test_the_operator_can_allow_a_format(self, formats, expected):
        judged = self.judged(Contents(images=(QCOW2,)),
                             image_formats=frozenset(formats))
        self.assertEqual(expected, codes(judged))

    def test_each_format_has_to_be_allowed(self):
        judged = self.judged(Contents(images=(QCOW2, VHDX)),
                             image_formats=frozenset({'qcow2'}))
        self.assertIn('contains a vhdx image, ', judged.reason)

    def test_the_metadata_of_a_storage_system_is_refused(self):
        judged = self.judged(Contents((
            Finding('GPT partition table'),
            Finding('sanlock leases', 'leave it to sanlock'))))
        self.assertEqual(['storage-metadata'], codes(judged))
        self.assertEqual('contains sanlock leases (leave it to sanlock)',
                         judged.reason)

    @ddt.data(Contents((Finding('ext4 file system'),)),
              Contents(note='not read: Input/output error'))
    def test_other_contents_are_safe(self, contents):
        self.assertTrue(self.judged(contents).safe)

    def test_an_lv_that_is_not_a_disk_by_its_tags_is_refused(self):
        lvs = inventory('zoo')
        lv = lvs.by_name['size-1g']._replace(tags=('ceph.osd_id=3',))
        judged = verdict.judge(lv, lvs, UNCLAIMED, THICK)
        self.assertEqual(['not-a-disk'], codes(judged))
        self.assertIn('belongs to Ceph OSD 3 (leave it to Ceph',
                      judged.reason)

    def test_an_lv_that_is_not_a_disk_by_its_groups_tags_is_refused(self):
        lvs = dataclasses.replace(inventory('zoo'),
                                  tags=('RHAT_storage_domain',))
        lv = lvs.by_name['size-1g']._replace(name='leases')
        self.assertEqual(
            ['not-a-disk'],
            codes(verdict.judge(lv, lvs, UNCLAIMED, THICK)))

    def test_a_disk_of_another_system_is_safe(self):
        lvs = inventory('zoo')
        lv = lvs.by_name['size-1g']._replace(name='vm-100-disk-0')
        self.assertTrue(verdict.judge(lv, lvs, UNCLAIMED, THICK).safe)

    @ddt.data(VolumeClaim(OWNER), SnapshotClaim(OWNER))
    def test_a_volume_in_cinder_is_not_judged_by_its_contents(self, claim):
        judged = self.judged(Contents((Finding('leases', 'leave it'),),
                                      (QCOW2,)), claim)
        self.assertNotIn('image-format', codes(judged))
        self.assertNotIn('storage-metadata', codes(judged))

    def test_a_snapshot_is_judged_by_its_contents(self):
        judged = self.judged(Contents(images=(QCOW2,)), OF_A_VOLUME,
                             'thick-snapshot')
        self.assertEqual(['image-format'], codes(judged))

    def test_an_lv_that_was_activated_is_judged_by_its_contents_only(self):
        lvs = inventory('device-mapper')
        lv = lvs.by_name['inactive']
        judged = verdict.judge_contents(lv, lvs, ACTIVE,
                                        Contents(images=(QCOW2,)))
        self.assertEqual(['image-format'], codes(judged))
        self.assertIn('(activate the LV with `lvchange --activate y '
                      '--ignoreactivationskip scratch/inactive`; then run '
                      '`lvcreate', judged.reason)
        self.assertTrue(verdict.judge_contents(lv, lvs, ACTIVE,
                                               Contents()).safe)


class RulesTest(unittest.TestCase):

    def test_each_rule_has_a_code_of_its_own(self):
        codes = [rule.code for table in (
                     rules.AS_ANY, rules.ABOUT_CONTENTS, rules.AS_VOLUME,
                     rules.AS_SNAPSHOT) for rule in table]
        self.assertEqual(len(codes), len(set(codes)))

    def test_every_reason_has_a_remedy(self):
        for report in ('zoo', 'device-mapper', 'partial', 'exported'):
            lvs = inventory(report)
            for lv in lvs.lvs:
                for reason in verdict.judge(
                        lv, lvs, UNCLAIMED, ACTIVE).reasons:
                    self.assertTrue(reason.why)
                    self.assertTrue(reason.remedy)
                    self.assertNotIn('{', str(reason))
