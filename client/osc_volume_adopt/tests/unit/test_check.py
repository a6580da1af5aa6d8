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

"""What keeps a plan from being applied, and how that is reported."""

import dataclasses
import json
import unittest

import ddt

from osc_volume_adopt import check
from osc_volume_adopt import problems
from osc_volume_adopt import text
from osc_volume_adopt.api import VolumeType
from osc_volume_adopt.errors import BackendError
from osc_volume_adopt.manageable import Location
from osc_volume_adopt.plan import Plan
from osc_volume_adopt.problems import Problem
from osc_volume_adopt.projects import Access
from osc_volume_adopt.tests.unit import fakes
from osc_volume_adopt.volume_options import VolumeOptions


def lines(cinder, plan=None, access=None, **options):
    """The problems of a plan for all LVs, as an operator reads them."""
    plan = plan or Plan.of(cinder.lvs, VolumeOptions(**options))
    return problems.grouped(check.problems(cinder.api, plan.volumes, 1,
                                           access or {}))


def on(location, cinder):
    """The LVs, listed by another backend."""
    return [dataclasses.replace(lv, location=location) for lv in cinder.lvs]


def with_type(extra_specs=None, is_public=True):
    cinder = fakes.FakeCinder()
    cinder.types['gold'] = VolumeType('type-1', 'gold', extra_specs or {},
                                      is_public)
    return cinder


ALL = '3 volumes (data1, data2, data3): '


@ddt.ddt
class TypesTest(unittest.TestCase):

    def test_a_plan_without_problems(self):
        self.assertEqual([], lines(with_type(), volume_type='gold'))
        self.assertEqual([], lines(with_type(), volume_type='type-1'))

    def test_an_unknown_type(self):
        self.assertEqual(
            [ALL + "volume type 'gold' not found; available types: "
             '__DEFAULT__'], lines(fakes.FakeCinder(), volume_type='gold'))

    def test_no_type_where_there_is_no_default(self):
        cinder = fakes.FakeCinder()
        cinder.types.clear()
        self.assertEqual([ALL + 'no volume type is given, and Cinder has no '
                          'default volume type'], lines(cinder))

    @ddt.data('gold', None)
    def test_an_encrypted_type(self, name):
        cinder = with_type()
        # The default counts where no type is given.
        cinder.types['__DEFAULT__'] = cinder.types['gold']
        cinder.encrypted.add('type-1')
        self.assertEqual([ALL + "volume type 'gold' is encrypted; managed "
                          'volumes cannot use it'],
                         lines(cinder, volume_type=name))

    def test_a_private_type(self):
        cinder = with_type(is_public=False)
        self.assertEqual(
            [ALL + "volume type 'gold' is private, and project mine has no "
             'access to it (run `openstack volume type set --project mine '
             'gold`)'], lines(cinder, volume_type='gold'))
        cinder.access['type-1'] = {'mine'}
        self.assertEqual([], lines(cinder, volume_type='gold'))
        self.assertEqual(
            1, len(lines(cinder, volume_type='gold', project='web',
                         access={'web': Access('their-id', cinder.api)})))

    @ddt.data({'volume_backend_name': 'ssd'},
              {'capabilities:volume_backend_name': '<or> ssd <or> hdd'},
              {'thick_provisioning_support': '<is> False'},
              {'thin_provisioning_support': '<is> True'},
              {'replication_enabled': '<is> True'})
    def test_a_type_that_the_scheduler_refuses(self, specs):
        (key, requirement), = specs.items()
        self.assertEqual(
            [ALL + f"volume type 'gold' requires {key} = {requirement}, which "
             'host lab@lvm#lvm does not offer'],
            lines(with_type(specs), volume_type='gold'))

    def test_one_pool_that_fits_is_enough_for_a_whole_host(self):
        cinder = with_type({'volume_backend_name': 'ssd'})
        cinder.capabilities['lab@lvm#ssd'] = {'volume_backend_name': 'ssd'}
        for location, count in ((Location('lab@lvm'), 0),
                                (Location('lab@lvm#lvm'), 1),
                                (Location('lab@lvm#ssd'), 0)):
            plan = Plan.of(on(location, cinder),
                           VolumeOptions(volume_type='gold'))
            with self.subTest(location=location):
                self.assertEqual(count, len(lines(cinder, plan)))

    def test_the_pool_of_a_host_in_a_cluster(self):
        cinder = with_type({'volume_backend_name': 'lvm'})
        cinder.service = dataclasses.replace(cinder.service, cluster='c@lvm')
        cinder.capabilities = {'c@lvm#lvm': {'volume_backend_name': 'lvm'}}
        self.assertEqual([], lines(cinder, volume_type='gold'))

    def test_an_unknown_pool(self):
        cinder = fakes.FakeCinder()
        cinder.capabilities.clear()
        self.assertEqual([ALL + "Cinder's scheduler knows no pool of host "
                          'lab@lvm#lvm'], lines(cinder))

    @ddt.data(Location('lab@lvm#lvm'), Location(cluster='c@lvm'),
              Location(cluster='c@lvm#lvm'))
    def test_a_cluster_whose_pool_is_unknown_may_be_disabled(self, location):
        cinder = fakes.FakeCinder()
        cinder.service = dataclasses.replace(cinder.service, cluster='c@lvm')
        cinder.capabilities = {'c@lvm#lvm': {}}
        plan = Plan.of(on(location, cinder), VolumeOptions())
        self.assertEqual([], lines(cinder, plan))
        cinder.capabilities.clear()
        self.assertEqual(
            [ALL + f"Cinder's scheduler knows no pool of {location}. If "
             'cluster c@lvm is disabled, run `openstack block storage cluster '
             'set --enable c@lvm`'], lines(cinder, plan))

    @ddt.data(('thin', 'linear', True), ('thick', 'linear', False),
              ('thick', 'thin,sparse', True), ('thin', 'thin,sparse', False),
              ('Thick', 'linear', True), ('thin', '', False))
    @ddt.unpack
    def test_provisioning_is_as_the_driver_judges_it(self, asked, layout,
                                                     refused):
        cinder = with_type({'provisioning:type': asked})
        cinder.lvs = [fakes.lv(layout=layout)]
        found = lines(cinder, volume_type='gold')
        self.assertEqual(
            [(f"data1: volume type 'gold' has provisioning:type = {asked}, "
             f'but the LV is {cinder.lvs[0].provisioning}')]
            if refused else [], found)

    def test_provisioning_is_left_to_other_drivers(self):
        cinder = with_type({'provisioning:type': 'thin'})
        cinder.lvs = [fakes.lv(driver='other')]
        self.assertEqual([], lines(cinder, volume_type='gold'))


