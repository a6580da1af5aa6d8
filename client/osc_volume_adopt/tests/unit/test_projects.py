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

"""Access to projects, and whether volumes are managed in them."""

import dataclasses
import unittest

import ddt

from osc_volume_adopt import projects
from osc_volume_adopt.errors import TokenError
from osc_volume_adopt.tests.unit import fakes
from osc_volume_adopt.tests.unit.cases import plan
from osc_volume_adopt.tests.unit.cases import plan_by_uuid


@ddt.ddt
class AccessTest(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.cinder = fakes.FakeCinder()
        self.cinder.projects['my-own'] = 'mine'

    @ddt.data((plan_by_uuid, True, True), (plan_by_uuid, False, False),
              (plan, True, False), (plan, False, False))
    @ddt.unpack
    def test_who_may_manage_there_does(self, make, admin, direct):
        self.cinder.admin_of = {'their-id'} if admin else set()
        entries = make(project='theirs').volumes
        access, problems = projects.access(self.cinder.api, entries)
        self.assertEqual([], problems)
        self.assertEqual('their-id', access['theirs'].id)
        self.assertIs(direct, projects.direct(entries[0], access) is not None)

    def test_the_callers_project_needs_no_other_token(self):
        api = self.cinder.api
        access, _ = projects.access(api,
                                    plan_by_uuid(project='my-own').volumes)
        self.assertIs(api, access['my-own'].api)
        api.for_project.assert_not_called()

    def test_no_project_is_the_callers(self):
        entry = plan_by_uuid().volumes[0]
        self.assertEqual(({}, []), projects.access(self.cinder.api, [entry]))
        self.assertIsNone(projects.direct(entry, {}))

    def test_what_prevents_access_is_reported(self):
        api = self.cinder.api
        api.for_project.side_effect = TokenError('no role')
        entries = [dataclasses.replace(plan().volumes[0], project=name)
                   for name in ('theirs', 'nowhere')]
        access, problems = projects.access(api, entries)
        self.assertEqual({}, access)
        self.assertEqual(
            [('volumes cannot get into project theirs, because you cannot '
              'get a token for it: no role'),
             'project nowhere not found, or not visible to you'],
            [problem.text for problem in problems])
