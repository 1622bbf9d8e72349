// Chromium with a client certificate, and what every check uses.
import { readFileSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { chromium } from 'playwright-core';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });
}

/** A person at a browser: own certificate, own settings. `noise` gathers what the page complained about. */
export async function person(browser, base, certificate, more = {}) {
  const context = await browser.newContext({
    // The CA is the cell's own; the browser of a person has it installed.
    ignoreHTTPSErrors: true, viewport: { width: 1080, height: 760 }, locale: 'en-GB', timezoneId: 'UTC', colorScheme: 'light',
    clientCertificates: [{ origin: base, certPath: certificate.cert, keyPath: certificate.key }], ...more,
  });
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  const noise = [];
  page.on('console', (m) => m.type() === 'error' && noise.push(m.text()));
  page.on('pageerror', (e) => noise.push(String(e)));
  await page.goto(`${base}/console/`);
  await page.getByRole('heading', { level: 1 }).waitFor();
  return { page, noise, context };
}

export async function go(page, hash) {
  await page.evaluate((h) => void (location.hash = h), hash);
  await page.getByRole('heading', { level: 1 }).waitFor();
}

/** WCAG 2.2 A and AA, as far as a program can tell. */
export async function accessible(page, where) {
  // evaluate() is the debugger's, so the page's own policy stays as strict as it is served.
  await page.evaluate(AXE);
  const found = await page.evaluate(async () => {
    const r = await globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'], resultTypes: ['violations'] });
    return r.violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(' | ')}`);
  });
  if (found.length > 0) throw new Error(`${where}:\n  ${found.join('\n  ')}`);
}

export async function shot(page, folder, name) {
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: path.join(folder, `${name}.png`), scale: 'css' });
}

export function expect(truth, what) {
  if (!truth) throw new Error(what);
}

/** Waits until `what` is true of the page's text. */
export async function says(page, text, timeout = 10_000) {
  await page.getByText(text).first().waitFor({ timeout });
}
