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

"""The list of what can be managed: its fields, its order and its pages."""

from typing import Any

from tempest.lib import decorators
from tempest.lib import exceptions

from cinder_lvm_manage_tempest_plugin.tests.api import base


# No other test may create volumes meanwhile: pages are compared with the
# whole list.
@decorators.serial
class ListVolumesTest(base.ManageTest):
    """Three unmanaged LVs, one of them larger, and a volume."""

    @classmethod
    def resource_setup(cls):
        """Create them."""
        super().resource_setup()
        cls.lvs = [cls.create_lv(size) for size in (1, 2, 1)]
        cls.volume = cls.create_volume()

    def page(self, detail=True, **query):
        return self.manageable.list_volumes(
            detail, **self.backend(), **query)['manageable-volumes']

    def names(self, **query):
        return [entry['reference']['source-name']
                for entry in self.page(**query)]

    @decorators.idempotent_id('9e1ee1bc-a325-4427-95c0-3bda2aceefdd')
    def test_the_summary_has_three_fields(self):
        lv = self.lvs[1]
        self.assertIn({'reference': lv.by_name, 'size': 2,
                       'safe_to_manage': True},
                      list(self.entries(detail=False)))

    @decorators.idempotent_id('dd70045d-244f-4278-9219-a751f140357b')
    def test_an_lv_in_detail(self):
        entry = self.entry(self.lvs[1])
        extra_info = entry.pop('extra_info')
        self.assertEqual(
            {'reference': self.lvs[1].by_name, 'size': 2,
             'safe_to_manage': True, 'reason_not_safe': None,
             'cinder_id': None}, entry)
        self.assertEqual(str(2 * 1024 ** 3), extra_info['size_bytes'])
        self.assertEqual(set(), {
            key for key, value in extra_info.items()
            if not isinstance(value, str)})

    @decorators.idempotent_id('b99ce612-34e9-403f-b488-ac753d626aab')
    def test_the_lv_of_a_volume_is_not_safe(self):
        entry = self.entry(self.lv_of(self.volume))
        self.assertEqual((False, self.volume['id']),
                         (entry['safe_to_manage'], entry['cinder_id']))
        self.assertIn('managed', entry['reason_not_safe'])

    @decorators.idempotent_id('36da1cd1-51c9-451f-a1fd-b5c3d5e780c8')
    def test_order_by_size(self):
        for direction, reverse in (('asc', False), ('desc', True)):
            sizes = [entry['size'] for entry in self.entries(
                sort=f'size:{direction}')]
            self.assertEqual(sorted(sizes, reverse=reverse), sizes)

    @decorators.idempotent_id('f691c62a-505e-4d5d-ab55-a0398a13fa96')
    def test_order_by_reference(self):
        for direction, reverse in (('asc', False), ('desc', True)):
            names = [entry['reference']['source-name']
                     for entry in self.entries(
                         sort=f'reference:{direction}')]
            self.assertEqual(sorted(names, reverse=reverse), names)

    @decorators.idempotent_id('1dbff50d-8e7d-490f-9cb2-556ac527ca2b')
    def test_order_by_size_and_then_by_reference(self):
        rows = [(-entry['size'], entry['reference']['source-name'])
                for entry in self.entries(sort='size:desc,reference:asc')]
        self.assertEqual(sorted(rows), rows)

    @decorators.idempotent_id('3f1b4466-fad5-40ab-b878-bc0713d2e667')
    def test_pages_after_markers_are_the_whole_list(self):
        order = 'size:desc,reference:asc'
        self.assertEqual(list(self.entries(sort=order)),
                         list(self.entries(sort=order, limit=2)))

    @decorators.idempotent_id('d488f4af-2923-448e-b8f3-67ab3a17d525')
    def test_the_marker_may_be_a_uuid(self):
        lv = self.lvs[0]
        pages = [self.names(sort='reference:asc', marker=marker)
                 for marker in (lv.by_name, lv.by_uuid)]
        self.assertEqual(pages[0], pages[1])
        self.assertNotIn(lv.name, pages[0])
        self.assertEqual(
            {other.name for other in self.lvs if other.name > lv.name},
            {other.name for other in self.lvs} & set(pages[0]))

    @decorators.idempotent_id('9cbda328-6526-4321-92eb-58553806de4d')
    def test_limit_and_offset(self):
        names = self.names(sort='reference:asc')
        for offset in range(3):
            for limit in (1, 2):
                self.assertEqual(
                    names[offset:offset + limit],
                    self.names(sort='reference:asc', offset=offset,
                               limit=limit))
        self.assertEqual([], self.page(offset=len(names), limit=1))
        self.assertEqual([], self.page(limit=0))

    @decorators.idempotent_id('21190b0f-2d7d-4842-96ff-b9bb2d12a46a')
    def test_offset_counts_from_the_marker(self):
        names = self.names(sort='reference:asc')
        self.assertEqual(
            names[2:3],
            self.names(sort='reference:asc', offset=1, limit=1,
                       marker={'source-name': names[0]}))

    @decorators.idempotent_id('f07327c0-1022-4b55-b0b2-a98147f3f79d')
    def test_invalid_requests(self):
        queries: list[dict[str, Any]] = [
            {'sort': 'attr'}, {'sort': 'size:up'},
            {'limit': -1}, {'limit': 'all'}, {'offset': -1},
            {'marker': 'no JSON'}, {'marker': {}},
            {'marker': {'source-name': 'no-such-lv'}}]
        for query in queries:
            self.assertRaises(exceptions.BadRequest, self.page, **query)

    @decorators.idempotent_id('f3e23c4b-b867-423b-9ba3-250c9e708084')
    def test_a_backend_that_does_not_exist(self):
        self.assertRaises((exceptions.BadRequest, exceptions.NotFound),
                          self.manageable.list_volumes, **self.no_backend())
        self.assertRaises(exceptions.BadRequest, self.manageable.list_volumes)
