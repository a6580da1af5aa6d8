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

"""cinder-rtstool, whose iSCSI targets are files: one for each export.

Cinder's driver for LIO changes the kernel's targets with this command, which
needs the device of an active LV. It runs this script instead, which does and
answers what cinder-rtstool of Cinder 29.0.0 does and answers.
"""

from __future__ import annotations

import pathlib
import shlex

COMMAND = 'cinder-rtstool'

_SCRIPT = r"""#!/bin/bash
cd {folder} || exit 1
target() {{
    [ -e "$1" ] || {{ echo "Could not find target $1" >&2; exit 1; }}
}}
case $1 in
create)
    : >>"$3";;
delete)
    rm -f "$2";;
add-initiator)
    target "$2"
    grep -qxF -- "$5" "$2" || echo "$5" >>"$2";;
delete-initiator)
    target "$2"
    initiators=$(grep -vxF -- "$3" "$2")
    printf "${{initiators:+%s\n}}" "$initiators" >"$2";;
get-targets)
    ls;;
esac
"""


def write(commands: pathlib.Path, folder: pathlib.Path) -> None:
    """Write the command.

    :param folder: for the files, each with the initiators that have access
    """
    folder.mkdir(exist_ok=True)
    script = commands / COMMAND
    script.write_text(_SCRIPT.format(folder=shlex.quote(str(folder))))
    script.chmod(0o755)
