# Try the course as Colab runs it:  bash tests/environments/colab.sh FOLDER [notebooks/NOTEBOOK.ipynb ...]
# An environment in FOLDER gets the versions that Colab publishes, and a stand-in for `google.colab`. Each notebook is
# then opened alone, as from its link, in a folder that stands for /content: its set-up cell clones the last commit and
# installs what is missing, and the rest runs in the quick profile. It is an error if one fails, or if a package that
# was there has another version afterward; without notebooks named, all run, and docs/environments.md says what came.
# PyPI's torch brings 3 GB of CUDA on Linux. An environment that is at FOLDER/venv already is used as it is.
set -eu
mkdir -p "$1" && folder=$(realpath "$1")
shift
cd "$(dirname "$0")/../.."
ours=$PWD/.venv/bin/python theirs=$folder/venv/bin/python all=$#
[ $# != 0 ] || set -- notebooks/*.ipynb
trap 'exit 130' INT

# The environment, with its stand-in: a notebook knows Colab by the name of its shell.
if [ ! -x "$theirs" ]; then
    "$(command -v python3.13 || echo "$ours")" -m venv "$folder/venv"
    "$theirs" -m pip install --quiet -r tests/environments/colab.txt
fi
rm -rf "$folder"/{origin,content,executed}
standin=$("$theirs" -c "import sysconfig; print(sysconfig.get_path('purelib'))")/google/colab
mkdir -p "$folder"/{home,executed,jupyter/kernels/python3} "$standin"
cd "$standin"
touch __init__.py
cat >_shell.py <<END
from ipykernel import ipkernel, zmqshell
from traitlets import Type

Shell = type("Shell", (zmqshell.ZMQInteractiveShell,), {"__module__": __name__})

class Kernel(ipkernel.IPythonKernel):
    shell_class = Type(Shell)
END
cd "$OLDPWD"
cat >"$folder/jupyter/kernels/python3/kernel.json" <<END
{"display_name": "Python 3", "language": "python", "argv": ["$theirs", "-Xfrozen_modules=off", "-m",
 "ipykernel_launcher", "-f", "{connection_file}", "--IPKernelApp.kernel_class=google.colab._shell.Kernel"]}
END

# What git finds at the published address, the variables that Colab sets, and a home of its own.
read -r address tag <<<"$("$ours" -c "from tools.notebooks import ADDRESS, TAG; print(ADDRESS, TAG)")"
git clone --quiet --bare . "$folder/origin"
git -C "$folder/origin" tag --force "$tag" >/dev/null
unset COURSE_STATIC PYTHONPATH
export COLAB_RELEASE_TAG=release-colab MPLBACKEND=module://matplotlib_inline.backend_inline HOME=$folder/home
export JUPYTER_PATH=$folder/jupyter LC_ALL=C.UTF-8
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.file://$folder/origin.insteadOf" GIT_CONFIG_VALUE_0=$address

versions() { "$theirs" -m pip list --format=freeze | sort; }
versions >"$folder/before"
ok=0
for notebook; do
    stem=$(basename "$notebook" .ipynb)
    content=$folder/content/$stem executed=$folder/executed/$stem SECONDS=0 result=failed
    mkdir -p "$content"
    sed "s|%cd -q /content|%cd -q $content|" "$notebook" >"$content/$stem.ipynb"
    quick=$("$ours" -c "import json; from tools.runner import profile_parameters as read
print(json.dumps(read('quick').get('${stem#*_}', {})))")
    if "$ours" -m papermill --no-progress-bar --kernel python3 --language python --cwd "$content" \
        --execution-timeout 1800 --parameters_yaml "$quick" "$content/$stem.ipynb" "$executed.ipynb" 2>"$executed.err"
    then result=ok ok=$((ok + 1)); else tail -n 3 "$executed.err"; fi
    echo "$stem $result, $SECONDS s"
done
versions >"$folder/after"
gone=$(comm -23 "$folder/before" "$folder/after" | paste -sd ,)
echo "added: $(comm -13 "$folder/before" "$folder/after" | paste -sd ,)"
echo "gone: $gone"
found="$ok of $# ok; ${gone:+gone: $gone}"
[ -n "$gone" ] || found+="nothing of theirs changed"
[ "$all" != 0 ] || "$ours" -c "import sys; from tests.environments import __main__ as environments
environments.write(environments.rows([environments.COLAB], 'colab', 'all', sys.argv[1]))" "$found"
[ -z "$gone" ] && [ "$ok" = $# ]
