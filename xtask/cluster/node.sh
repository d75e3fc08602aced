#!/usr/bin/env bash
# PID 1 of the node: lays out its private mounts, then starts its programs, and starts them
# again when they end. Run by up, in new pid, mount, network, uts and ipc namespaces:
#   node.sh CLUSTER_DIR WITH_NODE
set -euo pipefail
dir=$1 with_node=$2
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "$(readlink -f "$0")")/lib.sh"
conf=$dir/conf logs=$dir/logs
PATH=$dir/bin:$PATH

# --- mounts: seen by this node only, gone with it --------------------------------------
mount --make-rshared /
mkdir -p "$dir"/node/{etc,etc-work}
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$dir/node/etc,workdir=$dir/node/etc-work" /etc
mount -t tmpfs -o mode=755 tmpfs /run
lock_mount_points
for target in "${MOUNT_POINTS[@]}"; do
  if mkdir "$target" 2>/dev/null; then touch "$target/$MARK"; fi
  mkdir -p "$dir/node/${target##*/}"
  mount --bind "$dir/node/${target##*/}" "$target"
done
exec {mount_points}<&-
# The kubelet insists on these settings, and would make them for the whole machine: show it
# files that have them.
mkdir /run/sysctl /run/hosts.d
for setting in kernel/panic=10 kernel/panic_on_oops=1 kernel/keys/root_maxkeys=1000000 \
  kernel/keys/root_maxbytes=25000000 vm/overcommit_memory=1 vm/panic_on_oom=0; do
  file=/run/sysctl/${setting//\//.}
  echo "${setting#*=}" >"$file"
  mount --bind "$file" "/proc/sys/${setting%=*}"
done
cp -r "$conf"/etc/. /etc/
hostname "$NODE_NAME"

# --- network: up moves eth0 in here ----------------------------------------------------
ip link set lo up
until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip addr add "$NODE_IP/30" dev eth0
ip link set eth0 up
# A route is looked up before kube-proxy puts a pod's address in place of a service's.
ip route add "$SVC_CIDR" dev eth0 src "$NODE_IP"
# Nothing else is to be reached from here; say so at once.
ip route add prohibit default
echo 1 >/proc/sys/net/ipv4/ip_forward

# --- programs --------------------------------------------------------------------------
# A test may kill one:  in pkill -x kube-apiserver
keep_running() { # keep_running NAME COMMAND...
  local name=$1
  shift
  while :; do
    "$@" >>"$logs/$name.log" 2>&1 || true
    echo "--- $name ended, starting it again" >>"$logs/$name.log"
    sleep 1
  done &
}

# Write a hosts file for every Service that has an address; the name server sees it change.
watch_services() {
  local event address name
  kubectl --kubeconfig "$conf/kube-proxy.kubeconfig" get services --all-namespaces --watch --output-watch-events \
    -o go-template='{{with .object}}{{$.type}} {{.spec.clusterIP}} {{.metadata.name}}.{{.metadata.namespace}}.svc{{"\n"}}{{end}}' |
    while read -r event address name; do
      if [[ $event != DELETED && $address =~ ^[0-9.]+$ ]]; then
        echo "$address $name.cluster.local $name" >"/run/hosts.d/$name"
      else
        rm -f "/run/hosts.d/$name"
      fi
    done
}

# The controllers make volumes that only root may write, and fsGroup does nothing for a
# hostPath: open them to all users, before a pod can start with one.
open_volumes() {
  local dir never
  exec {never}<> <(:)
  while :; do
    for dir in /tmp/hostpath_pv/*/; do
      if [[ -d $dir && ! -g $dir ]]; then chmod 2777 "$dir"; fi
    done
    read -rt 0.1 -u "$never" || true
  done
}

# The plug-in counts from the next start of the kubelet on: provider makes it start again.
run_kubelet() {
  local plugin=()
  if [[ -e $PROVIDER_DIR/config.yaml ]]; then
    plugin=(--image-credential-provider-config="$PROVIDER_DIR/config.yaml" --image-credential-provider-bin-dir="$PROVIDER_DIR/bin")
  fi
  kubelet --config="$conf/kubelet.yaml" --kubeconfig="$conf/kubelet.kubeconfig" \
    --hostname-override="$NODE_NAME" --node-ip="$NODE_IP" "${plugin[@]}"
}

if [[ $with_node == 1 ]]; then
  keep_running containerd containerd
  keep_running volumes open_volumes
fi
keep_running etcd etcd --name "$NODE_NAME" --data-dir "$dir/etcd" --unsafe-no-fsync --log-level warn \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
  --listen-peer-urls http://127.0.0.1:2380
# shellcheck disable=SC2086 # APISERVER_ARGS is a list of words
keep_running kube-apiserver kube-apiserver \
  --etcd-servers=http://127.0.0.1:2379 \
  --bind-address=0.0.0.0 --secure-port="$API_PORT" --advertise-address="$NODE_IP" \
  --tls-cert-file="$conf/pki/apiserver.crt" --tls-private-key-file="$conf/pki/apiserver.key" \
  --client-ca-file="$conf/pki/ca.crt" \
  --authentication-config="$conf/authentication.yaml" \
  --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
  --kubelet-client-certificate="$conf/pki/apiserver-kubelet-client.crt" \
  --kubelet-client-key="$conf/pki/apiserver-kubelet-client.key" \
  --kubelet-certificate-authority="$conf/pki/ca.crt" \
  --kubelet-preferred-address-types=InternalIP \
  --requestheader-client-ca-file="$conf/pki/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client \
  --requestheader-username-headers=X-Remote-User --requestheader-uid-headers=X-Remote-Uid \
  --requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- \
  --proxy-client-cert-file="$conf/pki/front-proxy-client.crt" \
  --proxy-client-key-file="$conf/pki/front-proxy-client.key" \
  --enable-aggregator-routing=true \
  --service-account-issuer="https://$NODE_IP:$API_PORT" \
  --service-account-jwks-uri="https://$NODE_IP:$API_PORT/openid/v1/jwks" \
  --service-account-key-file="$conf/pki/sa.pub" --service-account-signing-key-file="$conf/pki/sa.key" \
  --service-cluster-ip-range="$SVC_CIDR" --allow-privileged=true --profiling=false \
  $APISERVER_ARGS

until curl -sf --max-time 2 --cacert "$conf/pki/ca.crt" "https://$NODE_IP:$API_PORT/readyz" >/dev/null; do sleep 0.1; done
keep_running kube-controller-manager kube-controller-manager \
  --kubeconfig="$conf/controller-manager.kubeconfig" --use-service-account-credentials --leader-elect=false \
  --kube-api-qps=500 --kube-api-burst=1000 \
  --bind-address=127.0.0.1 --root-ca-file="$conf/pki/ca.crt" \
  --service-account-private-key-file="$conf/pki/sa.key" \
  --cluster-signing-cert-file="$conf/pki/ca.crt" --cluster-signing-key-file="$conf/pki/ca.key" \
  --enable-hostpath-provisioner --flex-volume-plugin-dir=/var/lib/kubelet/volumeplugins --profiling=false

if [[ $with_node == 1 ]]; then
  keep_running kube-scheduler kube-scheduler --kubeconfig="$conf/scheduler.kubeconfig" \
    --leader-elect=false --bind-address=127.0.0.1 --profiling=false
  until ctr version >/dev/null 2>&1; do sleep 0.1; done
  ctr -n k8s.io images import "$dir/pause.tar" >>"$logs/containerd.log" 2>&1
  keep_running kubelet run_kubelet
  # Names: those of /etc/hosts, of trust, and of the Services, by their cluster address.
  keep_running dns dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --pid-file= --log-facility=- \
    --listen-address="$NODE_IP,127.0.0.1" --bind-interfaces --no-resolv --hostsdir=/run/hosts.d --address='/#/'
  keep_running names watch_services
  until kubectl --kubeconfig "$conf/kubelet.kubeconfig" get node "$NODE_NAME" >/dev/null 2>&1; do sleep 0.2; done
  keep_running kube-proxy kube-proxy --config="$conf/kube-proxy.yaml" --hostname-override="$NODE_NAME"
fi
wait