@ddt.ddt
class ChecksTest(unittest.TestCase):

    def test_a_zone(self):
        self.assertEqual([], lines(fakes.FakeCinder(),
                                   availability_zone='nova'))
        self.assertEqual(
            [ALL + "availability zone 'moon' is not that of the backend, "
             'nova'], lines(fakes.FakeCinder(), availability_zone='moon'))

    def test_a_quota(self):
        cinder = fakes.FakeCinder()
        cinder.quotas['mine'] = {
            'volumes': {'limit': 5, 'in_use': 2, 'reserved': 1},
            'gigabytes___DEFAULT__': {'limit': 2}}
        self.assertEqual(
            [('the quota of your project for volumes is too small: 3 needed, '
             '2 left'), ('the quota of your project for gigabytes___DEFAULT__ '
             'is too small: 3 needed, 2 left')], lines(cinder))

    def test_a_limit_per_volume(self):
        cinder = fakes.FakeCinder()
        cinder.quotas['mine'] = {'per_volume_gigabytes': {'limit': 0}}
        self.assertEqual([ALL + 'a volume of 1 GiB exceeds the limit of 0 GiB '
                          'per volume in your project'], lines(cinder))

    @ddt.data(
        (lambda lv: None, 'data2: LV not found on host lab@lvm#lvm'),
        (lambda lv: dataclasses.replace(
            lv, reference={'source-name': 'new'}),
         'data2: the LV is now named new'),
        (lambda lv: dataclasses.replace(lv, source_id='id-9'),
         ('data2: another LV has this name now: its UUID is id-9, not '
         'id-data2')),
        (lambda lv: dataclasses.replace(lv, size=5),
         'data2: the LV has 5 bytes now, but 4194304 in the plan'),
        (lambda lv: dataclasses.replace(lv, gib=2),
         'data2: the LV has 2 GiB now, but 1 in the plan'),
        (lambda lv: fakes.named('data2', fakes.UNSAFE),
         ('data2: not safe to manage: the LV is a thin pool (manage the thin '
         'volumes in it)')),
        (lambda lv: fakes.named('data2', fakes.UNSAFE, driver='other'),
         ('data2: not safe to manage: is a thin pool (manage the thin volumes '
         'in it)')))
    @ddt.unpack
    def test_an_lv_that_is_no_longer_as_planned(self, change, line):
        cinder = fakes.FakeCinder()
        plan = Plan.of(cinder.lvs, VolumeOptions())
        lv = change(cinder.lvs[1])
        cinder.lvs[1:2] = [lv] if lv else []
        self.assertEqual([line], lines(cinder, plan))

    def test_equal_reasons_are_reported_once(self):
        cinder = fakes.FakeCinder()
        plan = Plan.of(cinder.lvs, VolumeOptions())
        cinder.lvs = [fakes.named(
            lv.name, fakes.UNSAFE, reasons=json.dumps([
                {'code': 'read-only', 'kind': 'unsafe', 'why': 'is read-only',
                 'remedy': f'run `lvchange --permission rw vg/{lv.name}`'}]))
            for lv in cinder.lvs]
        self.assertEqual(
            [ALL + 'not safe to manage: the LV is read-only (for data1: run '
             '`lvchange --permission rw vg/data1`)'], lines(cinder, plan))


