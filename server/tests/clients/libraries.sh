# Libraries that programs use Harbor's API through: harborapi (Python) and goharbor/go-client (Go), each against the server itself.
# scripts/prepare-libraries.sh installs them beforehand, since nothing can be fetched from in here.

libraries_checks() {
  direct
  if library harborapi; then
    drive harborapi "$SEAWALL_TEST_LIBRARIES/harborapi/bin/python" -B "$here/libraries/harborapi_client.py"
  fi
  if library go-client; then
    drive go-client "$SEAWALL_TEST_LIBRARIES/bin/go-client"
  fi
}

# library NAME: whether it was installed. What was not is left out, with what prepare-libraries.sh said of it.
library() {
  [ -e "$SEAWALL_TEST_LIBRARIES/$1.missing" ] || return 0
  leave_out "$1" "$(cat "$SEAWALL_TEST_LIBRARIES/$1.missing")" elsewhere
  return 1
}

# drive NAME PROGRAM…: it prints a line for each subject, and one for each check that failed; these count as ours.
drive() {
  local name=$1 verdict what status=0
  shift
  timeout -k 5 300 "$@" "http://$local" "$password" >drive.out 2>said </dev/null || status=$?
  while read -r verdict what; do
    case $verdict in
      ok) pass "$what" ;;
      FAIL) failed=$((failed + 1)); echo "FAIL  $what" ;;
    esac
  done <drive.out
  if [ $status != 0 ] && ! grep -q '^FAIL' drive.out; then
    fail "$name: it comes to its end" "exit code $status"
  elif ! grep -Eq '^(ok|FAIL) ' drive.out; then
    fail "$name: it checks something" "it printed nothing"
  fi
}

libraries_checks
