# shellcheck shell=bash disable=SC2034
# Settings and helpers shared by the commands beside it. Sourced, never run.
# Every setting can be overridden from the environment; README.md explains them.

CLUSTER_NAME=${CLUSTER_NAME:-homeport}
CLUSTER_DIR=${CLUSTER_DIR:-/var/tmp/cluster-$CLUSTER_NAME}
CLUSTER_NET=${CLUSTER_NET:-10.77}
# Beside the other programs of tests and benchmarks, see xtask/src/places.rs.
CLUSTER_CACHE=${CLUSTER_CACHE:-${HOMEPORT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/homeport}/kubernetes}
API_PORT=${API_PORT:-6443}
NODE_NAME=${NODE_NAME:-node1}
KUBE_PROXY_MODE=${KUBE_PROXY_MODE:-nftables}
APISERVER_ARGS=${APISERVER_ARGS:-}

# Addresses: one /16 per cluster, all of it behind one veth pair.
HOST_IP=$CLUSTER_NET.0.1 # this machine, as pods and the API server see it
NODE_IP=$CLUSTER_NET.0.2 # the node; also the API server and the name server
POD_CIDR=$CLUSTER_NET.64.0/18
SVC_CIDR=$CLUSTER_NET.128.0/17
SVC_FIRST=$CLUSTER_NET.128.1 # the "kubernetes" Service
HOST_IF=kc-$CLUSTER_NAME     # this machine's end of the pair; also the cgroup of the pods
KUBECONFIG_OUT=$CLUSTER_DIR/kubeconfig
PROVIDER_DIR=$CLUSTER_DIR/credential-provider # bin/ and config.yaml of the kubelet's plug-in; see provider
PAUSE_IMAGE=cluster.invalid/pause:1

MARK=.test-cluster # a file that says: this folder was made by us and may be removed
# Folders of this machine that a node mounts its own over.
MOUNT_POINTS=(/var/lib/containerd /var/lib/kubelet /var/lib/cni /var/log/pods /var/log/containers /tmp/hostpath_pv)

log() { printf '%s\n' "$*" >&2; }
die() {
  log "error: $*"
  exit 1
}

[[ $CLUSTER_NAME =~ ^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$ ]] || die "CLUSTER_NAME must be 1-12 of a-z 0-9 -"
[[ $CLUSTER_NET =~ ^[0-9]{1,3}\.[0-9]{1,3}$ ]] || die "CLUSTER_NET must be the first two octets of a /16"
[[ $CLUSTER_DIR == /?* && $CLUSTER_DIR != *[[:space:],:]* ]] || die "CLUSTER_DIR must be an absolute path without space , :"

# This machine's process id of the node's PID 1, if the cluster runs; fails if not.
# The command line is compared, so that a reused process id is never taken for ours.
node_pid() {
  local pid
  pid=$(cat "$CLUSTER_DIR/node.pid" 2>/dev/null) || return 1
  [[ $pid =~ ^[0-9]+$ ]] || return 1
  tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "node.sh $CLUSTER_DIR " || return 1
  echo "$pid"
}

# Hold the mount points until the process ends: two nodes may come and go at the same time.
lock_mount_points() {
  exec {mount_points}</var/lib
  flock "$mount_points"
}

# Run a command in the node's namespaces: its processes, mounts and network.
in_node() {
  local pid
  pid=$(node_pid) || die "cluster $CLUSTER_NAME is not up"
  nsenter --target "$pid" --pid --mount --net --uts --ipc --wd=/ -- "$@"
}
