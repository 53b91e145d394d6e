# Prints the path of a working Python of the asked version, e.g. `sh find-python.sh 3.13`; nothing where there is none.
for candidate in "$HOME"/.pyenv/versions/"$1".*/bin/python /usr/local/bin/python"$1" /usr/bin/python"$1" "$(command -v "python$1")"; do
  if [ -x "$candidate" ] && "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
    echo "$candidate"
    exit 0
  fi
done
