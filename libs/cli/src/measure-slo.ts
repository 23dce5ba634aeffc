import type { Measures } from './gate-document.ts';

const QUERY_MS_MAX = 10_000;
/** Statuses of which the mesh or the app is the cause, as in the service level (docs/slo.md). */
const FAULTS = 'UNKNOWN|INTERNAL|UNAVAILABLE|DATA_LOSS|DEADLINE_EXCEEDED';

/** Why Prometheus could not be asked, as a sentence. */
export class PrometheusUnavailable extends Error {
  override readonly name = 'PrometheusUnavailable';
}

/**
 * Measures the calls that inbound sidecars took.
 * @param labels matchers that choose the sidecars of one version
 * @param window how far back, as Prometheus writes durations
 * @throws PrometheusUnavailable
 */
export async function measureSlo(
  prometheus: string,
  {
    labels,
    window,
    signal,
  }: { readonly labels: string; readonly window: string; readonly signal: AbortSignal },
): Promise<Measures> {
  const select = (more = ''): string => `{${labels}${more}}`;
  const calls = (more?: string): string =>
    `sum(${grown('rpc_server_call_duration_seconds_count', select(more), window)})`;
  const refused = grown('gatehouse_refusals_total', select(',direction="inbound"'), window);
  const p99 = (metric: string): string =>
    `histogram_quantile(0.99, sum by (le) (${grown(`${metric}_bucket`, select(), window)})) * 1000`;
  const ask = (expression: string): Promise<number | null> => query(prometheus, expression, signal);
  const [total, faults, refusals, latencyP99Ms, firstTokenP99Ms] = await Promise.all([
    ask(calls()),
    // No series of a status means that it has not been seen: that is nought, where there are calls.
    ask(`${calls(`,rpc_status_code=~"${FAULTS}"`)} or vector(0)`),
    ask(`sum(${refused}) or vector(0)`),
    ask(p99('rpc_server_call_duration_seconds')),
    ask(p99('gatehouse_time_to_first_token_seconds')),
  ]);
  const ratio = (part: number | null): number | null =>
    total === null || total === 0 || part === null ? null : Math.min(1, part / total);
  return {
    calls: total === null ? null : Math.round(total),
    errorRatio: ratio(faults),
    refusalRatio: ratio(refusals),
    latencyP99Ms,
    firstTokenP99Ms,
  };
}

/**
 * How much a counter has grown. One that has come within the window has grown by all that it shows, which `increase` leaves
 * out up to the first scrape: a canary is new, and so is the first failure of a kind.
 */
function grown(name: string, selector: string, window: string): string {
  const series = `${name}${selector}`;
  return `(${series} unless ${series} offset ${window}) or increase(${series}[${window}])`;
}

type Answer = {
  readonly status?: string;
  readonly error?: string;
  readonly data?: { readonly result?: readonly { readonly value?: readonly [number, string] }[] };
};

/** @returns null where there is no data, or none that is a number */
async function query(prometheus: string, expression: string, signal: AbortSignal): Promise<number | null> {
  const url = new URL('api/v1/query', prometheus.endsWith('/') ? prometheus : `${prometheus}/`);
  url.searchParams.set('query', expression);
  let answer: Answer;
  try {
    const response = await fetch(url, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(QUERY_MS_MAX)]),
    });
    answer = (await response.json()) as Answer;
  } catch (error) {
    const cause =
      error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    throw new PrometheusUnavailable(`Prometheus at ${prometheus} does not answer: ${cause}`);
  }
  if (answer.status !== 'success')
    throw new PrometheusUnavailable(
      `Prometheus at ${prometheus} refuses ${expression}: ${answer.error ?? ''}`,
    );
  const value = Number(answer.data?.result?.[0]?.value?.[1] ?? Number.NaN);
  return Number.isFinite(value) ? value : null;
}
