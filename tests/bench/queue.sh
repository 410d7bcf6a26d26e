#!/bin/bash
# What a long queue costs: `tests/bench/queue.sh DIR [MESSAGES [RUNS]]` from the project's root, after `cargo build --release`. A server whose
# relay nobody answers for takes so many messages of 10 KB to 100 domains, over 10 sessions; it is stopped, and started RUNS times.
# Prints resident memory, and what a start takes in time and CPU. DIR is made anew; everything is on loopback.
set -eu
D=$(realpath -m "${1:?directory}") MESSAGES=${2:-100000} RUNS=${3:-3}
BIN=$(realpath "${MOXCTL:-target/release/moxctl}") BENCH=$(realpath "${MOX_BENCH:-target/release/mox-bench}")
BASE=${BASE:-3000} NOBODY=9
PORT=$((BASE + 587))
[ ! -e "$D" ] || { echo "$D is there: name a new folder" >&2; exit 2; }
mkdir -p "$D"
memory() { awk -v what="$1" '/^VmRSS|^VmHWM|^RssAnon/ {v[$1]=$2/1024} END {printf "%s: resident %.0f MiB, %.0f of it anonymous, %.0f at most\n", what, v["VmRSS:"], v["RssAnon:"], v["VmHWM:"]}' "/proc/$PID/status"; }
spent() { awk '{print ($14 + $15) * 10}' "/proc/$PID/stat"; } # in ms: ticks are 10 ms
millis() { date +%s%3N; }
start() {
  BEGUN=$(millis)
  "$BIN" localserve --dir "$D/mail" --port-base "$BASE" --relay 127.0.0.1:$NOBODY --loglevel warn >>"$D/log" 2>&1 &
  PID=$!
  until { head -c 3 <"/dev/tcp/127.0.0.1/$PORT" | grep -q 220; } 2>/dev/null; do
    kill -0 $PID 2>/dev/null || { echo "the server ended: $D/log" >&2; exit 1; }
    sleep 0.002
  done
  GREETED=$(($(millis) - BEGUN))
}
stop() { [ -z "${PID:-}" ] || { kill "$PID" 2>/dev/null && wait "$PID" || true; PID=; }; }
trap stop EXIT
start
sleep 2
memory "no queue"
: >"$D/sink" # nothing ever arrives
"$BENCH" relay 127.0.0.1:$PORT mox@localhost "$D/sink" 100 "$MESSAGES" - mox@localhost moxmoxmox >"$D/sent" 2>&1 &
SENDING=$!
# The bench waits a minute for mail to arrive; that all was taken shows in the queue.
wait $SENDING || true
grep -q "\b0 of $MESSAGES arrived" "$D/sent" || { cat "$D/sent" >&2; exit 1; }
memory "a minute after $MESSAGES came in"
for run in $(seq "$RUNS"); do
  stop
  start
  # Known is the queue when it can be asked; this asks for little, so that the answer takes no memory.
  "$BIN" --ctl "$D/mail/ctl" queue list --held >"$D/list"
  KNOWN=$(($(millis) - BEGUN))
  sleep 3
  echo "start $run: greeting after $GREETED ms, asked after $KNOWN ms, CPU within the first seconds $(spent) ms"
  memory "start $run"
done
