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

"""What the audit of a backend finds, and what it does not take for a problem.
"""

import dataclasses
import json
from typing import Any
import unittest

import ddt

from osc_volume_adopt import audit
from osc_volume_adopt.snapshots import Snapshot
from osc_volume_adopt.tests.unit import fakes

ID, OTHER = (f'{digit * 8}-1111-4111-8111-111111111111' for digit in '12')
SERVICE = fakes.FakeCinder().service


def volume(**fields):
    return {'id': ID, 'status': 'available', 'size': 1,
            'os-vol-host-attr:host': 'lab@lvm#lvm',
            'os-vol-mig-status-attr:migstat': None,
            'os-vol-mig-status-attr:name_id': None, **fields}


def lv(name='data1', cinder_id=None, codes=(), **fields):
    return dataclasses.replace(fakes.named(
        name, (fakes.UNSAFE if codes else fakes.SAFE)
        | {'cinder_id': cinder_id}, reasons=json.dumps(
            [fakes.THIN_POOL | {'code': code} for code in codes])),
        size=4194304, **fields)


def owned(**fields):
    return lv(f'volume-{ID}', ID, ['already-managed'],
              **{'named_for': ID, **fields})


def found(volumes, lvs, snapshots=(), later=None):
    """The findings, by Cinder's answers at first and later."""
    cinder = fakes.FakeCinder()
    api = cinder.api
    api.all_volumes.side_effect = lambda: iter(volumes)
    api.volume.side_effect = {each['id']: each for each in (
        volumes if later is None else later)}.get
    cinder.lvs = list(lvs)
    cinder.snapshot_lvs = [Snapshot(each, 'data1', 'thin')
                           for each in snapshots]
    return list(audit.findings(audit.Inventory.read(
        api, fakes.HOST, [SERVICE])))


FOUND: tuple[tuple[Any, Any, Any], ...] = (
    ([volume()], [], ['lv-missing']),
    ([volume(status='error')], [], ['never-available']),
    ([], [lv(named_for=OTHER)], ['volume-missing']),
    ([], [lv(named_for=OTHER, adopter=OTHER, former_name='web')],
     ['volume-missing']),
    ([], [lv(adopter=OTHER)], ['tags-without-volume']),
    ([volume(status='error')],
     [lv(cinder_id=ID, codes=['manage-incomplete'], adopter=ID)],
     ['manage-incomplete']),
    ([volume()], [owned(adopter=OTHER)], ['tags-of-another']),
    ([volume()], [owned(adopter=ID), lv('copy', adopter=ID)],
     ['tags-without-volume', 'same-tags']),
    ([volume()], [owned(named_for='')], ['lv-renamed']),
    ([volume(size=2)], [owned()], ['size-differs']),
    ([volume(status='error')],
     [owned(), lv('x', OTHER, ['owner-in-error'], named_for=OTHER)],
     ['owner-in-error']),
    ([], [lv(cinder_id=ID, codes=['already-managed-elsewhere'])],
     ['already-managed-elsewhere']),
    ([volume()], [lv(f'old-{ID}', ID, ['id-in-name'])], ['id-in-name']))


@ddt.ddt
class AuditTest(unittest.TestCase):

    @ddt.data(*FOUND)
    @ddt.unpack
    def test_what_is_found(self, volumes, lvs, codes):
        findings = found(volumes, lvs)
        self.assertEqual(codes, [each.code for each in findings])
        for each in findings:
            self.assertTrue(each.problem.endswith('.'), each)
            self.assertTrue(each.remedy)
            self.assertIn(each.code, audit.CODES)

    @ddt.data(
        ([volume()], [owned(), lv()]),
        ([volume()], [owned(adopter=ID, former_name='data1')]),
        # After a migration, Cinder names the LV for another ID.
        ([volume(**{'os-vol-mig-status-attr:name_id': OTHER})],
         [owned(named_for=OTHER)]),
        # Other backends, and what is being worked on.
        ([volume(**{'os-vol-host-attr:host': 'lab@other#lvm'})], []),
        ([volume(**{'os-vol-host-attr:host': None})], []),
        ([volume(status='creating')], []),
        ([volume(status='deleting')], []),
        ([volume(**{'os-vol-mig-status-attr:migstat': 'migrating'})], []),
        ([volume(status='extending', size=2)], [owned()]))
    @ddt.unpack
    def test_what_is_no_problem(self, volumes, lvs):
        self.assertEqual([], found(volumes, lvs))

    @ddt.data([], [volume(status='deleting')])
    def test_a_volume_that_is_deleted_during_the_audit(self, later):
        self.assertEqual([], found([volume()], [], later=later))

    def test_snapshots_are_audited_too(self):
        snapshot = lv(f'_snapshot-{OTHER}', named_for=OTHER)
        # It is listed as a volume, too.
        finding, = found([], [snapshot], [snapshot])
        self.assertEqual(('volume-missing', OTHER),
                         (finding.code, finding.volume))
        self.assertEqual([], found([], [], [lv(
            f'_snapshot-{OTHER}', OTHER, ['already-managed'],
            named_for=OTHER)]))

    def test_metadata_decide_nothing(self):
        forged = volume(metadata={'adopted_by_plan': 'p1/data2'})
        self.assertEqual(found([volume()], [owned(), lv('data2')]),
                         found([forged], [owned(), lv('data2')]))

    def test_every_code_has_a_test(self):
        self.assertEqual(audit.CODES.keys(), {
            code for _, _, codes in FOUND for code in codes})
