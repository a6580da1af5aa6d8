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

"""What tox.ini needs and tox does not provide."""

from __future__ import annotations

from tox.config.sets import EnvConfigSet
from tox.plugin import impl
from tox.session.state import State

from tests.lab import signals

# By default SIGTERM and SIGHUP kill tox, and the tests go on without it.
signals.unwind_when_stopped()


@impl
def tox_add_env_config(env_conf: EnvConfigSet, state: State) -> None:
    """Add the key bindep to environments."""
    env_conf.add_config(
        'bindep', of_type=str, default='',
        desc='profiles of bindep.txt whose packages the environment needs')
