# Everything that needs a cluster: the lab's (made here if it isn't up), or the one that KUBECONFIG names.
# integration.sh [TARGET]: one of make's targets is done beside it.
set -euo pipefail
lab=/var/lib/edgemesh-lab/kubeconfig
all=tests/integration
tests=(pytest -q --durations=20 --durations-min=5)
if [ "${KUBECONFIG:-$lab}" != "$lab" ]; then
  ${1:+make --no-print-directory "$1"}
  "${tests[@]}" $all -m "not lab_lifecycle"
  echo "skipped: molecule scenarios and the lab's own life cycle: they need the lab, but KUBECONFIG names a cluster of your own"
  exit
fi

# Programs that tests compare with: a real nginx and HAProxy, curl with HTTP/2. None is left running.
python -c 'from lab import packages, progress; packages.ensure(progress.Progress(), ["curl", "haproxy", "nginx-light", "openssh-server", "openssl"])'
python -m lab up
export KUBECONFIG=$lab
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# step NAME COMMAND...: its output goes to a file, to be shown in the end; its verdict and its times are said at once.
step() {
  local name=$1 began=$SECONDS verdict=passed TIMEFORMAT='%U %S'
  shift
  { time "$@" >"$logs/$name.log" 2>&1; } 2>"$logs/$name.cpu" || verdict=FAILED
  if [ $verdict = FAILED ]; then mv "$logs/$name.log" "$logs/$name.failed"; fi
  awk -v name="$name" -v verdict=$verdict -v wall=$((SECONDS - began)) \
    'END { printf "%-10s %s after %d s, with %d s of CPU\n", name, verdict, wall, $1 + $2 }' "$logs/$name.cpu" | tee -a "$logs/summary"
}

# Three lanes. Most of the time a test waits, for a pod, a timeout, or a VM: two processors do more than two at a time.
# The longest way is by the VMs and the mesh to Molecule, so these come first, beside what waits most.
{
  step vms "${tests[@]}" $all -m "vms and not lab_lifecycle"
  # Molecule takes Istio away and installs it anew: what uses the lab's mesh is done before.
  until grep -qs ^mesh "$logs/summary"; do sleep 1; done
  step nodes "${tests[@]}" $all/access -m nodes
  step molecule molecule test --scenario-name vm_offload
  # What it shows the tests of access control show as well, with gateways of their own.
  if [ -n "${EDGEMESH_SOAK:-}" ]; then step access molecule test --scenario-name access_control; fi
} &
{
  step mesh "${tests[@]}" $all -m "mesh and not vms and not nodes"
  ${1:+step "$1" make --no-print-directory "$1"}
  step probes "${tests[@]}" $all/{probe,secret_info} -m "not mesh and not vms"
} &
{
  step machines "${tests[@]}" $all/{kube,nginx} -m "not mesh and not vms"
  step secrets "${tests[@]}" $all/tls_secret -m "not mesh and not vms"
} &
wait
# Then the lab comes and goes.
step lifecycle "${tests[@]}" $all -m lab_lifecycle

# What failed comes last: that is where a reader looks first.
for log in "$logs"/*.log "$logs"/*.failed; do
  if [ -e "$log" ]; then printf '\n=== %s\n' "$(basename "$log")" && cat "$log"; fi
done
printf '\n=== summary\n' && cat "$logs/summary"
! grep -q FAILED "$logs/summary"
