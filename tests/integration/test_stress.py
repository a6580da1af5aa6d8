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

"""Many listings at once while LVs are managed and unmanaged, over HTTP.

This test finds an HTTP error, a listing that misses LVs, a manage that fails
during listings, and a deadlock. It measures neither time nor memory, which
depend on what else the machine does; `python -m tests.shows.stress` prints
them. A test in tests/functional/test_volumes.py finds a leak of memory.
"""

from tests.lab import stress

LVS = 1_200


def test_every_listing_shows_every_lv():
    for _ in stress.rounds(LVS, 1):
        pass
