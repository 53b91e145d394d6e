# ansible-test refuses a checkout outside .../ansible_collections/NAMESPACE/NAME and resolves symlinks: it gets a copy of what is
# published. Its rules are for targets and modules; the lab and the tests go by ruff's and mypy's.
set -euo pipefail
copy=$EDGEMESH_CACHE/sanity/ansible_collections/edgemesh/nginx_istio
rm -rf "$copy"
mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard -- . ':!lab' ':!tests' ':!molecule' ':!demo' tests/sanity | while IFS= read -r -d '' file; do
  if [ -e "$file" ]; then cp --parents "$file" "$copy"; fi
done
cd "$copy"
git init -q . # ansible-test lists files by git
git add -A

# ansible-test bootstraps pip in its environments by a script that it downloads once; the interpreter's own ensurepip does the same offline.
requirements=$(python -c 'import ansible_test._internal.python_requirements as m; print(m.__file__)' 2>/dev/null ||
  python -c 'import ansible_test, pathlib; print(pathlib.Path(list(ansible_test.__path__)[0], "_internal/python_requirements.py"))')
for version in $(sed -nE "s/.*pip='([0-9.]+)'.*/\1/p" "$requirements"); do
  script=$HOME/.ansible/test/cache/get_pip_${version//./_}.py
  if [ ! -e "$script" ]; then
    mkdir -p "$(dirname "$script")"
    printf 'import ensurepip\n\nensurepip.bootstrap()\n' >"$script"
  fi
done
ansible-test sanity --python "$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" --color no "$@"
