# shellcheck shell=bash
# Words to the user, locks, the command that is waited for, and servers: started, awaited, stopped.

locks=()
attended='' launching='' interrupted=''

say() {
  printf 'with-servers: %s\n' "$*" >&2
}

fail() {
  say "$*"
  exit 1
}

# Does without WHAT, which a strict run must not.
skip() {
  [[ ${ECOLAURA_TEST_STRICT:-} != 1 ]] || fail "$1: $2 (a failure, because ECOLAURA_TEST_STRICT=1)"
  say "skipped: $1: $2"
}

# Locks FILE until the descriptor in `lock` is closed; says WHY when it has to wait for long.
take_lock() {
  try_lock "$1" || attended flock -w 1 "$lock" && return
  say "$2"
  attended flock "$lock"
}

try_lock() {
  mkdir -p "$(dirname "$1")"
  exec {lock}>>"$1"
  locks+=("$lock")
  flock -n "$lock"
}

# Who inherits a lock holds it: a server or a command that stays behind must not.
leave_locks() {
  local lock
  for lock in "${locks[@]}"; do
    exec {lock}>&-
  done
}

# Runs a command and passes signals on to it, which bash does only once a command in the foreground has ended.
attended() {
  local status=0
  (
    trap - INT TERM HUP QUIT
    [[ $1 == flock ]] || leave_locks
    exec "$@"
  ) <&0 &
  attended=$!
  while kill -0 "$attended" 2>/dev/null; do
    wait "$attended" && status=0 || status=$?
  done
  attended=
  [[ -z $interrupted ]] || exit "$interrupted"
  return "$status"
}

# A signal ends first what is waited for, then, as with-servers exits, everything else; but not halfway through a launch.
interrupt() {
  interrupted=$2
  [[ -n $attended$launching ]] || exit "$2"
  [[ -z $attended ]] || kill -s "$1" "$attended" 2>/dev/null || true
}

# Starts a server in the background as NAME.
start() {
  printf '%q ' "${@:2}" >"$run/commands/$1"
  launch "$1"
}

# Starts NAME as it was started before. It writes down who it is itself, so that there is no moment at which nobody knows.
launch() {
  launching=1
  rm -f "$run/pids/$1"
  (
    local pid=$BASHPID
    leave_locks
    cd "$run" || exit
    unset {HTTP,HTTPS,ALL,NO}_PROXY {http,https,all,no}_proxy
    trap - INT TERM HUP QUIT
    printf '%s %s\n' "$pid" "$(started "$pid")" >"pids/$1"
    eval "exec setsid $(<"commands/$1")"
  ) </dev/null >>"$run/logs/$1" 2>&1 &
  disown
  until [[ -s $run/pids/$1 ]] || ! kill -0 $! 2>/dev/null; do sleep 0.01; done
  launching=
  [[ -z $interrupted ]] || exit "$interrupted"
}

# When process PID was started, in ticks since boot, which tells it from a later one of the same number. Nothing once it
# has ended: then its first thread is a zombie, and so are all others gone.
started() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return
  read -r -a stat <<<"${stat##*) }"
  [[ ${stat[0]} != Z || ${stat[17]} -gt 1 ]] && printf '%s\n' "${stat[19]}"
}

# Whether the process that FILE tells of still runs.
runs() {
  local pid start
  read -r pid start 2>/dev/null <"$1" && [[ $(started "$pid") == "$start" ]]
}

kill_recorded() {
  local pid
  read -r pid _ <"$1"
  runs "$1" && kill -KILL "$pid" 2>/dev/null
  while runs "$1"; do sleep 0.01; done
}

# TEMPLATE of the folder config, with each @name@ replaced by the value of the variable of that name.
fill() {
  local text name
  text=$(<"$servers/config/$1")
  for name in $(grep -o '@[a-z_]*@' <<<"$text" | tr -d @ | sort -u); do
    text=${text//@$name@/${!name}}
  done
  printf '%s\n' "$text"
}

# Waits until COMMAND succeeds, as long as server NAME runs and SECONDS have not passed.
await() {
  local name=$1 deadline=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [[ -s $run/pids/$name ]] && ! runs "$run/pids/$name"; then
      give_up "$name" 'ended'
    elif ((SECONDS > deadline)); then
      give_up "$name" 'is not ready in time'
    fi
    sleep 0.05
  done
}

# Ends with what NAME did, and the end of its LOG.
give_up() {
  local log=${3:-$run/logs/$1}
  say "$1 $2; the end of its log:"
  tail -n 20 "$log" >&2
  exit 1
}
