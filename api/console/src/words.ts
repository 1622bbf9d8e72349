// The console's own words, in English and French. The sentences of hostd (why, errors, what to do) are English in both.
import type { OutageWhy, Outcome, VmState } from './types';

const en = {
  title: 'Bascule', colon: ':',
  skip: 'Skip to the content',
  overview: 'Overview', operations: 'Operations', audit: 'Audit', events: 'Events', alerts: 'Alerts', drills: 'Drills',
  signed: (name: string, role: string) => `${name} (${role})`,
  roles: { operator: 'operator', client: 'client', auditor: 'auditor', host: 'host' } as Record<string, string>,
  theme: 'Theme', themes: { auto: 'Automatic', light: 'Light', dark: 'Dark' } as Record<string, string>,
  language: 'Language',
  loading: 'Reading the state of the cell…',
  again: 'Try again',
  cannotLoad: 'The state of the cell cannot be read',
  noConnection: 'No connection to this host: it does not answer, or the browser sent no certificate. Try again, or open the console on another host.',
  live: (host: string) => `Live from ${host}`,
  lost: (host: string, at: string) => `The connection to ${host} is lost. What you see is from ${at}. It comes back by itself.`,
  behind: (host: string, at: string) => `What changed could not be read from ${host}. What you see is from ${at}. It is tried again by itself.`,
  asleep: (host: string, at: string) => `The page was out of sight and did not follow. What you see is from ${at}. It is asking ${host} what happened since.`,
  missed: (host: string, at: string) => `${host} is back in reach; what happened since is being read. What you see is from ${at}.`,
  otherHosts: 'Open the console on another host:',

  holds: 'Everything holds',
  holdsBut: (n: number) => (n === 1 ? 'It holds. One thing to look at' : `It holds. ${n} things to look at`),
  broken: (n: number) => (n === 1 ? 'One thing does not hold' : `${n} things do not hold`),
  notKnown: 'Not known now: what is shown is not live',
  sum: (vms: number, running: number, safe: number, unknown: number) => `${vms} ${vms === 1 ? 'VM' : 'VMs'}: ${running} running, ${safe} protected${unknown > 0 ? `, of ${unknown} it is not known` : ''}.`,
  more: (n: number) => `and ${n} more`,
  armed: 'Automatic failover is armed.',
  severities: { bad: 'Does not hold', warn: 'Look at it', note: 'Note' } as Record<string, string>,

  fHealth: (host: string) => `Host ${host} misses a part`,
  fWarning: (host: string) => `Host ${host} warns`,
  fAlerts: { 'etcd-voter-lost': () => 'A member of etcd is not reached', 'certificate-expiring': (host: string) => `A certificate of host ${host} ends soon`,
    'split-brain': (vm: string) => `${vm}: the link between its legs is refused` } as Record<string, (of: string) => string>,
  fSilent: (host: string) => `Host ${host} is silent`,
  fSilentText: (vms: number) => `It does not renew its lease.${vms > 0 ? ` VMs whose run-right it holds: ${vms}; what becomes of each is said below.` : ''}`,
  fPowerOff: (confirmed: boolean): string => (confirmed ? 'Its power switch says that it is off.' : 'Its power switch was asked to switch it off.'),
  fMaintenance: (host: string) => `Host ${host} is in maintenance`,
  fDisarmed: 'Automatic failover is disarmed',
  fBy: (who: string, why: string, when: string) => `By ${who}, ${when}: “${why}”.`,
  fVmState: (vm: string, state: string) => `${vm} is ${state}`,
  fUnprotected: (vm: string) => `${vm} is not protected`,
  fSyncing: (vm: string, left: string) => `${vm} is not protected yet: ${left} left to copy`,
  fStuck: (kind: string, object: string) => `An operation needs a person: ${kind} ${object}`,
  fCare: (vm: string, what: string) => `${vm}: the last ${what} did not end well`,
  fIfLost: (host: string, n: number) => (n === 1 ? `If ${host} were lost now, one VM would not start by itself` : `If ${host} were lost now, ${n} VMs would not start by themselves`),
  fAway: (vm: string, host: string) => `${vm} runs away from home, on ${host}`,
  fAwayReady: 'It is ready to go back.', fAwayNot: 'It is not ready to go back:',
  todo: 'To do',

  site: (s: string) => `Site ${s}`, host: 'Host', hosts: 'Hosts', vms: 'VMs', vm: 'VM', noHosts: 'No host here.', noVms: 'No VMs.',
  alive: 'alive', silent: 'silent', maintenance: 'maintenance', memory: 'memory', free: (a: string, b: string) => `${a} of ${b} free`,
  holdsVms: (n: number) => (n === 1 ? 'holds 1 VM' : `holds ${n} VMs`),
  ifLost: (host: string) => `If ${host} were lost now`, ifLostSum: (host: string) => `If ${host} were lost now, its VMs start on the other side`,
  ifLostNothing: 'nothing would stop: no VM runs here.', ifLostUnread: 'not read yet.',
  outcomes: { restarts: 'starts by itself', waits: 'waits for a person', stays: 'cannot start', off: 'is off anyway' } as Record<Outcome, string>,
  outcomeCounts: (o: Outcome, n: number) => `${n} ${{ restarts: 'by themselves', waits: 'by a person', stays: 'not before it is back', off: 'off anyway' }[o]}`,
  filter: 'Filter by name, project, host or state',
  state: 'State', replication: 'Replication', protectedQ: 'Protected', project: 'Project', here: 'runs here', holder: 'would run here',
  yes: 'yes', no: 'no', home: 'home', away: 'away',
  states: { creating: 'being made', starting: 'starting', stopping: 'stopping', migrating: 'migrating', removing: 'being removed',
    updating: 'being changed', running: 'running', off: 'off', down: 'down', paused: 'paused', frozen: 'frozen',
    crashed: 'crashed', unknown: 'not known' } as Record<VmState, string>,
  rep: { sync: 'in sync', syncing: 'copying', cut: 'link down', single: 'one leg', cold: 'cold copy', unknown: 'not known' } as Record<string, string>,
  left: (mib: string) => `${mib} left`,

  why: 'What is going on', definition: 'Definition', volumes: 'Volumes and legs', volume: 'Volume', size: 'Size', disk: 'Disk',
  inRecord: 'may run next', notInRecord: 'may NOT run next', failback: 'Ready to go home?', ready: 'ready', notReady: 'not ready',
  care: 'Care', history: 'Who touched it, when and why', lastFailover: 'Last failover', noFailover: 'none in the last week',
  cpus: 'CPUs', nominal: 'Nominal host', peer: 'Other leg', power: 'Should be', protection: 'Protection', priority: 'Priority',
  policy: 'Migration policy', networks: 'Networks', epoch: 'Epoch', gone: 'There is no such VM any more, or it is not yours.',
  when: 'When', who: 'Who', what: 'What', reason: 'Reason', result: 'Result', object: 'Object', none: 'None.',
  older: 'Older records', noneNewest: 'None among the newest records. There are older ones to read.', auditNote: 'The chain is verified by hostctl audit verify, on your machine.',
  eventsNote: 'Changes since this page was opened, newest first.',
  opStates: { running: 'running', undoing: 'being undone', done: 'done', undone: 'undone', 'needs-operator': 'needs a person' } as Record<string, string>,
  steps: 'Steps', asked: (who: string, when: string) => `Asked by ${who}, ${when}`, progress: 'Progress', error: 'Why', kind: 'Operation',
  stepStates: { pending: 'pending', done: 'done', failed: 'failed', undone: 'undone' } as Record<string, string>,
  versions: 'Versions', pool: 'Pool', running: 'At work now',

  hTitle: 'Availability and protection', hSpan: 'Last', hDays: (n: number) => `${n} days`, hAgain: 'Read again', hDay: 'Day', hUpTo: 'Up to',
  hAvailable: 'Available', hProtected: 'protected', hOutages: 'Outages', hUnseen: 'not seen', hUp: 'up', hDown: 'down', hOff: 'off', hBehind: 'most behind',
  hFailovers: 'Failovers', hFrom: 'From', hTo: 'To', hFor: 'For', hTable: 'Every day as a table', hAsTable: 'The table below has the same figures.',
  hOutagesSum: (n: number, all: string, longest: string) => `${n}: ${all} in all, the longest ${longest}`,
  hLeast: (p: string) => `Had it been down then: ${p} available.`,
  hNote: 'Of the time in which it should run and was seen. What no host saw is told apart and never counts as up. Days are in UTC.',
  hNothing: 'Nothing is known yet: the first record comes within a minute.',
  hChartDown: 'Down and not seen, each day', hChartProtected: 'Both legs could run it, in % of each day', hChartBehind: 'What the other leg lacked, the most of each hour',
  outageWhys: { 'not-seen': 'it was started anew while nobody saw it', 'host-lost': 'its host was lost', 'guest-ended': 'the guest ended', starting: 'it was being started',
    moving: 'paused while it was moved', frozen: 'its disks waited for a decision', paused: 'paused', operation: 'an operation' } as Record<OutageWhy, string>,

  drill: 'Drill', dDue: 'Due', dEvery: 'Every', dLast: 'Last exercise', dRan: 'Ran on', dNever: 'never exercised', dOverdue: 'overdue', dNotAsked: 'not asked for',
  dOverdueSum: (n: number) => (n === 0 ? 'No drill is overdue' : n === 1 ? 'One drill is overdue' : `${n} drills are overdue`),
  dNote: 'A VM is exercised when its other host really runs it: by a live move, a failback or a failover that ended well. Bascule starts none by itself; it tells what is due.',

  alertsStand: (n: number): string => (n === 0 ? 'No alert stands' : n === 1 ? 'One alert stands' : `${n} alerts stand`), alertsUnseen: (n: number): string => ` (${n})`,
  alertsOpen: (n: number): string => (n === 1 ? 'One alert that nobody has acknowledged' : `${n} alerts that nobody has acknowledged`),
  alertsNote: 'What operators were told by mail, SMS or webhook in the last week. Hosts whose hostd.toml names nobody to tell make none.',
  alertsStanding: 'Standing', alertsPast: 'Past', alertWhat: 'What happened', alertDid: 'What Bascule did', alertWent: 'To whom it went', alertNobody: 'It went to nobody yet.',
  alertSince: (when: string, by: string) => `${when}, noticed by ${by}.`, alertOver: (when: string) => `Over since ${when}.`,
  acked: 'acknowledged', over: 'over', operationOf: 'its operation', alertSeverities: { critical: 'Critical', warning: 'Warning', info: 'Information' },
  deliveries: { claimed: 'on its way', failed: 'not delivered', sent: 'delivered' }, deliveredBy: (host: string, when: string) => `by ${host}, ${when}`,
  tries: (n: number) => (n === 1 ? '1 failed try' : `${n} failed tries`), maybeTwice: 'maybe twice', accepted: (who: string) => `already with ${who}`,

  actions: 'Actions', noActions: 'Nothing you may do here now.', askOperator: 'Moves between the sites are done by your provider.',
  act: { start: 'Start', shutdown: 'Shut down', 'power-off': 'Cut its power', reset: 'Reset', migrate: 'Move to the other site',
    failover: 'Start it on the other side', failback: 'Bring it home', copy: 'Bring the cold copy up to date',
    repair: 'Repair a split brain', verify: 'Compare the legs', grow: 'Grow', 'maintenance-on': 'Start maintenance',
    'maintenance-off': 'End maintenance', 'prove-watchdog': 'Prove the watchdog', arm: 'Arm failover', disarm: 'Disarm failover',
    cancel: 'Cancel it', approve: 'Approve it', ack: 'Acknowledge' } as Record<string, string>,
  warnAct: { 'power-off': 'The guest is not asked: it loses what it has not written.', reset: 'The guest is not asked: it loses what it has not written.',
    failover: 'For a host that is lost. Say that it is off only if you have seen it.', disarm: 'Until it is armed again, a lost host’s VMs stay down.',
    repair: 'A second operator must approve what is given up.', 'prove-watchdog': 'The host resets.' } as Record<string, string>,
  fields: { policy: 'Policy', host_is_off: 'I state that the lost host is off', sacrifice: 'Host whose newer data is given up (empty: none)', size_mib: 'New size in MiB' } as Record<string, string>,
  policyOwn: 'the VM’s own',
  reasonAsk: 'Why? It goes into the audit chain.', reasonNeeded: 'A reason is needed.',
  dryRun: 'Show what it would do', noDryRun: 'This has no dry run: it acts on an operation at work.',
  noDryRuns: { ack: 'You take notice of it: it goes to nobody further.' } as Record<string, string>,
  plan: 'What it would do', asking: 'Asking…',
  would: 'It would take these steps:', wouldNothing: 'Nothing to do: it is already so.', wouldAtOnce: 'It is done at once, without steps.',
  next: 'Continue', doIt: 'Do it', back: 'Back', close: 'Close', sending: 'Sending…',
  unsettled: 'It may or may not have happened. Ask again: with the same key it is not done twice.', askAgain: 'Ask again',
};
export type Words = typeof en;

