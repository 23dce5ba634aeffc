/** HPACK between our connections and those of node:http2, while the table's size changes and entries are evicted. */
import { once } from 'node:events';
import * as http2 from 'node:http2';
import { duplexPair } from 'node:stream';
import { afterEach, describe, expect, test } from 'vitest';
import { Connection, defaultSettings, type Field, field, type StreamHandler } from '../../src/http2/index.ts';
import { freshSeed, Random } from './support/random.ts';

const HEADS = 200;
const seed = freshSeed();
const release: (() => void)[] = [];

afterEach(() => {
  for (const free of release.splice(0)) free();
});

/** Our server, which answers every request with the fields that `answer` gives for its own. */
function connect(
  answer: (request: readonly Field[]) => Field[],
  headerTableBytes: number,
): http2.ClientHttp2Session {
  const [ours, theirs] = duplexPair();
  // Changing the size again and again is what the limit on SETTINGS is there for.
  const settings = {
    ...defaultSettings,
    headerTableBytes,
    settingsFrames: { perSecond: 1_000, burst: 1_000 },
  };
  const handler: StreamHandler = {
    onHeaders: (stream, fields) => stream.sendHeaders([field(':status', '200'), ...answer(fields)], true),
    onData() {},
    onSent() {},
    onReset() {},
  };
  Connection.server(ours, { onStream: () => handler, onClose() {} }, settings);
  const session = http2.connect('http://localhost', { createConnection: () => theirs });
  session.on('error', () => {});
  release.push(() => session.destroy());
  return session;
}

async function ask(
  session: http2.ClientHttp2Session,
  headers: Record<string, string>,
): Promise<Record<string, unknown>> {
  const stream = session.request({ ':path': '/', ...headers });
  // Both may come in one turn.
  const [[response]] = (await Promise.all([once(stream, 'response'), once(stream.resume(), 'close')])) as [
    [http2.IncomingHttpHeaders],
    unknown,
  ];
  return response;
}

/** Few names, and more values than any table here holds. */
function someHeaders(random: Random): Record<string, string> {
  const count = 1 + random.below(6);
  return Object.fromEntries(
    Array.from({ length: count }, () => {
      const n = random.below(50);
      return [`x-name-${n % 9}`, `${'v'.repeat((n * 37) % 700)}${n}`];
    }),
  );
}

describe(`with node:http2 (seed ${seed})`, () => {
  test('our encoder keeps to a table whose size the peer changes again and again', async () => {
    const random = new Random(seed);
    const known = new Map<string, Field>();
    // The same objects for the same fields, as a relay has them: those alone are indexed.
    const shared = (name: string, value: string): Field => {
      const one = known.get(`${name} ${value}`) ?? field(name, value);
      known.set(`${name} ${value}`, one);
      return one;
    };
    let expected: Record<string, string> = {};
    const session = connect(
      () => Object.entries(expected).map(([name, value]) => shared(name, value)),
      4_096,
    );
    for (let n = 0; n < HEADS; n++) {
      if (n % 5 === 0) {
        const changed = once(session, 'localSettings');
        session.settings({ headerTableSize: random.pick([0, 64, 500, 4_096, 9_000]) });
        // One request on its way while the change is: it may still use the old size.
        expected = someHeaders(random);
        expect(await ask(session, {})).toMatchObject(expected);
        await changed;
      }
      expected = someHeaders(random);
      expect(await ask(session, {}), `head ${n}`).toMatchObject(expected);
    }
  });

  test.each([0, 100, 4_096, 16_384])(
    'our decoder follows its encoder with a table of %i bytes',
    async (bytes) => {
      const random = new Random(seed ^ bytes);
      let seen: Record<string, string> = {};
      const session = connect((request) => {
        seen = Object.fromEntries(request.map(({ name, value }) => [name, value]));
        return [];
      }, bytes);
      for (let n = 0; n < HEADS; n++) {
        const headers = someHeaders(random);
        await ask(session, headers);
        expect(seen, `head ${n}`).toMatchObject(headers);
      }
    },
  );
});
