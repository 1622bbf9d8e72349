// What holds on any cell, a running one too: nothing here changes anything.
import { accessible, expect, go, person, says, shot } from './browser.mjs';

async function firstLink(page, kind) {
  return page.locator(`main a[href^="#/${kind}/"]`).first().getAttribute('href', { timeout: 2000 }).catch(() => null);
}

/** Every page, in the colours that stand. */
async function everyPage(cell, page, noise, prefix) {
  await says(page, /Live from/);
  await go(page, '#/');
  const pages = [['overview', '#/'], ['operations', '#/ops'], ['drills', '#/drills'], ['audit', '#/audit'], ['events', '#/events']];
  const [vm, host] = [await firstLink(page, 'vm'), await firstLink(page, 'host')];
  if (prefix === 'operator') pages.push(['alerts', '#/alerts']);
  if (vm) pages.push(['vm', vm]);
  if (host) pages.push(['host', host]);
  await go(page, '#/ops');
  const op = await firstLink(page, 'op');
  if (op) pages.push(['operation', op]);
  for (const [name, hash] of pages) {
    await go(page, hash);
    await page.waitForTimeout(250); // sentences that are read after the page stands
    await accessible(page, `${prefix}-${name}`);
    if (prefix === 'operator' || ['overview', 'vm'].includes(name)) await shot(page, cell.shots, `${prefix}-${name}`);
  }
  expect(noise.length === 0, `the page complained: ${noise.join('\n')}`);
}

/** What hostd wrote of it: figures that are whole, charts, and the same as a table. */
async function fared(page) {
  await page.getByText('Available', { exact: true }).first().waitFor();
  await page.locator('.chart canvas').nth(2).waitFor();
  await page.getByText('Every day as a table').click();
  const row = await page.getByRole('region', { name: 'Every day as a table' }).getByRole('row').nth(1).textContent();
  expect(/\d %/.test(row), `the day has no figure: ${row}`);
  const words = await page.locator('.day-words').textContent();
  expect(/up \d.*down \d.*not seen \d/.test(words), `the day's words: ${words}`);
}

/** A VM that runs and is protected, as its page says it: both legs may run next, the guest runs, and who touched it is told. */
async function runningVm(browser, cell, certificate, staff) {
  const { page, noise, context } = await person(browser, cell.base, certificate);
  await says(page, /Live from/);
  await page.getByRole('row', { name: new RegExp(`${cell.vm}.*running`) }).waitFor();
  await go(page, `#/vm/${cell.vm}`);
  await page.getByRole('heading', { name: cell.vm, level: 1 }).waitFor();
  await says(page, 'running');
  await page.locator('.why .sentence', { hasNotText: '…' }).waitFor();
  const legs = page.getByRole('region', { name: 'Volumes and legs' });
  await legs.getByText('may run next').nth(1).waitFor();
  expect((await legs.getByText('may NOT run next').count()) === 0, 'a leg may not run next');
  expect((await legs.getByText('UpToDate', { exact: true }).count()) === 2, `the legs are not both UpToDate: ${await legs.textContent()}`);
  await page.getByRole('region', { name: /^Who touched it/ }).getByRole('row').nth(1).waitFor();
  expect((await page.getByRole('button', { name: 'Move to the other site' }).count()) === (staff ? 1 : 0), 'who may move it is wrong');
  await page.getByRole('button', { name: 'Shut down' }).waitFor();
  await fared(page);
  expect(noise.length === 0, `the page complained: ${noise.join('\n')}`);
  await context.close();
}

