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

from cinder import objects
import os_brick.privileged
import pytest

# Cinder's modules use the objects when they are imported.
objects.register_all()


@pytest.fixture(autouse=True)
def unprivileged_commands() -> None:
    """Run os-brick's privileged functions in this process, without a daemon.

    What they run here is at most a script in place of lvm.
    """
    os_brick.privileged.default.set_client_mode(False)
