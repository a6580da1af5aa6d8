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

"""Tests that use the volume API only, and no volume group.

Each creates its LVs through Cinder and unmanages them. Such an LV keeps its
name, and is in the group as if an operator had created it. So these tests
cover only LVs whose size is a whole number of GiB, that nothing holds open,
thick or thin as the backend's are, and with names of Cinder's form. The tests
beside the driver's source cover the others: pools, hidden LVs, other sizes,
names, tags and states, and snapshots that Cinder did not take.
"""
