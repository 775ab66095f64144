#!/usr/bin/env bash
# A SLURM cluster of one node on 127.0.0.1, for the tests (`pytest -m slurm`) and for trying sweeps out.
#
#   scripts/slurm_loopback.sh start        start munged, slurmctld and slurmd; daemons that already run are kept
#   eval "$(scripts/slurm_loopback.sh env)"     point this shell at it
#   scripts/slurm_loopback.sh status       one line per daemon; fails unless all of them run
#   scripts/slurm_loopback.sh stop         cancel its jobs, end its daemons, delete its folder
#
# Needs root and Debian's packages: apt-get install --no-install-recommends slurm-wlm munge
# Everything is in LOOPBACK_DIR (default /tmp/seedscope-slurm); nothing under /etc is touched, and only processes
# whose pid this script wrote down, and which still carry that folder in their command line, are ever signaled.
# LOOPBACK_CPUS (4) may exceed the real cores; LOOPBACK_GPUS (2) are character devices that nobody computes on;
# LOOPBACK_ARRAY (1001) is MaxArraySize.
set -euo pipefail

dir=${LOOPBACK_DIR:-/tmp/seedscope-slurm}
cpus=${LOOPBACK_CPUS:-4}
gpus=${LOOPBACK_GPUS:-2}
port=${LOOPBACK_PORT:-27817}
array=${LOOPBACK_ARRAY:-1001}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
daemons=(munged slurmctld slurmd)
export SLURM_CONF=$dir/slurm.conf
PATH=$PATH:/usr/sbin

fail() { printf 'slurm_loopback: %s\n' "$*" >&2; exit 1; }

running() {  # running DAEMON: does the pid that we wrote down still belong to that daemon of ours?
    local pid
    pid=$(cat "$dir/$1.pid" 2>/dev/null) && [[ -n $pid && -r /proc/$pid/cmdline ]] || return 1
    tr '\0' ' ' < "/proc/$pid/cmdline" | grep -q -e "$1.*$dir"
}

until_true() {  # until_true SECONDS COMMAND...
    local tries=$(( $1 * 10 ))
    shift
    until "$@" > /dev/null 2>&1; do
        (( tries-- > 0 )) || return 1
        sleep 0.1
    done
}

configure() {
    local i
    mkdir -p "$dir"/{ctld,spool,bin}
    chmod 755 "$dir" "$dir"/{ctld,spool,bin}
    # A munge key is 32 to 1024 secret bytes.
    [[ -s $dir/munge.key ]] || (umask 077 && head -c 256 /dev/urandom > "$dir/munge.key")
    for (( i = 0; i < gpus; i++ )); do
        [[ -c $dir/gpu$i ]] || mknod "$dir/gpu$i" c 1 3
    done
    install -m 755 "$here/sacct_stand_in.py" "$dir/bin/sacct"
    # The node is called localhost because its name is also the address at which ranks meet.
    # cred_expire: a requeued job waits until its old credential has expired, two minutes by default.
    cat > "$SLURM_CONF" <<CONF
ClusterName=seedscope
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$dir/munge.socket,cred_expire=5
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
StateSaveLocation=$dir/ctld
SlurmdSpoolDir=$dir/spool
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=5,batch_sched_delay=0,sched_min_interval=100000
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
MinJobAge=86400
MaxArraySize=$array
KillWait=5
JobRequeue=1
MailProg=/bin/true
$( (( gpus )) && echo GresTypes=gpu)
NodeName=localhost NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=$cpus RealMemory=16000 State=UNKNOWN $( (( gpus )) && echo "Gres=gpu:$gpus")
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE DefMemPerCPU=500 State=UP
CONF
    : > "$dir/gres.conf"
    (( gpus == 0 )) || echo "NodeName=localhost Name=gpu File=$dir/gpu[0-$((gpus - 1))]" > "$dir/gres.conf"
}

start() {
    [[ $(id -u) == 0 ]] || fail "starting needs root"
    command -v slurmctld slurmd munged > /dev/null ||
        fail "not installed: apt-get install --no-install-recommends slurm-wlm munge"
    running slurmctld || configure
    if ! running munged; then
        rm -f "$dir"/munge.socket*
        munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
            --log-file="$dir/munged.log" --seed-file="$dir/munged.seed"
        until_true 5 test -S "$dir/munge.socket" || fail "munged did not come up; see $dir/munged.log"
    fi
    running slurmctld || slurmctld -i -f "$SLURM_CONF" -L "$dir/slurmctld.log"
    until_true 10 scontrol ping || fail "slurmctld does not answer; see $dir/slurmctld.log"
    running slurmd || slurmd -N localhost -f "$SLURM_CONF" -L "$dir/slurmd.log"
    until_true 20 bash -c 'sinfo -h -o %T | grep -qE "^(idle|mixed|allocated|completing)"' ||
        fail "the node stays down; see $dir/slurmd.log"
    echo "slurm_loopback: up ($SLURM_CONF)"
}

stop() {
    local daemon pid jobs
    if running slurmctld && jobs=$(timeout 5 squeue -h -o %A | sort -u) && [[ -n $jobs ]]; then
        # shellcheck disable=SC2086 - a list of job ids
        scancel $jobs || true
        until_true 10 bash -c '[[ -z $(squeue -h) ]]' || true
    fi
    for daemon in slurmd slurmctld munged; do
        running "$daemon" || continue
        pid=$(cat "$dir/$daemon.pid")
        kill -TERM "$pid"
        until_true 10 test ! -d "/proc/$pid" || kill -KILL "$pid"
    done
    [[ ! -f $SLURM_CONF ]] || rm -rf -- "$dir"
    echo "slurm_loopback: down"
}

status() {
    local daemon bad=0
    for daemon in "${daemons[@]}"; do
        if running "$daemon"; then echo "$daemon runs"; else echo "$daemon is down"; bad=1; fi
    done
    return $bad
}

case ${1:-} in
    start | stop | status) "$1" ;;
    env) echo "export SLURM_CONF='$SLURM_CONF' PATH='$dir/bin':\"\$PATH\":/usr/sbin" ;;
    *) sed -n '2,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
