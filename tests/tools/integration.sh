# Everything that needs a cluster: the lab's (made here if it isn't up), or the one that KUBECONFIG names.
set -euo pipefail
lab=/var/lib/edgemesh-lab/kubeconfig
if [ "${KUBECONFIG:-$lab}" = "$lab" ]; then
  # Programs that tests compare with: a real nginx, curl with HTTP/2. None is left running.
  python -c 'from lab import packages, progress; packages.ensure(progress.Progress(), ["curl", "nginx-light", "openssl"])'
  python -m lab up
  export KUBECONFIG=$lab
  own=
else
  own=yes
fi
pytest -q tests/integration -m "not lab_lifecycle"
if [ -z "$own" ]; then
  molecule test --scenario-name vm_offload
  # The oldest ansible-core that we support does what the newest did: the demo, from new VMs to the proof.
  PATH="$OLD_VENV/bin:$PATH" bash demo/run.sh
  pytest -q tests/integration -m lab_lifecycle
else
  echo "skipped: molecule scenarios and the lab's own life cycle: they need the lab, but KUBECONFIG names a cluster of your own"
fi
