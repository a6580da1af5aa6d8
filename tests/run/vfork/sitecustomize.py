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

"""Makes every Python in the guest start commands with vfork.

Under User-Mode Linux, a fork of a process as large as Cinder takes a second.
Python uses vfork if there is no preexec_fn. oslo.concurrency passes one only
to reset SIGPIPE, which Popen does anyway.
"""

import subprocess
from typing import Any

_init = subprocess.Popen.__init__


def _init_without_preexec(self: Any, *args: Any, **options: Any) -> None:
    options.pop('preexec_fn', None)
    _init(self, *args, **options)


subprocess.Popen.__init__ = _init_without_preexec  # type: ignore[method-assign]
