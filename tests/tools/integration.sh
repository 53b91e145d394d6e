# Everything that needs a cluster: the lab's (made here if it isn't up), or the one that KUBECONFIG names.
set -euo pipefail
lab=/var/lib/edgemesh-lab/kubeconfig
if [ "${KUBECONFIG:-$lab}" != "$lab" ]; then
  pytest -q tests/integration -m "not lab_lifecycle"
  echo "skipped: molecule scenarios and the lab's own life cycle: they need the lab, but KUBECONFIG names a cluster of your own"
  exit
fi

# Programs that tests compare with: a real nginx, curl with HTTP/2. None is left running.
python -c 'from lab import packages, progress; packages.ensure(progress.Progress(), ["curl", "nginx-light", "openssh-server", "openssl"])'
python -m lab up
export KUBECONFIG=$lab

# Two at a time: what takes the lab's VMs through whole scenarios, one after the other, and beside it what has hosts of its own.
# Molecule takes Istio away and installs it anew: what uses the lab's mesh is done before.
log=$(mktemp -d)
{
  pytest -q tests/integration -m "mesh and not vms and not lab_lifecycle" || touch "$log/failed"
  touch "$log/mesh-done"
  pytest -q tests/integration -m "not mesh and not vms and not lab_lifecycle" || touch "$log/failed"
} >"$log/beside" 2>&1 &
result=0
pytest -q tests/integration -m "vms and not lab_lifecycle" || result=$?
until [ -e "$log/mesh-done" ]; do sleep 1; done
molecule test --scenario-name vm_offload || result=$?
# The oldest ansible-core that we support does what the newest did: the demo, from new VMs to the proof.
PATH="$OLD_VENV/bin:$PATH" bash demo/run.sh || result=$?
wait
cat "$log/beside"
[ ! -e "$log/failed" ] || result=1
rm -r "$log"
[ $result = 0 ] || exit $result
pytest -q tests/integration -m lab_lifecycle
