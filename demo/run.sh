# What `make demo` does: the lab, two routes, the proof in proof/. Run from the checkout, as root.
set -euo pipefail
report="$PWD/proof"
inventory=/run/edgemesh-lab/demo-inventory.yml

python -m lab up
python -m lab inventory >"$inventory"
# site.yml ends in the proof and fails where a route is not proven.
ansible-playbook -i "$inventory" -e @demo/vars.yml -e '{"demo_app_image": "{{ lab_images.httpbin }}", "verify_probe_image": "{{ lab_images.python }}"}' -e verify_report_dir="$report" \
  edgemesh.nginx_istio.site
echo "The proof: $report/proof.html"
