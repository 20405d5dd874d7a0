// Opens a Superset dashboard in headless Chromium as a person would, and tells what each chart shows.
//
//   node dashboard.cjs URL DASHBOARD_ID SCREENSHOT.png
//
// Prints JSON: { charts: [{ title, text, error, loading }], requests: [{ status, error }], page_errors: […] }.
// playwright-core is found through NODE_PATH; CHROMIUM names the browser.
const { chromium } = require('playwright-core');

const WITHIN_MS = 120_000;
const DRAWN_WITHIN_MS = 45_000;

async function main() {
  const [url, id, screenshot] = process.argv.slice(2);
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
  try {
    const page = await browser.newPage({ viewport: { width: 1600, height: 1200 } });
    const requests = [];
    const pageErrors = [];
    page.on('pageerror', (error) => pageErrors.push(String(error)));
    page.on('response', async (response) => {
      if (!response.url().includes('/api/v1/chart/data')) return;
      const text = await response.text().catch(() => '');
      let error = null;
      try {
        error = JSON.parse(text).result?.map((one) => one.error).find(Boolean) ?? null;
      } catch {
        error = text.slice(0, 300);
      }
      requests.push({ status: response.status(), error, posted: response.request().postData() });
    });
    await page.goto(`${url}/login/`, { waitUntil: 'domcontentloaded', timeout: WITHIN_MS });
    await page.fill('input#username, input[name="username"]', 'admin', { timeout: WITHIN_MS });
    await page.fill('input#password, input[name="password"]', 'admin');
    await Promise.all([
      page.waitForURL((at) => !at.pathname.includes('/login'), { timeout: WITHIN_MS }),
      page.press('input#password, input[name="password"]', 'Enter'),
    ]);
    await page.goto(`${url}/superset/dashboard/${id}/?standalone=0`, { waitUntil: 'domcontentloaded', timeout: WITHIN_MS });
    await page.waitForSelector('.chart-slice', { timeout: WITHIN_MS });
    // Charts below the fold load when they come into view: a window as high as the page shows them all.
    const height = await page.evaluate(() => {
      const grid = document.querySelector('.grid-container') || document.body;
      return Math.ceil(grid.getBoundingClientRect().bottom) + 200;
    });
    await page.setViewportSize({ width: 1600, height: Math.min(Math.max(height, 1200), 6000) });
    // A chart that never comes is told of below, as one that is not drawn.
    await page.waitForFunction(() => {
      const charts = [...document.querySelectorAll('.chart-slice')];
      return charts.every((chart) => chart.querySelector('.slice_container, .chart-container, [role="alert"]')
        && !chart.querySelector('.loading, [data-test="loading-indicator"]'));
    }, null, { timeout: DRAWN_WITHIN_MS }).catch(() => {});
    await page.waitForLoadState('networkidle', { timeout: WITHIN_MS });
    // Charts are drawn with an animation of up to a second.
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 2000)));
    const charts = await page.evaluate(() => [...document.querySelectorAll('.chart-slice')].map((chart) => ({
      title: (chart.querySelector('.header-title, [data-test="editable-title"]')?.innerText
        || chart.querySelector('[data-test="slice-header"]')?.innerText || '').trim(),
      text: chart.innerText.slice(0, 2000),
      error: chart.querySelector('.ant-alert-error, [role="alert"], .missing-chart-container')?.innerText ?? null,
      drawn: Boolean(chart.querySelector('canvas, svg.chart, table, .header-line, .superset-legacy-chart-big-number')),
    })));
    await page.screenshot({ path: screenshot, fullPage: true });
    console.log(JSON.stringify({ charts, requests, page_errors: pageErrors }));
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