class VolumeNamesTest(unittest.TestCase):

    def volume(self, name, project='mine', status='available'):
        return {'id': f'id-of-{name}', 'name': name, 'status': status,
                'os-vol-tenant-attr:tenant_id': project}

    def test_a_name_that_is_used_twice_in_the_plan(self):
        self.assertEqual(
            [ALL + "volume name 'disk' is used more than once in the plan "
             '(set another name in the plan, or null for none)'],
            lines(fakes.FakeCinder(), name_template='disk'))
        self.assertEqual([], lines(fakes.FakeCinder(), name_template=''))

    def test_a_name_that_a_volume_of_the_project_has(self):
        for volume, found in (
                (self.volume('data1'), True), (self.volume('data4'), False),
                (self.volume('data1', 'theirs'), False),
                (self.volume('data1', status='error'), False)):
            cinder = fakes.FakeCinder()
            cinder.volumes['x'] = volume
            with self.subTest(volume=volume):
                self.assertEqual(
                    [("data1: volume name 'data1' is already that of volume "
                      'id-of-data1 (set another name in the plan, or null for '
                      'none)')] if found else [], lines(cinder))

    def test_names_are_compared_in_the_project_that_gets_the_volume(self):
        cinder = fakes.FakeCinder()
        cinder.volumes['x'] = self.volume('data1', 'their-id')
        self.assertEqual([], lines(cinder))
        self.assertEqual(1, len(lines(cinder, None, {
            'theirs': Access('their-id', cinder.api)}, project='theirs')))


class PoolTest(unittest.TestCase):

    def pools(self, location, *pools, cluster=None):
        cinder = fakes.FakeCinder()
        cinder.service = dataclasses.replace(cinder.service, cluster=cluster)
        cinder.capabilities = {name: {} for name in pools}
        check.require_pool(cinder.api, location)

    def test_a_pool_that_the_backend_does_not_have(self):
        with self.assertRaisesRegex(
                BackendError, 'Cinder has no host lab@lvm#lvm: lab@lvm has no '
                              'pool lvm. Known: hdd, ssd.'):
            self.pools(fakes.HOST, 'lab@lvm#ssd', 'lab@lvm#hdd', 'x@y#lvm')

    def test_several_pools_of_which_none_is_named(self):
        with self.assertLogs(check.LOG, 'WARNING') as logged:
            self.pools(Location('lab@lvm'), 'lab@lvm#ssd', 'lab@lvm#hdd')
        self.assertIn('host lab@lvm has several pools: hdd, ssd.',
                      logged.output[0])

    def test_a_pool_that_the_backend_has(self):
        with self.assertNoLogs(check.LOG):
            self.pools(fakes.HOST, 'lab@lvm#lvm', 'lab@lvm#ssd')
            self.pools(Location('lab@lvm'), 'lab@lvm#lvm')
            self.pools(fakes.HOST, 'c@lvm#lvm', cluster='c@lvm')
            # The scheduler knows none yet: the check of the types says so.
            self.pools(fakes.HOST)


