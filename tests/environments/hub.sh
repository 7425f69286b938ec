# Make a JupyterHub and its users in this folder, and start it; hub.py sets the variables.
# The hub's environment is layered on the course's, and prefers the system's Python: users can't reach /root.
set -e
PATH=/usr/bin:$PATH $(basename $(realpath "$python")) -m venv --without-pip hub
echo "import site; site.addsitedir('$packages')" > $(echo hub/lib/*)/site-packages/course.pth
"$python" -m pip --python hub/bin/python install -c "$course/requirements.txt" 'jupyterhub==5.*'
for each in share etc; do mkdir -p hub/$each; ln -s "$prefix/$each/jupyter" hub/$each/; done
npm install configurable-http-proxy
for user in $seats; do
    useradd --create-home --base-dir "$PWD" $user; echo "$user:$password" | chpasswd
    runuser -u $user -- env -u password HOME="$PWD/$user" sh -ec '
        cd; git config --global --add safe.directory "$course/.git"
        git clone --quiet "$course" watt-it-takes; ln -s "$course/models" watt-it-takes/models'
done
cat >jupyterhub_config.py <<END
c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.Authenticator.allowed_users = set("$seats".split())
c.Spawner.notebook_dir = "~/watt-it-takes"
c.Spawner.environment = {"OMP_NUM_THREADS": "1"}
c.Spawner.args = ["--KernelManager.transport=ipc", "--LabApp.expose_app_in_browser=True"]
END
exec env -u password PATH="$PWD/hub/bin:$PWD/node_modules/.bin:$PATH" jupyterhub
