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

"""Cinder's own unit tests of its LVM driver, with this driver in its place.

Their base class needs unittest: `python -m unittest`, not pytest.
"""

import types
from unittest import mock

from cinder.tests.unit.volume.drivers import test_lvm_driver as theirs

from cinder_lvm_manage.driver import LVMManageDriver


class LVMManageDriverTestCase(theirs.LVMVolumeDriverTestCase):
    driver_name = 'cinder_lvm_manage.driver.LVMManageDriver'

    def setUp(self):
        super().setUp()
        patched = mock.patch.object(
            theirs, 'lvm',
            types.SimpleNamespace(LVMVolumeDriver=LVMManageDriver))
        patched.start()
        self.addCleanup(patched.stop)
