// What the API shows, as far as the console reads it. The contract is api/openapi.yaml.
export type Role = 'operator' | 'client' | 'auditor' | 'host';
export interface Me { name: string; role: Role; project?: string; host: string }
export interface Health { host: string; ok: boolean; etcd: boolean; libvirt: boolean; drbd: boolean; sentence: string; warnings?: string[] }
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
  power: 'on' | 'off'; protection: 'ha' | 'mirror' | 'backup' | 'none'; priority: number; copy_at: string[]; drill_every_days: number;
  migration_policy: string; volumes: { name: string; size_mib: number; image?: string }[];
  networks: { network: string; mac?: string }[]; revision: number; state: VmState; host: string; protected: boolean;
  operation?: string; right?: { epoch: number; host: string; migrating_to?: string; insync: Record<string, LegId[]>; restarts?: number };
  status: Record<string, VmStatus>; last?: Record<string, LastCare>; failback?: { ready: boolean; checks: Check[] };
}
export interface Drill {
  vm: string; project: string; every_days: number; overdue: boolean; due_ms?: number;
  last?: { what: string; when_ms: number; host: string; operation: string };
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
export type OutageWhy = 'not-seen' | 'host-lost' | 'guest-ended' | 'starting' | 'moving' | 'frozen' | 'paused' | 'operation';
export interface Outage { from_ms: number; to_ms: number; why: OutageWhy; operation?: string }
export interface Times {
  from_ms: number; to_ms: number; up_ms: number; down_ms: number; unknown_ms: number; off_ms: number; protected_ms: number;
  resync_ms: number; failovers: number;
}
export interface HistoryDay extends Times { day: string; behind_kib: number[]; outages: Outage[]; more_outages: number }
export interface HistorySum extends Times { outages: number; longest_outage_ms: number; available?: number; available_least?: number; protected?: number }
export interface History { vm: string; days: HistoryDay[]; sum: HistorySum }

export interface Delivery {
  state: 'claimed' | 'failed' | 'sent'; by: string; tries: number; when_ms: number; accepted: string[]; repeat: boolean; error: string;
}
export interface Alert {
  id: string; kind: string; severity: 'info' | 'warning' | 'critical'; vm: string; host: string; operation: string; title: string;
  what: string; did: string; todo: string; hint: string; created_ms: number; ended_ms: number; reporter: string; acked_by: string;
  ack_reason: string; acked_ms: number; deliveries: Record<string, Delivery>;
}
export interface Event { type: string; object: string; revision: number }
export interface Page<T> { items: T[]; next?: string; revision: number }
export interface AuditPage extends Page<AuditRecord> { head: { sequence: number; hash: string } }
export interface Problem { title: string; status: number; detail: string; code: string }
export interface Submitted { operation: string; unchanged: boolean; replayed: boolean; plan: { kind: string; host: string }[] }
