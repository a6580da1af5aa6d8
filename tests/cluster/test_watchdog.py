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

"""A host fails while a server writes to a volume that it exports.

The hosts are virtual machines: sanlock has a watchdog that resets them. Each
write that was acknowledged must be there when the other host has taken over
the volume.
"""

import time

from tests.lab import cluster_hosts
from tests.lab import polling
from tests.lab.cluster_hosts import is_free

# In seconds: more than sanlock needs to regard a host as dead, on a busy
# machine.
_EXPIRY = 500
# In seconds: so long nothing may happen. In that time, a dead host would be
# regarded as dead.
_QUIET = 200


def _take_over(cinder, used, other):
    """Attach the volume again, and compare what was written."""
    used.stop_writing()
    for outcome in (used.detach(), used.attach()):
        print(outcome, flush=True)
        assert not outcome.error
    assert cinder.exporting(used.id) == other.name
    used.check_what_was_written()
    assert not used.detach().error


def test_a_host_that_loses_the_disk_is_reset_before_its_lv_is_free(
        cinder, used):
    one, two = cinder.owner_and_other(used.id)
    lv_name = f'volume-{used.id}'
    one.lose_disk()
    lost = time.monotonic()
    first = polling.wait_for(
        'the watchdog, or the LV to be free',
        lambda: 'reset' if not one.is_running else (
            'free' if is_free(two, lv_name) else ''), seconds=_EXPIRY)
    print(f'{first} {time.monotonic() - lost:.0f} s after it lost the disk',
          flush=True)
    assert first == 'reset'
    polling.wait_for('the LV to be free', lambda: is_free(two, lv_name),
                     seconds=_EXPIRY)
    print(f'free {time.monotonic() - lost:.0f} s after', flush=True)
    _take_over(cinder, used, two)
    cluster_hosts.restart(one)
    cinder.start_service(one)


def test_a_host_that_is_cut_off_keeps_its_lv_until_it_is_powered_off(
        cinder, used):
    one, two = cinder.owner_and_other(used.id)
    lv_name = f'volume-{used.id}'
    one.cut_off()
    cut = time.monotonic()
    while time.monotonic() - cut < _QUIET:
        assert not is_free(two, lv_name)
        time.sleep(5)
    assert one.is_running
    one.kill()
    killed = time.monotonic()
    polling.wait_for('the LV to be free', lambda: is_free(two, lv_name),
                     seconds=_EXPIRY)
    print(f'free {time.monotonic() - killed:.0f} s after it was powered off',
          flush=True)
    _take_over(cinder, used, two)
    one.reconnect()
    cluster_hosts.restart(one)
    cinder.start_service(one)