@ddt.ddt
class ServiceTest(unittest.TestCase):

    @ddt.data(
        ({'host': 'other@lvm'}, fakes.HOST,
         ('Cinder has no host lab@lvm#lvm: no cinder-volume service is named '
         'lab@lvm. Known: other@lvm.')),
        ({'up': False}, fakes.HOST,
         ('The cinder-volume service of lab@lvm is down .last seen 2026-01-01T'
         '00:00:00.000000.. Start it, then retry.')),
        ({'enabled': False}, fakes.HOST,
         'The cinder-volume service of lab@lvm is disabled. Enable it'),
        ({}, Location(cluster='c@lvm'),
         'Cinder has no cluster c@lvm: .* Known: none.'),
        ({'up': False, 'cluster': 'c@lvm'}, Location(cluster='c@lvm#lvm'),
         'The cinder-volume service of c@lvm is down'))
    @ddt.unpack
    def test_a_backend_that_cannot_answer(self, fields, location, words):
        cinder = fakes.FakeCinder()
        cinder.service = dataclasses.replace(cinder.service, **fields)
        with self.assertRaisesRegex(BackendError, words):
            check.require_service(cinder.api, location)

    @ddt.data((True, 'use host other@lvm[.]'), (False, 'Start it, then retry'))
    @ddt.unpack
    def test_another_service_of_the_cluster_can_do_the_work(self, up, words):
        cinder = fakes.FakeCinder()
        down = dataclasses.replace(cinder.service, up=False, cluster='c@lvm')
        others = (dataclasses.replace(down, host='other@lvm', up=up),
                  dataclasses.replace(down, host='alone@lvm', cluster=None,
                                      up=True))
        api = cinder.api
        api.services.side_effect = lambda: [down, *others]
        with self.assertRaisesRegex(BackendError, words):
            check.require_service(api, fakes.HOST)
        if up:
            check.require_service(api, Location(cluster='c@lvm'))

    def test_a_volume_of_a_cluster_needs_any_of_its_services(self):
        cinder = fakes.FakeCinder()
        down = dataclasses.replace(cinder.service, up=False, cluster='c@lvm')
        up = dataclasses.replace(down, host='other@lvm', up=True)
        volume = {'os-vol-host-attr:host': fakes.HOST.name}
        api = cinder.api
        api.services.side_effect = lambda: [down, up]
        check.require_services_of(api, [volume])
        api.services.side_effect = lambda: [down]
        with self.assertRaisesRegex(BackendError, 'c@lvm is down'):
            check.require_services_of(api, [volume])


@ddt.ddt
class TextTest(unittest.TestCase):

    def test_equal_problems_are_one_line(self):
        self.assertEqual(
            ['200 volumes (lv-0, lv-1, lv-10, ...): is gone (look)',
             'lv-7: is open (close it)', 'the whole plan'],
            problems.grouped([
                *(Problem('is gone', f'lv-{number}', 'look')
                  for number in range(200)),
                Problem('is open', 'lv-7', 'close it'),
                Problem('the whole plan')]))

    @ddt.data((0, '0 bytes'), (1, '1 byte'), (4194304, '4 MiB'),
              (4718592, '4.5 MiB'), (12 * 2 ** 30, '12 GiB'),
              (2 ** 30 + 2 ** 22, '1.004 GiB'), (2 ** 41, '2048 GiB'))
    @ddt.unpack
    def test_a_size_is_readable(self, size, readable):
        self.assertEqual(readable, text.size(size))