export const looks = (cell) => [
  ['every page of the operator, light, is accessible and complains of nothing', async (browser) => {
    const { page, noise, context } = await person(browser, cell.base, cell.operator);
    await everyPage(cell, page, noise, 'operator');
    await context.close();
  }],
  ['every page is accessible in the dark and in French', async (browser) => {
    const { page, noise, context } = await person(browser, cell.base, cell.operator, { colorScheme: 'dark', locale: 'fr-FR' });
    await page.getByText(/En direct de/).waitFor();
    expect((await page.locator('html').getAttribute('lang')) === 'fr', 'the language of the page is not told');
    const vm = await firstLink(page, 'vm');
    for (const hash of ['#/', '#/alerts', '#/ops', '#/drills', '#/audit', '#/events', ...(vm ? [vm] : [])]) {
      await go(page, hash);
      await page.waitForTimeout(250);
      await accessible(page, `dark ${hash}`);
    }
    await go(page, '#/');
    await shot(page, cell.shots, 'operator-overview-dark-fr');
    expect(noise.length === 0, noise.join('\n'));
    await context.close();
  }],
  ['language and theme are chosen by hand and kept', async (browser) => {
    const { page, context } = await person(browser, cell.base, cell.operator);
    await page.getByLabel('Language').selectOption('fr');
    await page.getByRole('heading', { name: 'Vue d’ensemble', level: 1 }).waitFor();
    await page.getByLabel('Thème').selectOption('dark');
    const dark = () => page.waitForFunction(() => getComputedStyle(document.body).backgroundColor === 'rgb(18, 23, 30)');
    await dark();
    await page.reload();
    await page.getByRole('heading', { name: 'Vue d’ensemble', level: 1 }).waitFor();
    await dark();
    await context.close();
  }],
  ['a phone shows it without scrolling sideways', async (browser) => {
    const { page, context } = await person(browser, cell.base, cell.operator, { viewport: { width: 390, height: 844 } });
    await says(page, /Live from/);
    const vm = await firstLink(page, 'vm');
    for (const hash of ['#/', '#/alerts', '#/ops', '#/drills', '#/audit', vm ?? '#/events']) {
      await go(page, hash);
      await page.waitForTimeout(200);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      expect(wide <= 0, `${hash} is ${wide} px too wide`);
    }
    await go(page, '#/');
    await shot(page, cell.shots, 'phone-overview');
    await context.close();
  }],
  ['the keyboard alone reaches the content, a page and a change', async (browser) => {
    const { page, context } = await person(browser, cell.base, cell.operator);
    await says(page, /Live from/);
    await page.keyboard.press('Tab');
    expect((await page.evaluate(() => document.activeElement.className)) === 'skip', 'the first stop is not the way past the menu');
    await page.keyboard.press('Enter');
    expect((await page.evaluate(() => document.activeElement.id)) === 'heading', 'it does not lead to the heading');
    await page.getByRole('link', { name: 'Audit' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Audit', level: 1 }).waitFor();
    await page.waitForFunction(() => document.activeElement.id === 'heading');
    await go(page, '#/');
    await page.getByRole('button', { name: /(Disa|A)rm failover/ }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    expect((await page.evaluate(() => document.activeElement.tagName)) === 'TEXTAREA', 'the dialog does not begin at the reason');
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await context.close();
  }],
  ['a change asks why and shows what it would do before it does it', async (browser) => {
    const { page, context } = await person(browser, cell.base, cell.operator);
    const posts = [];
    page.on('request', (r) => r.method() === 'POST' && posts.push(r));
    await page.getByRole('button', { name: 'Disarm failover' }).click();
    await page.getByRole('button', { name: 'Show what it would do' }).click();
    expect(posts.length === 0, 'it was sent without a reason');
    await page.getByLabel(/^Why\?/).fill('to see what it would do');
    await page.getByRole('button', { name: 'Show what it would do' }).click();
    await page.getByRole('button', { name: 'Do it' }).waitFor();
    await accessible(page, 'dialog');
    await shot(page, cell.shots, 'operator-change');
    expect(posts.length === 1 && posts[0].url().endsWith('?dry_run=true'), 'the first call is not a dry run');
    await page.getByRole('button', { name: 'Close' }).click();
    expect(posts.length === 1, 'something was done');
    await context.close();
  }],
  ...(cell.vm ? [[`${cell.vm} runs, protected, for the operator`, (browser) => runningVm(browser, cell, cell.operator, true)]] : []),
  ...(cell.vm && cell.client ? [[`${cell.vm} runs, protected, for its client`, (browser) => runningVm(browser, cell, cell.client, false)]] : []),
  ...(cell.client ? [['every page of a client is accessible and shows its own only', async (browser) => {
    const { page, noise, context } = await person(browser, cell.base, cell.client);
    await everyPage(cell, page, noise, 'client');
    await go(page, '#/');
    expect((await page.getByRole('heading', { name: /^Site / }).count()) === 0, 'a client sees the hosts');
    expect((await page.getByRole('button', { name: /failover/ }).count()) === 0, 'a client is offered what it may not');
    await context.close();
  }]] : []),
];
