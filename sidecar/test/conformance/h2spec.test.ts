/** h2spec whole, with its strict cases, against the HTTP/2 library and against both listeners of real sidecars. */
import { describe, expect, test } from 'vitest';
import { defaultSettings } from '../../src/http2/index.ts';
import { startBodyServer } from './support/body-server.ts';
import { startConformanceMesh } from './support/conformance-mesh.ts';
import { externalTool } from './support/external-tool.ts';
import { casesOf, type H2specCase, runH2spec } from './support/h2spec.ts';
import { startMtlsShim } from './support/mtls-shim.ts';

/** Cases in the pinned version: 145, and one more in strict mode. */
const CASES = 146;

const NO_BODY =
  'h2spec asks with GET, which a listener for gRPC answers with 405 and no body, so there is no DATA to wait for';
const ANSWERED_EARLY =
  'h2spec asks with GET, which a listener for gRPC answers at the head with 405: the stream has ended, and its ' +
  'frames that come late are ignored (RFC 9113 §5.1)';
const NEVER_AT_ONCE = 'each request is answered at its head with 405, so no two streams are open at once';

/** What cannot apply to a listener that speaks gRPC alone; each of these runs, and passes, against the library. */
const NOT_APPLICABLE: Readonly<
  Record<string, { readonly outcome: 'failed' | 'skipped'; readonly why: string }>
> = Object.fromEntries([
  ...[
    'http2/6.5.3 Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE',
    'http2/6.9.1 Sends SETTINGS frame to set the initial window size to 1 and sends HEADERS frame',
    'http2/6.9.2 Changes SETTINGS_INITIAL_WINDOW_SIZE after sending HEADERS frame',
    'http2/6.9.2 Sends a SETTINGS frame for window size to be negative',
  ].map((name) => [name, { outcome: 'skipped', why: NO_BODY }]),
  ...[
    'generic/2 Sends a WINDOW_UPDATE frame on half-closed (remote) stream',
    'generic/2 Sends a PRIORITY frame on half-closed (remote) stream',
  ].map((name) => [name, { outcome: 'failed', why: NO_BODY }]),
  ...[
    'http2/5.1 closed: Sends a DATA frame after sending RST_STREAM frame',
    'http2/5.1 closed: Sends a HEADERS frame after sending RST_STREAM frame',
    'http2/6.9 Sends a WINDOW_UPDATE frame with a flow control window increment of 0 on a stream',
    'http2/6.9.1 Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream',
    'http2/8.1 Sends a second HEADERS frame without the END_STREAM flag',
    'http2/8.1.2.1 Sends a HEADERS frame that contains a pseudo-header field as trailers',
    'http2/8.1.2.6 Sends a HEADERS frame with the "content-length" header field which does not equal the DATA frame payload length',
    'http2/8.1.2.6 Sends a HEADERS frame with the "content-length" header field which does not equal the sum of the multiple DATA frames payload length',
  ].map((name) => [name, { outcome: 'failed', why: ANSWERED_EARLY }]),
  [
    'http2/5.1.2 Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded',
    { outcome: 'failed', why: NEVER_AT_ONCE },
  ],
]);

type Run = {
  readonly target: string;
  /** By name of the case. */
  readonly except: typeof NOT_APPLICABLE;
  readonly cases: readonly H2specCase[];
};

/** All targets at once: h2spec waits more than it works. */
async function runAll(folder: string): Promise<Run[]> {
  const mesh = await startConformanceMesh('unix:/nonexistent/app.sock', '127.0.0.1:0');
  const shim = await startMtlsShim(mesh.inbound.inboundAddress ?? '', mesh.callerTls);
  // The settings that both listeners have by default.
  const library = await startBodyServer(defaultSettings);
  try {
    const targets = [
      { target: 'the HTTP/2 library', port: library.port, except: {} },
      {
        target: 'the egress listener',
        port: Number(mesh.egress.egressAddress?.split(':').at(-1)),
        except: NOT_APPLICABLE,
      },
      { target: 'the inbound listener, over mTLS', port: shim.port, except: NOT_APPLICABLE },
    ];
    return await Promise.all(
      targets.map(async ({ target, port, except }) => ({
        target,
        except,
        cases: await runH2spec(folder, port, { strict: true }),
      })),
    );
  } finally {
    library.close();
    shim.close();
    await mesh.stop();
  }
}

const tool = await externalTool('h2spec');
const runs = 'folder' in tool ? await runAll(tool.folder) : [];

test('h2spec runs', (context) => {
  if ('missing' in tool) context.skip(tool.missing);
  expect(runs).toHaveLength(3);
});

describe.each(runs)('h2spec against $target', ({ cases, except }) => {
  test(`has ${CASES} cases, and every exception is one of them`, () => {
    expect(cases).toHaveLength(CASES);
    expect(cases.map(({ name }) => name)).toEqual(expect.arrayContaining(Object.keys(except)));
  });

  test.each(cases.filter(({ name }) => except[name] === undefined))('$name', ({ outcome, detail }) => {
    expect({ outcome, detail }).toMatchObject({ outcome: 'passed' });
  });

  test.each(cases.flatMap((one) => (except[one.name] ? [{ ...one, ...notApplicable(one, except) }] : [])))(
    'does not apply, and so does not pass: $name',
    ({ outcome, expected, why }) => {
      expect({ outcome, why }).toEqual({ outcome: expected, why });
    },
  );
});

function notApplicable(one: H2specCase, except: Run['except']): { expected: string; why: string } {
  return { expected: except[one.name]?.outcome ?? 'passed', why: except[one.name]?.why ?? '' };
}

test('the report of h2spec is read with outcomes, details and titles that come twice', () => {
  const xml = `<testsuite><testcase package="http2/5.1" classname="A &lt;b&gt;" time="0.1"></testcase>
    <testcase package="http2/5.1" classname="A &lt;b&gt;" time="0.1"><failure>want&#xA;got &amp;c</failure></testcase>
    <testcase package="hpack/2" classname="C" time="0"><skipped></skipped></testcase>
    <testcase package="hpack/2" classname="D" time="0"><error>no</error></testcase></testsuite>`;
  expect(casesOf(xml)).toEqual([
    { name: 'http2/5.1 A <b>', outcome: 'passed', detail: '' },
    { name: 'http2/5.1 A <b> (2)', outcome: 'failed', detail: 'want\ngot &c' },
    { name: 'hpack/2 C', outcome: 'skipped', detail: '' },
    { name: 'hpack/2 D', outcome: 'failed', detail: 'no' },
  ]);
});
