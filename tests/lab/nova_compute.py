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

"""The command nova-compute, with a libvirt older than 9.2.

For an UEFI guest, Nova since release 33 lets libvirt choose the firmware, and
says in the attribute `secure` of <loader> whether it must support secure boot.
libvirt 8.6 to 9.1, among them that of Debian 12, refuse this: "loader
attribute 'secure' cannot be specified when firmware autoselection is enabled".
Nova 34 says the same in <firmware> too, so the attribute is left out here.
"""

from __future__ import annotations

# The first import, because it may patch the standard library.
from nova.cmd import compute

# isort: split

import sys

from nova.virt.libvirt import config


def main() -> int | None:
    """Run the command."""
    config.LibvirtConfigGuest.os_loader_secure = property(
        lambda guest: None, lambda guest, value: None)
    return compute.main()


if __name__ == '__main__':
    sys.exit(main())