const fr: Words = {
  title: 'Bascule', colon: ' :',
  skip: 'Aller au contenu',
  overview: 'Vue d’ensemble', operations: 'Opérations', audit: 'Audit', events: 'Événements', alerts: 'Alertes', drills: 'Exercices',
  signed: (name, role) => `${name} (${role})`,
  roles: { operator: 'opérateur', client: 'client', auditor: 'auditeur', host: 'hôte' },
  theme: 'Thème', themes: { auto: 'Automatique', light: 'Clair', dark: 'Sombre' },
  language: 'Langue',
  loading: 'Lecture de l’état de la cellule…',
  again: 'Réessayer',
  cannotLoad: 'L’état de la cellule ne peut pas être lu',
  noConnection: 'Pas de connexion à cet hôte : il ne répond pas, ou le navigateur n’a pas envoyé de certificat. Réessayez, ou ouvrez la console sur un autre hôte.',
  live: (host) => `En direct de ${host}`,
  lost: (host, at) => `La connexion à ${host} est perdue. Ce que vous voyez date de ${at}. Elle revient d’elle-même.`,
  behind: (host, at) => `Ce qui a changé n’a pas pu être lu sur ${host}. Ce que vous voyez date de ${at}. C’est réessayé tout seul.`,
  asleep: (host, at) => `La page était hors de vue et n’a pas suivi. Ce que vous voyez date de ${at}. Elle demande à ${host} ce qui s’est passé depuis.`,
  missed: (host, at) => `La connexion à ${host} est rétablie ; ce qui s’est passé depuis est en cours de lecture. Ce que vous voyez date de ${at}.`,
  otherHosts: 'Ouvrir la console sur un autre hôte :',

  holds: 'Tout tient',
  holdsBut: (n) => (n === 1 ? 'Cela tient. Une chose à regarder' : `Cela tient. ${n} choses à regarder`),
  broken: (n) => (n === 1 ? 'Une chose ne tient pas' : `${n} choses ne tiennent pas`),
  notKnown: 'Inconnu pour l’instant : ce qui est montré n’est pas en direct',
  sum: (vms, running, safe, unknown) => `${vms} VM : ${running} en marche, ${safe} protégées${unknown > 0 ? `, inconnu pour ${unknown}` : ''}.`,
  more: (n) => `et ${n} de plus`,
  armed: 'La reprise automatique est armée.',
  severities: { bad: 'Ne tient pas', warn: 'À regarder', note: 'Note' },

  fHealth: (host) => `Il manque une partie à l’hôte ${host}`,
  fWarning: (host) => `L’hôte ${host} avertit`,
  fAlerts: { 'etcd-voter-lost': () => 'Un membre d’etcd n’est pas joint', 'certificate-expiring': (host) => `Un certificat de l’hôte ${host} expire bientôt`,
    'split-brain': (vm) => `${vm} : le lien entre ses jambes est refusé` },
  fSilent: (host) => `L’hôte ${host} est muet`,
  fSilentText: (vms) => `Il ne renouvelle plus son bail.${vms > 0 ? ` VM dont il détient le droit d’exécution : ${vms} ; le sort de chacune est dit plus bas.` : ''}`,
  fPowerOff: (confirmed) => (confirmed ? 'Son interrupteur dit qu’il est éteint.' : 'Son interrupteur a reçu l’ordre de l’éteindre.'),
  fMaintenance: (host) => `L’hôte ${host} est en maintenance`,
  fDisarmed: 'La reprise automatique est désarmée',
  fBy: (who, why, when) => `Par ${who}, ${when} : « ${why} ».`,
  fVmState: (vm, state) => `${vm} : ${state}`,
  fUnprotected: (vm) => `${vm} n’est pas protégée`,
  fSyncing: (vm, left) => `${vm} n’est pas encore protégée : ${left} à copier`,
  fStuck: (kind, object) => `Une opération attend une personne : ${kind} ${object}`,
  fCare: (vm, what) => `${vm} : la dernière opération ${what} a mal fini`,
  fIfLost: (host, n) => (n === 1 ? `Si ${host} était perdu maintenant, une VM ne repartirait pas seule` : `Si ${host} était perdu maintenant, ${n} VM ne repartiraient pas seules`),
  fAway: (vm, host) => `${vm} tourne hors de chez elle, sur ${host}`,
  fAwayReady: 'Elle est prête à rentrer.', fAwayNot: 'Elle n’est pas prête à rentrer :',
  todo: 'À faire',

  site: (s) => `Site ${s}`, host: 'Hôte', hosts: 'Hôtes', vms: 'VM', vm: 'VM', noHosts: 'Aucun hôte ici.', noVms: 'Aucune VM.',
  alive: 'vivant', silent: 'muet', maintenance: 'maintenance', memory: 'mémoire', free: (a, b) => `${a} libres sur ${b}`,
  holdsVms: (n) => `détient ${n} VM`,
  ifLost: (host) => `Si ${host} était perdu maintenant`, ifLostSum: (host) => `Si ${host} était perdu maintenant, ses VM repartent de l’autre côté`,
  ifLostNothing: 'rien ne s’arrêterait : aucune VM ne tourne ici.', ifLostUnread: 'pas encore lu.',
  outcomes: { restarts: 'repart seule', waits: 'attend une personne', stays: 'ne peut pas repartir', off: 'est arrêtée de toute façon' },
  outcomeCounts: (o, n) => `${n} ${{ restarts: 'd’elles-mêmes', waits: 'par une personne', stays: 'pas avant son retour', off: 'arrêtées de toute façon' }[o]}`,
  filter: 'Filtrer par nom, projet, hôte ou état',
  state: 'État', replication: 'Réplication', protectedQ: 'Protégée', project: 'Projet', here: 'tourne ici', holder: 'tournerait ici',
  yes: 'oui', no: 'non', home: 'chez elle', away: 'ailleurs',
  states: { creating: 'en création', starting: 'démarre', stopping: 's’arrête', migrating: 'migre', removing: 'en suppression',
    updating: 'en modification', running: 'en marche', off: 'arrêtée', down: 'tombée', paused: 'en pause', frozen: 'gelée',
    crashed: 'plantée', unknown: 'inconnu' },
  rep: { sync: 'synchrone', syncing: 'copie en cours', cut: 'lien coupé', single: 'une jambe', cold: 'copie froide', unknown: 'inconnu' },
  left: (mib) => `reste ${mib}`,

  why: 'Ce qui se passe', definition: 'Définition', volumes: 'Volumes et jambes', volume: 'Volume', size: 'Taille', disk: 'Disque',
  inRecord: 'peut repartir', notInRecord: 'ne peut PAS repartir', failback: 'Prête à rentrer ?', ready: 'prêt', notReady: 'pas prêt',
  care: 'Entretien', history: 'Qui y a touché, quand et pourquoi', lastFailover: 'Dernière reprise', noFailover: 'aucune depuis une semaine',
  cpus: 'Processeurs', nominal: 'Hôte nominal', peer: 'Autre jambe', power: 'Devrait être', protection: 'Protection', priority: 'Priorité',
  policy: 'Politique de migration', networks: 'Réseaux', epoch: 'Époque', gone: 'Cette VM n’existe plus, ou n’est pas à vous.',
  when: 'Quand', who: 'Qui', what: 'Quoi', reason: 'Raison', result: 'Résultat', object: 'Objet', none: 'Aucun.',
  older: 'Plus anciens', noneNewest: 'Aucun parmi les plus récents. Il en reste de plus anciens à lire.', auditNote: 'La chaîne se vérifie par hostctl audit verify, sur votre machine.',
  eventsNote: 'Changements depuis l’ouverture de cette page, le plus récent d’abord.',
  opStates: { running: 'en cours', undoing: 'en cours d’annulation', done: 'faite', undone: 'annulée', 'needs-operator': 'attend une personne' },
  steps: 'Étapes', asked: (who, when) => `Demandée par ${who}, ${when}`, progress: 'Avancement', error: 'Pourquoi', kind: 'Opération',
  stepStates: { pending: 'à faire', done: 'faite', failed: 'échouée', undone: 'défaite' },
  versions: 'Versions', pool: 'Réserve', running: 'En cours maintenant',

  hTitle: 'Disponibilité et protection', hSpan: 'Derniers', hDays: (n) => `${n} jours`, hAgain: 'Relire', hDay: 'Jour', hUpTo: 'Jusqu’à',
  hAvailable: 'Disponible', hProtected: 'protégée', hOutages: 'Interruptions', hUnseen: 'non observé', hUp: 'en marche', hDown: 'tombée', hOff: 'arrêtée', hBehind: 'retard maximal',
  hFailovers: 'Reprises', hFrom: 'De', hTo: 'À', hFor: 'Durée', hTable: 'Chaque jour en tableau', hAsTable: 'Le tableau plus bas donne les mêmes chiffres.',
  hOutagesSum: (n, all, longest) => `${n} : ${all} en tout, la plus longue ${longest}`,
  hLeast: (p) => `Si elle était tombée alors : disponible à ${p}.`,
  hNote: 'Du temps où elle devait tourner et a été observée. Ce qu’aucun hôte n’a vu est dit à part et ne compte jamais comme marche. Les jours sont en UTC.',
  hNothing: 'On ne sait rien encore : le premier relevé vient dans la minute.',
  hChartDown: 'Tombée et non observé, chaque jour', hChartProtected: 'Les deux jambes pouvaient la faire tourner, en % de chaque jour', hChartBehind: 'Ce qui manquait à l’autre jambe, au plus de chaque heure',
  outageWhys: { 'not-seen': 'redémarrée sans que personne ne l’observe', 'host-lost': 'son hôte a été perdu', 'guest-ended': 'l’invité s’est terminé', starting: 'elle démarrait',
    moving: 'en pause pendant son déplacement', frozen: 'ses disques attendaient une décision', paused: 'en pause', operation: 'une opération' },

  drill: 'Exercice', dDue: 'Échéance', dEvery: 'Tous les', dLast: 'Dernier exercice', dRan: 'A tourné sur', dNever: 'jamais exercée', dOverdue: 'en retard', dNotAsked: 'non demandé',
  dOverdueSum: (n) => (n === 0 ? 'Aucun exercice en retard' : n === 1 ? 'Un exercice en retard' : `${n} exercices en retard`),
  dNote: 'Une VM est exercée quand son autre hôte la fait vraiment tourner : par un déplacement à chaud, un retour ou une reprise qui a bien fini. Bascule n’en lance aucun de lui-même ; il dit ce qui est dû.',

  alertsStand: (n) => (n === 0 ? 'Aucune alerte en cours' : n === 1 ? 'Une alerte en cours' : `${n} alertes en cours`), alertsUnseen: (n) => ` (${n})`,
  alertsOpen: (n) => (n === 1 ? 'Une alerte que personne n’a prise en compte' : `${n} alertes que personne n’a prises en compte`),
  alertsNote: 'Ce qui a été dit aux opérateurs par courriel, SMS ou webhook depuis une semaine. Les hôtes dont hostd.toml ne nomme personne à prévenir n’en font pas.',
  alertsStanding: 'En cours', alertsPast: 'Passées', alertWhat: 'Ce qui s’est passé', alertDid: 'Ce que Bascule a fait', alertWent: 'À qui elle est allée', alertNobody: 'Elle n’est encore allée à personne.',
  alertSince: (when, by) => `${when}, remarquée par ${by}.`, alertOver: (when) => `Finie depuis ${when}.`,
  acked: 'prise en compte', over: 'finie', operationOf: 'son opération', alertSeverities: { critical: 'Critique', warning: 'Avertissement', info: 'Information' },
  deliveries: { claimed: 'en chemin', failed: 'pas remise', sent: 'remise' }, deliveredBy: (host, when) => `par ${host}, ${when}`,
  tries: (n) => (n === 1 ? '1 essai manqué' : `${n} essais manqués`), maybeTwice: 'peut-être deux fois', accepted: (who) => `déjà chez ${who}`,

  actions: 'Actions', noActions: 'Rien que vous puissiez faire ici maintenant.', askOperator: 'Les déplacements entre sites sont faits par votre fournisseur.',
  act: { start: 'Démarrer', shutdown: 'Arrêter', 'power-off': 'Couper le courant', reset: 'Réinitialiser', migrate: 'Déplacer vers l’autre site',
    failover: 'Démarrer de l’autre côté', failback: 'Ramener chez elle', copy: 'Mettre à jour la copie froide',
    repair: 'Réparer une divergence', verify: 'Comparer les jambes', grow: 'Agrandir', 'maintenance-on': 'Commencer une maintenance',
    'maintenance-off': 'Finir la maintenance', 'prove-watchdog': 'Éprouver le chien de garde', arm: 'Armer la reprise', disarm: 'Désarmer la reprise',
    cancel: 'L’annuler', approve: 'L’approuver', ack: 'Prendre en compte' },
  warnAct: { 'power-off': 'L’invité n’est pas consulté : il perd ce qu’il n’a pas écrit.', reset: 'L’invité n’est pas consulté : il perd ce qu’il n’a pas écrit.',
    failover: 'Pour un hôte perdu. Ne déclarez qu’il est éteint que si vous l’avez vu.', disarm: 'Jusqu’au réarmement, les VM d’un hôte perdu restent arrêtées.',
    repair: 'Un second opérateur doit approuver ce qui est abandonné.', 'prove-watchdog': 'L’hôte redémarre.' },
  fields: { policy: 'Politique', host_is_off: 'Je déclare que l’hôte perdu est éteint', sacrifice: 'Hôte dont les données plus récentes sont abandonnées (vide : aucun)', size_mib: 'Nouvelle taille en Mio' },
  policyOwn: 'celle de la VM',
  reasonAsk: 'Pourquoi ? Cela entre dans la chaîne d’audit.', reasonNeeded: 'Il faut une raison.',
  dryRun: 'Montrer ce que cela ferait', noDryRun: 'Pas de simulation ici : cela agit sur une opération en cours.',
  noDryRuns: { ack: 'Vous en prenez acte : elle n’est envoyée à personne d’autre.' },
  plan: 'Ce que cela ferait', asking: 'Demande…',
  would: 'Les étapes seraient :', wouldNothing: 'Rien à faire : c’est déjà ainsi.', wouldAtOnce: 'C’est fait d’un coup, sans étapes.',
  next: 'Continuer', doIt: 'Le faire', back: 'Retour', close: 'Fermer', sending: 'Envoi…',
  unsettled: 'Cela a pu se faire ou non. Redemandez : avec la même clé, ce n’est pas fait deux fois.', askAgain: 'Redemander',
};

