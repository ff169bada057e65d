# What is counted: checks that passed or failed, and what had to be left out.

passed=0 failed=0 skipped=0
# No client takes this long over what is asked of it here.
patience=120

# check WHAT COMMAND…: succeeds.
check() {
  local what=$1
  shift
  if attempt "$@"; then
    pass "$what"
  else
    fail "$what" "$*"
  fi
}

# refused WHAT PATTERN COMMAND…: fails, and says something that matches the pattern.
refused() {
  local what=$1 pattern=$2
  shift 2
  if attempt "$@"; then
    fail "$what" "went through: $*"
  elif grep -Eiq -- "$pattern" "$work/said"; then
    pass "$what"
  else
    fail "$what" "said nothing of /$pattern/: $*"
  fi
}

# prints WHAT PATTERN COMMAND…: succeeds, and prints something that matches the pattern.
prints() {
  local what=$1 pattern=$2
  shift 2
  if ! attempt "$@"; then
    fail "$what" "$*"
  elif grep -Eq -- "$pattern" "$work/said"; then
    pass "$what"
  else
    fail "$what" "printed nothing of /$pattern/: $*"
  fi
}

# attempt COMMAND…: runs it (a program, or a function of ours) and keeps what it says in $work/said.
attempt() {
  if [ "$(type -t "$1")" = function ]; then
    "$@" >"$work/said" 2>&1 </dev/null
  else
    timeout -k 5 "$patience" "$@" >"$work/said" 2>&1 </dev/null
  fi
}

pass() {
  passed=$((passed + 1))
  echo "ok    $1"
}

fail() {
  failed=$((failed + 1))
  echo "FAIL  $1: $2"
  tail -n 8 "$work/said" | cut -c -400 | sed 's/^/        /'
}

# has TOOL…: whether all are there. What is not is left out, or a failure where SEAWALL_TEST_REQUIRE asks for it.
has() {
  local tool there=0
  for tool in "$@"; do
    if ! command -v "$tool" >/dev/null; then
      leave_out "$tool" "is not installed" debian
      there=1
    fi
  done
  return $there
}

# has_extra TOOL…: the same for tools that are in no Debian package. `all` does not ask for these, their names do.
has_extra() {
  local tool there=0
  for tool in "$@"; do
    if ! command -v "$tool" >/dev/null; then
      leave_out "$tool" "is not installed (and in no Debian package)" elsewhere
      there=1
    fi
  done
  return $there
}

declare -A left_out=()

# leave_out WHAT WHY [debian|elsewhere]: said and counted once, whichever parts need it.
leave_out() {
  local wanted=,${SEAWALL_TEST_REQUIRE:-},
  [ -z "${left_out[$1]:-}" ] || return 0
  left_out[$1]=$2
  echo "left out: $1: $2"
  if [[ $wanted == *",$1,"* || ($wanted == *,all,* && ${3:-debian} == debian) ]]; then
    : >"$work/said"
    fail "$1" "is required by SEAWALL_TEST_REQUIRE"
  else
    skipped=$((skipped + 1))
  fi
}

totals() {
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" = 0 ]
}
