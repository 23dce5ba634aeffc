import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { finished } from './external-tool.ts';

const RUN_MS_MAX = 120_000;
const CASE_S_MAX = 5;

export type H2specCase = {
  /** Section and title, with a number where a section has two of one title. */
  readonly name: string;
  readonly outcome: 'passed' | 'skipped' | 'failed';
  /** What was expected and what came, of a failed case. */
  readonly detail: string;
};

/**
 * Runs the whole of h2spec (generic, http2, hpack), strict cases included, against a plain-text port.
 * @param folder of the built tool
 * @param path of its requests
 * @returns every case of its JUnit report
 */
export async function runH2spec(folder: string, port: number, path: string): Promise<H2specCase[]> {
  const work = await mkdtemp(join(tmpdir(), 'gh-h2spec-'));
  const report = join(work, 'report.xml');
  try {
    const args = ['--host', '127.0.0.1', '--port', String(port), '--path', path, '--junit-report', report];
    args.push('--strict', '--timeout', String(CASE_S_MAX));
    const ran = await finished(join(folder, 'h2spec'), args, undefined, { timeoutMs: RUN_MS_MAX });
    const xml = await readFile(report, 'utf8').catch(() => {
      throw new Error(`h2spec left no report: ${ran.stdout.slice(-500)}${ran.stderr.slice(-500)}`);
    });
    return casesOf(xml);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Reads the report's own fixed shape: suites of cases, each with at most one of failure, error or skipped. */
export function casesOf(xml: string): H2specCase[] {
  const seen = new Map<string, number>();
  return [...xml.matchAll(/<testcase package="([^"]*)" classname="([^"]*)"[^>]*>(.*?)<\/testcase>/gs)].map(
    ([, section = '', title = '', inner = '']) => {
      const plain = `${section} ${unescape(title)}`;
      const count = (seen.get(plain) ?? 0) + 1;
      seen.set(plain, count);
      return {
        name: count === 1 ? plain : `${plain} (${count})`,
        outcome: /<(failure|error)>/.test(inner) ? 'failed' : /<skipped>/.test(inner) ? 'skipped' : 'passed',
        detail: unescape(inner.replaceAll(/<[^>]*>/g, ' ').trim()),
      };
    },
  );
}

function unescape(text: string): string {
  return text
    .replaceAll(/&#(x?)([0-9a-fA-F]+);/g, (_, hex: string, code: string) =>
      String.fromCodePoint(Number.parseInt(code, hex ? 16 : 10)),
    )
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&');
}