export type Lang = 'en' | 'fr';
export const words: Record<Lang, Words> = { en, fr };

export function firstLang(wanted: readonly string[]): Lang {
  for (const one of wanted) {
    const short = one.slice(0, 2).toLowerCase();
    if (short === 'en' || short === 'fr') return short;
  }
  return 'en';
}

export function time(lang: Lang, ms: number): string {
  return new Intl.DateTimeFormat(lang === 'fr' ? 'fr-FR' : 'en-GB', { dateStyle: 'short', timeStyle: 'medium' }).format(ms);
}

/** A day, of seconds since 1970 in UTC. */
export function day(lang: Lang, seconds: number): string {
  return new Intl.DateTimeFormat(lang === 'fr' ? 'fr-FR' : 'en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' }).format(seconds * 1000);
}

export function number(lang: Lang, n: number, digits: number): string {
  return new Intl.NumberFormat(lang, { maximumFractionDigits: digits }).format(n);
}

/** A size in MiB, short. */
export function size(lang: Lang, mib: number): string {
  const [unit, n] = mib >= 1048064 ? ['Ti', mib / 1048576] : mib >= 1024 ? ['Gi', mib / 1024] : ['Mi', mib];
  const digits = n < 10 && unit !== 'Mi' ? 1 : 0;
  const number = new Intl.NumberFormat(lang, { maximumFractionDigits: digits }).format(n as number);
  return `${number} ${unit as string}${lang === 'fr' ? 'o' : 'B'}`;
}
