# A JupyterHub for three at once: what a seat takes, and whether the meters are right about the neighbors.
#   sudo bash tests/environments/hub.sh
# It makes the hub and its users, lets hub.py log in with browsers, and takes everything away. It needs Linux, Chromium,
# npm, a network for JupyterHub and its proxy, and root to make users. Pictures and the hub's log are in build/hub.
# The hub's environment is layered on the course's, and prefers the system's Python: users can't reach /root.
set -e
cd "$(dirname "$0")/../.."
course=$PWD python=$PWD/.venv/bin/python folder=$(mktemp -dt hubXXX)
packages=$("$python" -c "import sysconfig; print(sysconfig.get_path('purelib'))")
export SEATS="hub-seat-1 hub-seat-2 hub-seat-3" PASSWORD=$(head -c 24 /dev/urandom | base64) course
finish() {
    set +e
    [ -z "$hub" ] || { kill "$hub" && wait "$hub"; } # it ends the servers and the proxy
    for user in $SEATS; do pkill -KILL -u $user; userdel $user; done
    rm -rf "$folder"
}
trap finish EXIT
mkdir -p build/hub && chmod 755 "$folder" && cd "$folder"
{
    PATH=/usr/bin:$PATH $(basename $(realpath "$python")) -m venv --without-pip hub
    echo "import site; site.addsitedir('$packages')" > $(echo hub/lib/*)/site-packages/course.pth
    "$python" -m pip --python hub/bin/python install -c "$course/requirements.txt" 'jupyterhub==5.*'
    for each in share etc; do mkdir -p hub/$each; ln -s "$course/.venv/$each/jupyter" hub/$each/; done
    npm install configurable-http-proxy
    for user in $SEATS; do
        useradd --create-home --base-dir "$PWD" $user; echo "$user:$PASSWORD" | chpasswd
        runuser -u $user -- env -u PASSWORD HOME="$PWD/$user" sh -ec '
            cd; git config --global --add safe.directory "$course/.git"
            git clone --quiet "$course" watt-it-takes; ln -s "$course/models" watt-it-takes/models'
    done
    cat >jupyterhub_config.py <<END
c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.Authenticator.allowed_users = set("$SEATS".split())
c.Spawner.notebook_dir = "~/watt-it-takes"
c.Spawner.environment = {"OMP_NUM_THREADS": "1"}
c.Spawner.args = ["--KernelManager.transport=ipc", "--LabApp.expose_app_in_browser=True"]
END
    env -u PASSWORD PATH="$PWD/hub/bin:$PWD/node_modules/.bin:$PATH" jupyterhub &
    hub=$!
} >"$course/build/hub/hub.log" 2>&1
cd "$course"
until grep -q "JupyterHub is now running" build/hub/hub.log; do
    kill -0 "$hub" || { echo "JupyterHub did not start: build/hub/hub.log says why"; exit 1; }
    sleep 0.2
done
"$python" -m tests.environments.hub
