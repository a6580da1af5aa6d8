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

"""Tests that ask the volume API only, and reach no volume group.

Each makes its LVs through Cinder and unmanages them: an LV that Cinder made
keeps its name, and lies in the group as an operator's would. So these tests
see LVs of whole GiB only, that nothing holds open, of the backend's own kind
and with names of Cinder's form. What needs others (pools, LVs that LVM hides,
odd sizes, names, tags, states and snapshots that Cinder did not take) needs
the volume group, and is tested beside this driver's source, in tests/.
"""
