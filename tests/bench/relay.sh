#!/bin/bash
# How fast mail is passed on, beside Debian's Postfix: `tests/bench/relay.sh DIR [RUNS]` from the project's root, as root, after
# `cargo build --release`. Prints a row for each run of each server, then medians. DIR is made anew; everything is on loopback.
#
# Both take 2,000 messages of 10 KB over 10 sessions and give them to one smtp-sink, 5 sessions at a time. Postfix and the first
# mox take them without signing; the second mox signs each twice, with the keys that quickstart makes. CPU is that of the cgroup.
set -eu
D=$(realpath -m "${1:?directory}") RUNS=${2:-3}
BIN=$(realpath "${MOXCTL:-target/release/moxctl}") BENCH=$(realpath "${MOX_BENCH:-target/release/mox-bench}")
MESSAGES=${MESSAGES:-2000} DOMAINS=${DOMAINS:-1 20 100}
SINK=2626 POSTFIX=2627 UNSIGNED=2600 SIGNED=2700
for needed in postfix smtp-sink; do command -v $needed >/dev/null || { echo "$needed is missing: apt-get install postfix" >&2; exit 2; }; done
[ ! -e "$D" ] || { echo "$D is there: name a new folder" >&2; exit 2; }
mkdir -p "$D"/{postfix,spool,lib,log,unsigned,signed}
chmod 755 "$D"

group() { # makes a cgroup, prints its folder
  local place=/sys/fs/cgroup/cpuacct/relay-$1
  mkdir -p "$place" 2>/dev/null || { echo "no cpuacct cgroups here: CPU time cannot be told" >&2; exit 2; }
  echo "$place"
}
apart() { # runs the rest in the background in cgroup $1, logs to $2
  local where=$1 log=$2; shift 2
  (echo $BASHPID >"$where/cgroup.procs"; exec "$@") >"$log" 2>&1 &
  STARTED="$! ${STARTED:-}"
}
stop() { kill ${STARTED:-} 2>/dev/null || true; postfix -c "$D/postfix" stop >/dev/null 2>&1 || true; wait 2>/dev/null || true; }
trap stop EXIT
until_open() { for _ in $(seq 100); do (: </dev/tcp/127.0.0.1/"$1") 2>/dev/null && return; sleep 0.1; done; echo "nobody listens on $1" >&2; exit 1; }

# The sink writes its counters over and over into one line.
(exec smtp-sink -u nobody -c 127.0.0.1:$SINK 200) >"$D/sink" 2>&1 &
STARTED="$!"
until_open $SINK

for f in /etc/postfix/{dynamicmaps.cf,postfix-files} /usr/lib/postfix/{postfix-script,post-install} /etc/postfix/{postfix-script,post-install}; do
  [ ! -e "$f" ] || cp "$f" "$D/postfix/"
done
cat >"$D/postfix/main.cf" <<END
compatibility_level = 3.6
queue_directory = $D/spool
data_directory = $D/lib
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
shlib_directory = /usr/lib/postfix
meta_directory = $D/postfix
mail_owner = postfix
setgid_group = postdrop
myhostname = relay.test
mydestination =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:$SINK
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_destination_concurrency_limit = 5
initial_destination_concurrency = 5
relay_destination_concurrency_limit = 5
alias_maps =
alias_database =
maillog_file_prefixes = $D
maillog_file = $D/log/postfix.log
in_flow_delay = 0
biff = no
END
cat >"$D/postfix/master.cf" <<END
127.0.0.1:$POSTFIX inet n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
END
chown postfix "$D/lib"
POSTFIX_GROUP=$(group postfix)
(echo $BASHPID >"$POSTFIX_GROUP/cgroup.procs"; cd /; postfix -c "$D/postfix" start >/dev/null 2>&1) || { echo "Postfix does not start: $D/log" >&2; exit 1; }
until_open $POSTFIX

serve() { # NAME PORT: quickstart's server with a relay, and what opens ports on loopback only
  "$BIN" quickstart --dir "$D/$1" --hostname mail.example.org ann@example.org >"$D/$1/said"
  cat >"$D/$1/config/mox.ron" <<END
(
    data_dir: "../data",
    user: "nobody",
    hostname: "mail.example.org",
    log_level: warn,
    listeners: {
        "loopback": (
            ips: ["127.0.0.1"],
            tls: self_signed,
            max_message_size: 104857600,
            submission: (port: $2, no_require_starttls: true),
        ),
    },
    postmaster: (account: "ann", mailbox: "Postmaster"),
    relay: "127.0.0.1:$SINK",
)
END
  sed -i 's|// messages_per_day: 1000,|messages_per_day: 0,|; s|// new_recipients_per_day: 200,|new_recipients_per_day: 0,|' "$D/$1/config/domains.ron"
  [ "$1" = signed ] || sed -i 's|sign: \[.*\],|sign: [],|' "$D/$1/config/domains.ron"
  chown -R nobody "$D/$1"
  apart "$(group "$1")" "$D/log/$1" "$BIN" --config "$D/$1/config/mox.ron" serve
  until_open "$2"
}
serve unsigned $UNSIGNED
serve signed $SIGNED

password() { sed -n 's/^    \([A-Za-z0-9-]*\)$/\1/p' "$D/$1/said" | head -1; }
measure() { # NAME PORT DOMAINS
  local login=() cpu
  [ "$1" = postfix ] || login=(ann@example.org "$(password "$1")")
  cpu=$(group "$1")/cpuacct.usage
  echo "$1 $("$BENCH" relay 127.0.0.1:"$2" ann@example.org "$D/sink" "$3" "$MESSAGES" "$cpu" "${login[@]}")" | tee -a "$D/rows"
}
for run in $(seq "$RUNS"); do
  for domains in $DOMAINS; do
    # The order turns with each run, so that nobody always comes first.
    case $((run % 3)) in
    1) order="postfix:$POSTFIX unsigned:$UNSIGNED signed:$SIGNED" ;;
    2) order="signed:$SIGNED postfix:$POSTFIX unsigned:$UNSIGNED" ;;
    *) order="unsigned:$UNSIGNED signed:$SIGNED postfix:$POSTFIX" ;;
    esac
    for one in $order; do measure "${one%:*}" "${one#*:}" "$domains"; done
  done
done
echo
echo "| server | domains | runs | arrived a second, median (least-most) | CPU s per 1,000, median (least-most) |"
echo "|---|---|---|---|---|"
for domains in $DOMAINS; do
  for server in postfix unsigned signed; do
    column() { sed -n "s/^$server .* to $domains domains .*$1/\1/p" "$D/rows" | sort -n; }
    middle() { awk '{v[NR]=$1} END {m=int((NR+1)/2); printf "%s (%s-%s)", v[m], v[1], v[NR]}'; }
    runs=$(column 'arrived \([0-9]*\).*' | wc -l)
    echo "| $server | $domains | $runs | $(column 'arrived \([0-9]*\).*' | middle) | $(column 'CPU s per 1,000: \([0-9.]*\).*' | middle) |"
  done
done
