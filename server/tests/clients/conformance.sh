# The conformance program of the OCI distribution specification, in its newest version: nothing may fail, nothing be skipped.

conformance_checks() {
  has_extra conformance || return
  direct
  mkdir conformance
  OCI_REGISTRY=$local OCI_TLS=disabled OCI_VERSION=dev OCI_REPO1=library/conformance/one OCI_REPO2=library/conformance/two \
    OCI_USERNAME=admin OCI_PASSWORD=$password OCI_RESULTS_DIR=$work/conformance OCI_CONFIGURATION=/dev/null \
    timeout -k 5 300 conformance >conformance/out 2>conformance/log
  cp conformance/out said
  local total bad left
  total=$(conformance_count Pass)
  bad=$(($(conformance_count FAIL) + $(conformance_count Error)))
  left=$(($(conformance_count Skip) + $(conformance_count Disabled)))
  echo "      conformance: $total passed, $bad failed, $left skipped"
  if [ "$total" -gt 0 ] && [ "$bad" = 0 ] && [ "$left" = 0 ]; then
    pass "conformance: OCI distribution specification, newest version"
  else
    grep -E ': (FAIL|Error|Skip)$' conformance/out | head -n 40
    tail -n 5 conformance/log
    fail "conformance: OCI distribution specification, newest version" "$total passed, $bad failed, $left skipped"
  fi
}

# conformance_count KIND: a line of its totals.
conformance_count() {
  sed -n "s/^  $1\.*: *\([0-9]*\)$/\1/p" conformance/out | tail -n 1 | grep . || echo 0
}

conformance_checks
