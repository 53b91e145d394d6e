# Makes a virtual environment that is either complete or not there: `bash venv.sh PYTHON FOLDER PIP-ARGUMENTS...`.
set -euo pipefail
python=$1 folder=$2
shift 2
rm -rf "$folder"
mkdir -p "$(dirname "$folder")"
echo "making $folder with $("$python" --version)"
"$python" -m venv "$folder"
# Python compiles what is imported; all of Ansible's collections would take longer than the rest of the installation.
"$folder/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"
touch "$folder/ready"
