# Make environments, for this shell and what it starts, and run a command in the copy of the course in them:
#   room.sh 'ENVIRONMENT;ENVIRONMENT' 'OUTPUT OUTPUT' COMMAND...
# __main__.py sets $work, an empty folder; $root, the course, and its $models; $python; and $pythons, its folders.
set -eu
environments=$1 outputs=$2 as=() course=$work/course
shift 2
case $environments in *"spaces, é and 水"*) course="$work/leçons, 水 & more" ;; esac
mkdir "$course" "$HOME" "$work/out" "$work/second"
git -C "$root" archive HEAD | tar -x -C "$course"
[ -z "$outputs" ] || cp -r "$models" "$course/models"
cd "$course"

while read -r -d ';' environment; do
    case $environment in
    "no network") # and no way to ask for a name
        ip link set lo up
        echo "nameserver 192.0.2.1" >"$work/resolv.conf"
        mount --bind "$work/resolv.conf" /etc/resolv.conf ;;
    "an ordinary user")
        # Of this Python's folders, those that lie below one that only its owner may enter.
        closed=() below=()
        for python_folder in $pythons; do
            top= above=$python_folder
            while above=$(dirname "$above") && [ "$above" != / ]; do
                [ $((0$(stat -c %a "$above") & 1)) = 1 ] || top=$above
            done
            [ -z "$top" ] || { closed+=("$top") below+=("$python_folder"); }
        done
        for python_folder in "${below[@]}"; do
            mkdir -p "$work/pythons$python_folder" && mount --bind "$python_folder" "$work/pythons$python_folder"
        done
        for folder in $(printf '%s\n' "${closed[@]}" | sort -u); do mount -t tmpfs -o mode=755 none "$folder"; done
        for python_folder in "${below[@]}"; do
            mkdir -p "$python_folder" && mount --bind "$work/pythons$python_folder" "$python_folder"
        done
        for output in $outputs; do chown nobody "$work/$output"; done
        chown nobody "$HOME"
        as=(setpriv --reuid nobody --regid nogroup --clear-groups --no-new-privs) ;;
    "HOME can't be written")
        mount -t tmpfs -o ro none "$HOME" ;;
    "the course and data/ can't be written")
        mount --bind "$course" "$course" && mount -o remount,bind,ro "$course" && cd "$course" ;;
    "LANG=C")
        export LANG=C LC_ALL=C ;;
    "2 GB of memory")
        group=/sys/fs/cgroup/memory/${work##*/} limit=memory.limit_in_bytes
        [ -d /sys/fs/cgroup/memory ] || group=/sys/fs/cgroup/${work##*/} limit=memory.max
        mkdir "$group" && echo 2000000000 >"$group/$limit" && echo $$ >"$group/cgroup.procs"
        [ ! -e "$group/memory.swap.max" ] || echo 0 >"$group/memory.swap.max" ;;
    "one core")
        taskset -pc "$(taskset -pc $$ | grep -oE '[0-9]+' | sed -n 2p)" $$ ;;
    "two runs at once") # each with its share of the cores
        export OMP_NUM_THREADS=$((($(nproc) + 1) / 2)) ;;
    "a full disk")
        for output in $outputs; do mount -t tmpfs -o size=100k none "$work/$output"; done ;;
    esac >/dev/null
done <<<"$environments;"
touch "$work/made"

[ -n "$outputs" ] || exit 0

set +e
trap : INT # the command gets it too, and this shell has to say how it ended
run() {
    "${as[@]}" "$@" --output "$work/$output" >"$work/$output.log" 2>"$work/$output.err"
    echo $? >"$work/$output.status"
}
"${as[@]}" "$python" -m helpers check >"$work/check.log" 2>&1 || touch "$work/unready"
for output in $outputs; do
    if [ "$output" = "${outputs##* }" ]; then run "$@"; else run "$@" & fi
done
wait
cat /proc/net/snmp /proc/net/snmp6 >"$work/network"
