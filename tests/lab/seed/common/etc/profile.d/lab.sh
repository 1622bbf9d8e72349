export ETCDCTL_API=3 ETCDCTL_CACERT=/etc/etcd/ca.pem ETCDCTL_CERT=/etc/etcd/host.pem ETCDCTL_KEY=/etc/etcd/host.key
export ETCDCTL_ENDPOINTS=https://@MGMT@:2379
