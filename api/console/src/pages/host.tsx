// One host: what it is, and what would become of each of its VMs.
import type { VNode } from 'preact';
import { hostActions } from '../actions';
import { Actions, Badge, Facts, Heading, Table, useShared, type Level } from '../ui';
import { size, time } from '../words';

export function HostPage({ id }: { id: string }): VNode {
  const { store, w, lang } = useShared();
  const host = store.view.hosts.get(id);
  if (!host) return <><Heading>{id}</Heading><p>{w.none}</p></>;
  const lost = store.view.ifLost.get(id);
  const level = (o: string): Level => (o === 'restarts' ? 'good' : o === 'off' ? 'note' : o === 'waits' ? 'warn' : 'bad');
  const m = host.maintenance_by;
  return (
    <>
      <Heading>{w.host} {host.id}</Heading>
      <p>
        <Badge level={host.alive ? 'good' : 'bad'}>{host.alive ? w.alive : w.silent}</Badge> {w.site(host.site)}
        {host.maintenance && <Badge level="warn">{w.maintenance}</Badge>}
      </p>
      {m && <p>{w.fBy(m.author, m.reason, time(lang, m.since_ms))}</p>}
      {host.power_off && <p>{w.fPowerOff(host.power_off === 'confirmed')}</p>}
      <section><h2>{w.actions}</h2><Actions actions={hostActions(host, store.view.me)} empty={w.noActions} /></section>
      <section>
        <h2>{w.ifLost(host.id)}</h2>
        {!lost || lost.length === 0 ? <p class="quiet">{lost ? w.ifLostNothing : w.ifLostUnread}</p> : (
          <Table label={w.ifLost(host.id)} head={[w.vm, w.result, w.why]}>
            {lost.map((f) => (
              <tr key={f.vm}>
                <th scope="row"><a href={`#/vm/${f.vm}`}>{f.vm}</a></th>
                <td><Badge level={level(f.outcome)}>{w.outcomes[f.outcome]}</Badge></td>
                <td lang="en">{f.text}</td>
              </tr>
            ))}
          </Table>
        )}
      </section>
      <section>
        <h2>{w.definition}</h2>
        <Facts of={[
          [w.cpus, host.cpus], [w.memory, w.free(size(lang, host.memory_free_mib ?? 0), size(lang, host.memory_mib))],
          [w.pool, `${host.pool_kind ?? ''} ${size(lang, host.pool_free_mib)}`],
          [w.versions, [['hostd', host.hostd_version], ['libvirt', host.libvirt_version], ['QEMU', host.qemu_version], ['DRBD', host.drbd_version], ['Linux', host.kernel], ['', host.accel]]
            .filter(([, v]) => v).map(([n, v]) => `${n} ${v}`.trim()).join(', ')],
        ]} />
      </section>
    </>
  );
}
