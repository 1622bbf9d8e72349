// What the API shows, as far as the console reads it. The contract is api/openapi.yaml.
export type Role = 'operator' | 'client' | 'auditor' | 'host';
export interface Me { name: string; role: Role; project?: string; host: string }
export interface Health { host: string; ok: boolean; etcd: boolean; libvirt: boolean; drbd: boolean; sentence: string }
export interface AskedBy { author: string; reason: string; since_ms: number }
export interface Ha { armed: boolean; disarmed_by?: AskedBy }

export interface Host {
  id: string; site: 'A' | 'B'; alive: boolean; api_address?: string; hostd_version?: string; qemu_version?: string;
  libvirt_version?: string; drbd_version?: string; kernel?: string; accel?: string; cpus: number; memory_mib: number;
  memory_free_mib?: number; pool_free_mib: number; pool_kind?: string; vms?: number; maintenance?: boolean;
  maintenance_by?: AskedBy; power_off?: 'asked' | 'confirmed';
}

export type Outcome = 'restarts' | 'waits' | 'stays' | 'off';
export interface IfLost { vm: string; outcome: Outcome; target?: string; text: string }

export type VmState = 'creating' | 'starting' | 'stopping' | 'migrating' | 'removing' | 'updating' | 'running' | 'off' |
  'down' | 'paused' | 'frozen' | 'crashed' | 'unknown';
export interface VolumeStatus { disk?: string; peer_disk?: string; replication?: string; out_of_sync_kib?: number }
export interface VmStatus {
  domain: string; domain_reason?: string; role?: string; connection?: string; suspended?: string;
  volumes: Record<string, VolumeStatus>; waits?: string;
}
export interface LastCare { when_ms: number; good: boolean; text: string; operation: string }
export interface Check { what: string; ready: boolean; text: string }
export interface LegId { host: string; id: string }
export interface Vm {
  name: string; project: string; cpus: number; memory_mib: number; hosts: { nominal: string; peer: string };
  power: 'on' | 'off'; protection: 'ha' | 'mirror' | 'backup' | 'none'; priority: number; copy_at: string[];
  migration_policy: string; volumes: { name: string; size_mib: number; image?: string }[];
  networks: { network: string; mac?: string }[]; revision: number; state: VmState; host: string; protected: boolean;
  operation?: string; right?: { epoch: number; host: string; migrating_to?: string; insync: Record<string, LegId[]>; restarts?: number };
  status: Record<string, VmStatus>; last?: Record<string, LastCare>; failback?: { ready: boolean; checks: Check[] };
}
export interface Why { vm: string; state: VmState; why: string; if_lost?: IfLost }

export interface Who { name: string; role: string; project?: string }
export type OperationState = 'running' | 'undoing' | 'done' | 'undone' | 'needs-operator';
export interface Step { kind: string; host: string; state: 'pending' | 'done' | 'failed' | 'undone'; note?: string; took_ms?: number }
export interface Progress { step?: string; percent?: number; text?: string; done_bytes?: number; total_bytes?: number }
export interface Operation {
  id: string; kind: string; vm: string; project?: string; object?: string; author: Who; reason: string; created_ms: number;
  finished_ms?: number; state: OperationState; cancel_requested: boolean; steps: Step[]; error?: string; todo?: string;
  source_host?: string; target_host?: string; result?: Record<string, string>; progress?: Progress;
}
export interface AuditRecord {
  sequence: number; when_ms: number; who: Who; why: string; what: string; object: string; project?: string;
  operation?: string; result?: string; hash: string;
}
export interface Event { type: string; object: string; revision: number }
export interface Page<T> { items: T[]; next?: string; revision: number }
export interface AuditPage extends Page<AuditRecord> { head: { sequence: number; hash: string } }
export interface Problem { title: string; status: number; detail: string; code: string }
export interface Submitted { operation: string; unchanged: boolean; replayed: boolean; plan: { kind: string; host: string }[] }
