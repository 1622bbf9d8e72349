#!/bin/bash
# Two private libvirt daemons, "a1" and "b1", for tests: own mount, pid and network namespaces, nothing of the machine's
# libvirt is touched, nothing is left when the caller dies. Usage (as root): libvirt_private.sh DIR
# Afterwards DIR/{a1,b1}/run/libvirt-sock are the sockets, DIR/{a1,b1}/control takes lines: start, kill, stop, cont.
# DIR/{a1,b1}/stopped is made once every thread of the daemon has stopped.
# DIR/loop names a block device over DIR/shared.img that both daemons see.
set -u
dir=$1 stage=${2:-outer} host=${3:-}

case $stage in
outer)
  exec unshare --net --mount --pid --fork --kill-child --propagation private bash "$0" "$dir" inner
  ;;
inner)
  mount -t proc proc /proc
  ip link set lo up
  ip link add br-test type bridge && ip link set br-test up
  mkdir -p "$dir/pki" && cd "$dir/pki" || exit 1
  {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca-key.pem -out ca-cert.pem -days 2 \
      -subj /CN=test-ca
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server-key.pem -out req.pem -subj /CN=a1
    printf 'subjectAltName=DNS:a1,DNS:b1\nextendedKeyUsage=serverAuth,clientAuth\n' >ext
    openssl x509 -req -in req.pem -CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile ext \
      -out server-cert.pem
  } >"$dir/openssl.log" 2>&1 || exit 1
  cp server-cert.pem client-cert.pem && cp server-key.pem client-key.pem
  # Detached while still open: the kernel frees the loop device when the last user goes.
  truncate -s 16M "$dir/shared.img"
  loop=$(losetup --find --show "$dir/shared.img") && exec 9<>"$loop" && losetup -d "$loop" || exit 1
  echo "$loop" >"$dir/loop"
  for h in a1 b1; do
    mkdir -p "$dir/$h/run" && mkfifo "$dir/$h/control"
    unshare --mount --pid --fork --kill-child --propagation private bash "$0" "$dir" daemon $h 9<&- &
  done
  echo ready >"$dir/ready"
  wait
  ;;
daemon)
  mount -t proc proc /proc
  for p in /run /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
    mkdir -p $p && mount -t tmpfs tmpfs $p
  done
  mkdir -p /run/lock /etc/libvirt/qemu
  cat >/etc/libvirt/qemu.conf <<X
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
default_tls_x509_cert_dir = "$dir/pki"
default_tls_x509_verify = 1
X
  cat >/etc/libvirt/libvirtd.conf <<X
unix_sock_dir = "$dir/$host/run"
auth_unix_rw = "none"
host_uuid = "$(cat /proc/sys/kernel/random/uuid)"
log_outputs = "3:file:$dir/$host/libvirtd.log"
X
  # This shell is process 1 here: it takes in the orphans of the daemon, which waits for their end.
  daemon=
  exec 8<>"$dir/$host/control"
  while read -r word <&8; do
    case $word in
    start) libvirtd 8<&- >>"$dir/$host/out" 2>&1 & daemon=$! ;;
    kill) kill -9 $daemon ;;
    stop)
      kill -STOP $daemon
      while grep -qs '^State:.[^TXZ]' /proc/$daemon/task/*/status; do sleep 0.02; done
      touch "$dir/$host/stopped"
      ;;
    cont) kill -CONT $daemon ;;
    esac
  done
  ;;
esac
