// What is shown as things happen: on the fake cell alone, which does what it is told.
import { accessible, expect, go, person, says, shot } from './browser.mjs';

const VERDICT = '.verdict [role=status]';

/** Through the dialog to its end: the page of the operation. */
async function submit(page, reason, operation) {
  await page.getByLabel(/^Why\?/).fill(reason);
  await page.getByRole('button', { name: /Show what it would do|Continue/ }).click();
  await page.getByRole('button', { name: 'Do it' }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await page.getByRole('heading', { name: operation, level: 1 }).waitFor();
}

export const acts = ({ rig, base, operator, client, shots }) => [
  ['the first screen names what does not hold, as it happens, and says when all holds again', async (browser) => {
    await rig.tell('behind vm-1 0');
    const { page, noise, context } = await person(browser, base, operator);
    await page.locator(VERDICT, { hasText: 'Everything holds' }).waitFor();
    await shot(page, shots, 'operator-holds');
    await rig.tell('behind web 204800');
    await page.locator(VERDICT, { hasText: 'One thing to look at' }).waitFor();
    await says(page, 'web is not protected yet: 200 MiB left to copy');
    await rig.tell('lost b1 yes');
    await page.locator(VERDICT, { hasText: 'not hold' }).waitFor();
    await says(page, 'Host b1 is silent');
    await accessible(page, 'overview with trouble');
    await shot(page, shots, 'operator-trouble');
    await rig.tell('lost b1 no');
    await rig.tell('behind web 0');
    await page.locator(VERDICT, { hasText: 'Everything holds' }).waitFor();
    expect(noise.length === 0, noise.join('\n'));
    await context.close();
  }],
  ['what would happen is told per host and per VM, with failover disarmed too', async (browser) => {
    const { page, context } = await person(browser, base, operator);
    await go(page, '#/host/a1');
    await page.getByRole('row', { name: /web .*starts by itself/ }).waitFor();
    await go(page, '#/');
    await page.getByRole('button', { name: 'Disarm failover' }).click();
    await submit(page, 'work on the network', /ha-disarm/);
    await go(page, '#/');
    await says(page, 'Automatic failover is disarmed');
    await says(page, /work on the network/);
    await go(page, '#/vm/web');
    await says(page, /failover is disarmed by olga/);
    await go(page, '#/');
    await page.getByRole('button', { name: 'Arm failover' }).click();
    await submit(page, 'the work is done', /ha-arm/);
    await go(page, '#/');
    await page.locator(VERDICT, { hasText: 'Everything holds' }).waitFor();
    await context.close();
  }],
  ['a migration is followed step by step, with one key and the revision that was seen', async (browser) => {
    const { page, context } = await person(browser, base, operator);
    const posts = [];
    page.on('request', (r) => r.method() === 'POST' && posts.push(r));
    await go(page, '#/vm/web');
    await page.getByRole('button', { name: 'Move to the other site' }).click();
    await page.getByLabel('Policy').selectOption('gentle');
    await submit(page, 'maintenance of a1', /vm-migrate web/);
    const done = posts.at(-1);
    const sent = await done.allHeaders();
    expect(/^console-[0-9a-f-]{36}$/.test(sent['idempotency-key'] ?? ''), 'no idempotency key');
    expect(/^"\d+"$/.test(sent['if-match'] ?? ''), 'no revision');
    expect(JSON.stringify(done.postDataJSON()) === '{"policy":"gentle","reason":"maintenance of a1"}', done.postData());
    const id = (await page.evaluate(() => location.hash)).split('/').pop();
    await rig.tell(`progress ${id} 40`);
    await says(page, /copying memory/);
    await shot(page, shots, 'operator-operation');
    await accessible(page, 'operation at work');
    await rig.tell(`finish ${id} done`);
    await page.getByRole('status').filter({ hasText: 'done' }).waitFor();
    await go(page, '#/');
    await says(page, 'web runs away from home, on b1');
    await go(page, '#/vm/web');
    await says(page, 'Ready to go home?');
    await says(page, 'maintenance of a1');
    await shot(page, shots, 'operator-vm-away');
    await context.close();
  }],
  ['a drill is due until it is made, and the page tells both by itself', async (browser) => {
    const { page, noise, context } = await person(browser, base, operator);
    await go(page, '#/drills');
    await says(page, 'No drill is overdue');
    await rig.tell('drill vm-2 3650');
    await says(page, 'One drill is overdue');
    const row = page.getByRole('row', { name: /^vm-2 / });
    await row.getByText('never exercised').waitFor();
    expect((await page.getByRole('row').nth(1).textContent()).startsWith('vm-2'), 'the overdue one is not first');
    await page.getByRole('row', { name: /^web .*not asked for.*vm-migrate b1/ }).waitFor();
    await accessible(page, 'drills');
    await shot(page, shots, 'operator-drills');
    await go(page, '#/vm/vm-2');
    await says(page, /Due: .*overdue.*never exercised/);
    await page.getByRole('button', { name: 'Move to the other site' }).click();
    await submit(page, 'the drill of this year', /vm-migrate vm-2/);
    const id = (await page.evaluate(() => location.hash)).split('/').pop();
    await go(page, '#/drills');
    await rig.tell(`finish ${id} done`);
    await page.getByRole('row', { name: /^vm-2 .*3650 days.*vm-migrate b1/ }).waitFor();
    await says(page, 'No drill is overdue');
    await go(page, '#/vm/vm-2');
    await says(page, /Last exercise: .*b1\./);
    const { page: own, context: second } = await person(browser, base, client);
    await go(own, '#/drills');
    await own.getByRole('row', { name: /^vm-2 / }).waitFor();
    expect((await own.getByRole('row', { name: /^vm-1 / }).count()) === 0, 'a client is shown the VM of another project');
    expect(noise.length === 0, noise.join('\n'));
    await second.close();
    await context.close();
  }],
  ['an error is shown in the words of the API, and a lost answer is asked again with the same key', async (browser) => {
    const { page, context } = await person(browser, base, operator);
    await go(page, '#/vm/web');
    await page.getByRole('button', { name: 'Bring it home' }).click();
    await page.getByLabel(/^Why\?/).fill('back');
    await rig.tell('fail conflict');
    await page.getByRole('button', { name: 'Show what it would do' }).click();
    await page.getByRole('alert').filter({ hasText: 'secret sentence of the cell' }).waitFor();
    await page.getByRole('button', { name: 'Close' }).click();

    await page.getByRole('button', { name: 'Shut down' }).click();
    await page.getByLabel(/^Why\?/).fill('for the night');
    await page.getByRole('button', { name: 'Show what it would do' }).click();
    await page.getByRole('button', { name: 'Do it' }).waitFor();
    const posts = [];
    page.on('request', (r) => r.method() === 'POST' && posts.push(r));
    await rig.tell('fail outcome-unknown');
    await page.getByRole('button', { name: 'Do it' }).click();
    await says(page, /It may or may not have happened\. Ask again/);
    await accessible(page, 'dialog with an error');
    await page.getByRole('button', { name: 'Ask again' }).click();
    await page.getByRole('heading', { name: /vm-shutdown web/ }).waitFor();
    const keys = await Promise.all(posts.map(async (r) => (await r.allHeaders())['idempotency-key']));
    expect(keys.length === 2 && keys[0] && keys[0] === keys[1], `keys: ${keys}`);
    await page.getByRole('button', { name: 'Cancel it' }).click();
    await submit(page, 'not yet', /vm-shutdown web/);
    await context.close();
    const { page: other, context: second } = await person(browser, base, operator);
    await go(other, '#/ops');
    const id = (await other.getByRole('link', { name: 'vm-shutdown' }).first().getAttribute('href')).split('/').pop();
    await rig.tell(`finish ${id} needs-operator`);
    await go(other, '#/');
    await says(other, 'An operation needs a person: vm-shutdown web');
    await says(other, 'nothing, it is a test');
    await second.close();
  }],
  ['the outcome of a change stays: neither Back nor Escape takes the dialog away while it is sent, and the focus is where it goes on', async (browser) => {
    const { page, context } = await person(browser, base, operator);
    const focused = (text) => page.waitForFunction((t) => document.activeElement.matches('button, h3, .problem') && document.activeElement.textContent.includes(t), text);
    await go(page, '#/ops');
    await go(page, '#/');
    await page.getByRole('button', { name: 'Disarm failover' }).click();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await focused('Disarm failover');
    // The dry run of a dialog that is closed before its answer, which comes while the next one sends.
    let late;
    const slow = new Promise((done) => (late = done));
    await page.route(/disarm\?dry_run=true$/, (route) => slow.then(() => route.continue()), { times: 1 });
    await page.getByRole('button', { name: 'Disarm failover' }).click();
    await page.getByLabel(/^Why\?/).fill('to close it');
    await page.getByRole('button', { name: 'Show what it would do' }).click();
    await page.getByRole('button', { name: 'Asking…' }).waitFor();
    await page.getByRole('button', { name: 'Close' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Disarm failover' }).click();
    await page.getByLabel(/^Why\?/).fill('to try it');
    await page.getByRole('button', { name: 'Show what it would do' }).click();
    await page.getByRole('heading', { name: 'What it would do' }).waitFor();
    await focused('What it would do');
    let answer;
    const held = new Promise((done) => (answer = done));
    await page.route('**/v1/ha/actions/disarm', async (route) => {
      await held;
      await route.fulfill({ status: 504, contentType: 'application/problem+json', body: '{"title":"t","code":"outcome-unknown","detail":"etcd is away"}' });
    });
    await page.getByRole('button', { name: 'Do it' }).click();
    await page.getByRole('button', { name: 'Sending…' }).waitFor();
    const answered = page.waitForResponse(/dry_run=true$/);
    late();
    await (await answered).finished();
    await page.waitForTimeout(200);
    await page.goBack();
    await page.getByRole('heading', { name: 'Operations', level: 1, includeHidden: true }).waitFor({ state: 'attached' });
    for (let i = 0; i < 3; ++i) await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ timeout: 10_000 }); // again, if the browser closed it
    answer();
    await says(page, /It may or may not have happened/);
    await focused('etcd is away');
    await page.getByRole('button', { name: 'Close' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await context.close();
  }],
  ['a page that is out of sight gives its stream back, and follows again when it is seen', async (browser) => {
    const { page, context } = await person(browser, base, operator);
    await says(page, /Live from/);
    const asked = [];
    page.on('request', (r) => r.url().endsWith('/v1/events') && asked.push(r));
    const hide = (yes) => page.evaluate((hidden) => {
      Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, yes);
    await hide(true);
    await says(page, 'did not follow', 8_000);
    await page.locator(VERDICT, { hasText: 'Not known now' }).waitFor();
    await accessible(page, 'out of sight');
    expect(asked.length === 0, 'it follows all the same');
    await rig.tell('vm unseen blue');
    await hide(false);
    await says(page, /Live from/);
    await page.getByRole('link', { name: 'unseen' }).waitFor();
    expect(Number((await asked[0].allHeaders())['last-event-id']) > 0, 'it does not go on where it stopped');
    await context.close();
  }],
  ['a lost connection is told at once, and what happened meanwhile is there when it is back', async (browser) => {
    const { page, context } = await person(browser, base, operator);
    await says(page, /Live from/);
    const asked = [];
    page.on('request', (r) => r.url().endsWith('/v1/events') && asked.push(r));
    await rig.tell('touch web');
    await go(page, '#/events');
    await says(page, 'vm.changed');
    await page.getByRole('row').nth(2).waitFor(); // the head, the touch, and the event before the page, with which the stream begins
    const before = await page.getByRole('row').count();
    rig.relay.cut();
    await page.getByRole('alert').filter({ hasText: 'is lost' }).waitFor({ timeout: 10_000 });
    await accessible(page, 'connection lost');
    await shot(page, shots, 'connection-lost');
    await go(page, '#/');
    await page.locator(VERDICT, { hasText: 'Not known now' }).waitFor();
    await rig.tell('touch vm-2');
    const revision = Number(await rig.tell('revision'));
    rig.relay.heal();
    await says(page, /Live from/, 12_000);
    await go(page, '#/events');
    await page.getByRole('row', { name: /vm\.changed.*vm-2/ }).waitFor();
    expect((await page.getByRole('row').count()) === before + 1, 'events were lost or doubled');
    const last = Number((await asked.at(-1).allHeaders())['last-event-id']);
    expect(last > 0 && last < revision, `it came back with id ${last}, the cell is at ${revision}`);
    await context.close();
  }],
  ['events that are not kept any more make it read everything again', async (browser) => {
    const { page, context } = await person(browser, base, operator);
    await says(page, /Live from/);
    rig.relay.cut();
    await page.getByRole('alert').waitFor();
    await rig.tell('vm newcomer blue');
    await rig.tell('forget');
    rig.relay.heal();
    await page.getByRole('link', { name: 'newcomer' }).waitFor({ timeout: 12_000 });
    await context.close();
  }],
  ['how a VM fared is shown by figures, charts and a table, by mouse and by keyboard', async (browser) => {
    await rig.tell('history web 120');
    const { page, noise, context } = await person(browser, base, client);
    await go(page, '#/vm/web');
    await page.locator('.chart canvas').nth(2).waitFor();
    const figure = (name) => page.locator('.history .facts div', { has: page.locator('dt', { hasText: new RegExp(`^${name}$`) }) }).locator('dd').textContent();
    expect(/^99\.\d+ %$/.test(await figure('Available')), `available: ${await figure('Available')}`);
    expect(/^40 min 0 s\. Had it been down then: 99\.\d+ %/.test(await figure('not seen')), `not seen: ${await figure('not seen')}`);
    await page.getByRole('row', { name: /14\.2 s its host was lost op-failover/ }).waitFor();
    const words = page.locator('.day-words');
    const slider = page.getByRole('slider', { name: 'Day' });
    await slider.focus();
    const today = await words.textContent();
    await page.keyboard.press('ArrowLeft');
    expect((await words.textContent()) !== today, 'the arrow key does not move the day');
    expect((await slider.getAttribute('aria-valuetext')) === (await words.textContent()), 'the day is not told to who does not see it');
    await page.locator('.chart').first().hover({ position: { x: 300, y: 60 } });
    await page.waitForFunction((before) => document.querySelector('.day-words').textContent !== before, today);
    await page.getByLabel('Last').selectOption('90');
    await page.getByText('Every day as a table').click();
    await page.waitForFunction(() => document.querySelectorAll('.history details tbody tr').length === 90);
    await page.locator('.history').scrollIntoViewIfNeeded();
    await accessible(page, 'the history of a VM');
    await page.getByText('Every day as a table').click();
    await page.locator('.history').evaluate((e) => e.scrollIntoView());
    await page.waitForTimeout(300);
    await shot(page, shots, 'client-vm-history');
    await page.setViewportSize({ width: 390, height: 844 });
    await page.waitForTimeout(300);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(wide <= 0, `on a phone it is ${wide} px too wide`);
    await page.setViewportSize({ width: 1080, height: 760 });
    const green = () => page.locator('.chart canvas').first().evaluate((c) => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((v, i) => i % 4 === 3 && v > 0).length);
    expect((await green()) > 500, 'nothing is drawn');
    await page.getByLabel('Language').selectOption('fr');
    await page.getByLabel('Thème').selectOption('dark');
    await page.getByText(/son hôte a été perdu/).first().waitFor();
    await page.waitForTimeout(300);
    await accessible(page, 'the history in French and dark');
    await page.locator('.history').evaluate((e) => e.scrollIntoView());
    await shot(page, shots, 'client-vm-history-dark-fr');
    await go(page, '#/vm/vm-0');
    await page.getByText(/On ne sait rien encore/).waitFor();
    expect(noise.length === 0, noise.join('\n'));
    await context.close();
  }],
  ['alerts come by themselves, and an operator acknowledges one with a reason', async (browser) => {
    const { page, noise, context } = await person(browser, base, operator);
    const { page: reader, context: second } = await person(browser, base, rig.certificate('auditor'));
    await go(page, '#/alerts');
    await says(page, 'No alert stands');
    await rig.tell('alert heartbeat-2026-11-28 heartbeat info');
    await rig.tell('alert host-silent-b1 host-silent critical');
    await says(page, 'One alert stands');
    await rig.tell('alert vm-down-web vm-down warning');
    const silent = page.locator('article.alert', { hasText: 'the title of host-silent-b1' });
    await page.getByText('2 alerts stand', { exact: false }).first().waitFor();
    for (const text of ['What happened, of host-silent-b1.', 'What Bascule did, of host-silent-b1.', 'docs/runbooks/host-dead.md', 'connection refused', '3 failed tries'])
      await silent.getByText(text).first().waitFor();
    expect((await page.locator('article.alert h3').first().textContent()).includes('Critical'), 'the worst is not first');
    await page.getByRole('link', { name: 'Alerts (2)' }).waitFor();
    await accessible(page, 'alerts');
    await shot(page, shots, 'operator-alerts');
    await silent.getByRole('button', { name: 'Acknowledge' }).click();
    await page.getByRole('button', { name: 'Continue' }).click();
    expect(await page.getByRole('dialog').isVisible(), 'it goes on without a reason');
    await page.getByLabel(/^Why\?/).fill('on my way to site B');
    await page.getByRole('button', { name: 'Continue' }).click();
    await says(page, 'it goes to nobody further');
    await page.getByRole('button', { name: 'Do it' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await silent.getByText('By olga').waitFor();
    expect((await silent.getByRole('button', { name: 'Acknowledge' }).count()) === 0, 'it can be acknowledged twice');
    await page.getByRole('link', { name: 'Alerts (1)' }).waitFor();
    await go(reader, '#/alerts');
    await reader.getByText('on my way to site B').waitFor();
    expect((await reader.getByRole('button', { name: 'Acknowledge' }).count()) === 0, 'an auditor is offered to acknowledge');
    await rig.tell('alert vm-down-web vm-down warning over');
    await says(page, 'One alert stands');
    await page.locator('details.alert', { hasText: 'the title of vm-down-web' }).locator('summary').click();
    await page.getByText(/Over since/).first().waitFor();
    await accessible(page, 'alerts, past');
    expect(noise.length === 0, noise.join('\n'));
    await second.close();
    await context.close();
  }],
  ['a client sees its own VMs, who touched them, and stops one', async (browser) => {
    const { page, noise, context } = await person(browser, base, client);
    await says(page, 'carl (client)');
    expect((await page.getByRole('link', { name: 'vm-1' }).count()) === 0, 'it sees the VM of another project');
    expect((await page.getByRole('link', { name: /^Alerts/ }).count()) === 0, 'a client is shown alerts');
    await go(page, '#/alerts');
    await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
    await go(page, '#/vm/web');
    const trail = page.getByRole('region', { name: 'Who touched it, when and why' });
    await trail.getByRole('row', { name: /olga \(operator\).*vm-migrate requested.*maintenance of a1/ }).waitFor();
    expect((await page.getByRole('button', { name: 'Move to the other site' }).count()) === 0, 'it may not move it');
    await go(page, '#/vm/newcomer');
    await page.getByRole('button', { name: 'Shut down' }).click();
    await submit(page, 'holidays', /vm-shutdown newcomer/);
    await accessible(page, 'operation of a client');
    await shot(page, shots, 'client-operation');
    expect(noise.length === 0, noise.join('\n'));
    await context.close();
  }],
];
