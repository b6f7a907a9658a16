# A journal of its own, and a server whose standard output leads there; to be run in namespaces of mounts and processes.
#   journal.sh SERVER CONFIG
# Prints a line when the server is ready, then the entry of the first session of alice that has ended, as JSON.
set -eu
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
/lib/systemd/systemd-journald 2>/run/journald.log &
wait_until() {
    for _ in $(seq 200); do
        "$@" >/run/until.log 2>&1 && return
        sleep 0.05
    done
    cat /run/until.log /run/journald.log
    exit 1
}
wait_until test -S /run/systemd/journal/stdout
echo begun | systemd-cat -t begun
# Only a directory that has files can be followed.
wait_until journalctl -D /run/log/journal --quiet SYSLOG_IDENTIFIER=begun --grep begun
# What systemd would put into the environment: device and inode of the stream.
systemd-cat -t captured bash -c '
    JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$0" -c "$1"
' "$1" "$2" &
follow() {
    journalctl -D /run/log/journal --no-pager --no-tail --follow "$@"
}
grep -m 1 'ready:' < <(follow --output=cat SYSLOG_IDENTIFIER=turnbuckle)
grep -m 1 __CURSOR < <(follow --output=json TURNBUCKLE_USER=alice TURNBUCKLE_EVENT=session-end)
