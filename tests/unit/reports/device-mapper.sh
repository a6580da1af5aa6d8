#!/usr/bin/env bash
# Makes LVs in the states that only device-mapper knows and prints the report
# of them. As root, on a host with device-mapper:
#   device-mapper.sh DEVICE COMMAND...
# DEVICE is a spare disk of 1 GiB; COMMAND is the report, as
#   python -c 'import shlex
#   from cinder_lvm_manage.volume_group import REPORT
#   print(shlex.join(REPORT))'
# prints it.
set -eu
device=$1
shift

make() {
    lvcreate --yes --quiet "$@" >&2
}

vgcreate --quiet scratch "$device" >&2
make --name active --size 8m scratch
make --name inactive --size 8m scratch
make --name open --size 8m scratch
make --name suspended --size 8m scratch
make --name read-only --size 8m --permission r scratch
make --name read-only-activation --size 8m scratch
make --name origin --size 8m scratch
make --name thick-snapshot --snapshot --size 8m scratch/origin
make --name overflowed-origin --size 8m scratch
make --name overflowed --snapshot --size 4m scratch/overflowed-origin
make --type thin-pool --name scratch-pool --size 64m scratch
make --name thin --virtualsize 1g --thinpool scratch-pool scratch
make --name thin-snapshot --snapshot scratch/thin
make --type thin-pool --name full-pool --size 4m scratch
lvchange --errorwhenfull y scratch/full-pool >&2
make --name thin-in-full-pool --virtualsize 1g --thinpool full-pool scratch

lvchange --activate n scratch/inactive
lvchange --activate n scratch/read-only-activation
read_only='[ "scratch/read-only-activation" ]'
lvchange --activate y scratch/read-only-activation \
    --config "activation { read_only_volume_list = $read_only }"
dd if=/dev/urandom of=/dev/scratch/overflowed-origin bs=1M count=8 \
    oflag=direct status=none
dd if=/dev/urandom of=/dev/scratch/thin-in-full-pool bs=1M count=8 \
    oflag=direct status=none || true
exec 7</dev/scratch/open
dmsetup suspend scratch-suspended
env "$@" scratch
