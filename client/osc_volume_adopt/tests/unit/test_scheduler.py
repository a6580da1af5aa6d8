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

"""Extra specs are compared with capabilities as Cinder's scheduler does.

tests/integration/test_adopt_many.py compares these tables with Cinder's code.
"""

import unittest

import ddt

from osc_volume_adopt import scheduler

# The value of a capability, the extra spec, and whether that is satisfied.
REQUIREMENTS = (
    ('lvm', 'lvm', True),
    ('lvm', 'ssd', False),
    ('lvm', 'LVM', False),
    ('two words', 'two words', True),
    ('', '', True),
    (None, 'lvm', False),
    # Without an operator, a boolean is not a string.
    (True, 'True', False),
    (5, '5', False),
    (True, '<is> True', True),
    (True, '<is> yes', True),
    (True, '<is> False', False),
    (False, '<is> False', True),
    (False, '<is> anything', True),
    ('on', '<is> True', True),
    (None, '<is> False', False),
    (True, '<is>', False),
    ('iscsi-and-fc', '<in> fc', True),
    ('iscsi', '<in> fc', False),
    (True, '<in> fc', False),
    ('b', '<or> a <or> b', True),
    ('a', '<or> a <or> b', True),
    ('c', '<or> a <or> b', False),
    ('b', '<or> a b', False),
    ('a', '<or> a <or>', True),
    (None, '<or> a', False),
    ('lvm', 's== lvm', True),
    ('lvm', 's== ssd', False),
    ('lvm', 's== lvm and more', True),
    ('lvm', 's!= ssd', True),
    ('lvm', 's!= lvm', False),
    ('b', 's< c', True),
    ('b', 's<= b', True),
    ('b', 's> a', True),
    ('b', 's>= c', False),
    (5, 's< c', False),
    (5, '= 5', True),
    (6, '= 5', True),
    (4, '= 5', False),
    ('6.5', '>= 5', True),
    (4, '>= 5', False),
    (4, '<= 5', True),
    (6, '<= 5', False),
    (5, '== 5.0', True),
    (5, '!= 5', False),
    (4, '!= 5', True),
    ('many', '>= 5', False),
    (5, '>= many', False),
    ([5], '>= 5', False),
    ('<is>', '<is', False),
    ('= 5', '=5', False),
)

CAPABILITIES = {'volume_backend_name': 'lvm', 'multiattach': True,
                'thin_provisioning_support': False,
                'thick_provisioning_support': True,
                'protocols': ['iSCSI', 'iscsi'], 'nested': {'depth': 2},
                'storage_protocol': 'iSCSI'}
# Extra specs, and those of them that these capabilities fail.
SPECS: tuple[tuple[dict[str, str], list[str]], ...] = (
    ({}, []),
    ({'volume_backend_name': 'lvm'}, []),
    ({'volume_backend_name': 'ssd'}, ['volume_backend_name']),
    ({'capabilities:volume_backend_name': 'ssd'},
     ['capabilities:volume_backend_name']),
    ({'capabilities:volume_backend_name': '<or> ssd <or> lvm'}, []),
    ({'thin_provisioning_support': '<is> True'},
     ['thin_provisioning_support']),
    ({'thick_provisioning_support': '<is> True'}, []),
    ({'capabilities:thick_provisioning_support': '<is> False'},
     ['capabilities:thick_provisioning_support']),
    ({'thick_provisioning_support': 'True'}, ['thick_provisioning_support']),
    ({'multiattach': '<is> True', 'replication_enabled': '<is> True'},
     ['replication_enabled']),
    ({'provisioning:type': 'thin', 'hp3par:cpg': 'x'}, []),
    ({'protocols': 'iscsi'}, []),
    ({'protocols': 'fc'}, ['protocols']),
    ({'nested': 'x'}, ['nested']),
    ({'capabilities:nested:depth': '>= 2'}, []),
    ({'capabilities:nested:missing': '1'}, ['capabilities:nested:missing']),
    ({'capabilities:multiattach:depth': '1'},
     ['capabilities:multiattach:depth']),
)


@ddt.ddt
class SchedulerTest(unittest.TestCase):

    @ddt.data(*REQUIREMENTS)
    @ddt.unpack
    def test_a_requirement(self, value, requirement, satisfied):
        self.assertIs(satisfied, scheduler.satisfies(value, requirement))

    @ddt.data(*SPECS)
    @ddt.unpack
    def test_extra_specs(self, extra_specs, unmet):
        self.assertEqual(unmet, list(scheduler.unmet(extra_specs,
                                                     CAPABILITIES)))

    def test_what_the_api_does_not_show_is_not_refused(self):
        # The scheduler knows iscsi, too.
        self.assertEqual([], list(scheduler.unmet(
            {'storage_protocol': 'iscsi'}, CAPABILITIES)))
