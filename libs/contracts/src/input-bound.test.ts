import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { buildDescriptors } from '../test/build-descriptors.ts';
import { bytes, load, message, type Part, readerOf, text, varint } from '../test/read-fields.ts';
import type { FieldReader, FieldValues } from './index.ts';

const own = load(readFileSync(new URL('./gen/descriptors.binpb', import.meta.url)));
const generateReader = readerOf(own, '/gatehouse.inference.v1.InferenceService/Generate');

describe('bounds the tokens of the input by the bytes that a model reads', () => {
  const boundOf = (from: FieldReader, ...parts: Part[]) => {
    const encoded = bytes(...parts);
    return (from.read(encoded, 0, encoded.length) as FieldValues).inputTokensBound;
  };
  const AROUND_ALL = 32;
  const AROUND_EACH = 8;
  const embedReader = readerOf(own, '/gatehouse.embeddings.v1.EmbeddingsService/Embed');

  test.each<[string, Part[], number]>([
    ['nothing without text', [text(1, 'a-model'), varint(4, 100)], 0],
    ['a prompt', [text(1, 'm'), text(3, 'hello')], AROUND_ALL + AROUND_EACH + 5],
    ['bytes, not characters', [text(3, '😀é')], AROUND_ALL + AROUND_EACH + 6],
    [
      'every message of a chat, and what goes beside it',
      [message(2, message(1, varint(1, 1), text(2, 'one')), message(1, text(2, 'four'))), text(8, 'stop')],
      AROUND_ALL + 3 * AROUND_EACH + 3 + 4 + 4,
    ],
    [
      'what comes twice as often as it comes',
      [text(3, 'ab'), text(3, 'cd')],
      AROUND_ALL + 2 * AROUND_EACH + 4,
    ],
  ])('%s', (_, parts, expected) => {
    expect(boundOf(generateReader, ...parts)).toBe(expected);
  });

  test('each input of a list', () => {
    expect(boundOf(embedReader, text(1, 'm'), text(2, 'abc'), text(2, 'de'))).toBe(
      AROUND_ALL + 2 * AROUND_EACH + 5,
    );
  });

  test('all inside a field that is a prompt as a whole, whatever it says of itself, and what nobody classified', () => {
    const covered = load(
      buildDescriptors(`edition = "2023";
package c;
import "gatehouse/policy/v1/annotations.proto";
message Inner {
  string note = 1 [(gatehouse.policy.v1.field).sensitivity = SENSITIVITY_METADATA];
  Inner again = 2;
  map<string, bytes> more = 3;
}
message Request {
  Inner whole = 1 [(gatehouse.policy.v1.field).sensitivity = SENSITIVITY_PROMPT];
  Inner named = 2 [(gatehouse.policy.v1.field).sensitivity = SENSITIVITY_METADATA];
  string unknown = 3;
}
message Empty {}
service Svc { rpc One(Request) returns (Empty) { option (gatehouse.policy.v1.method).permission = "a.b"; } }`),
    );
    const from = readerOf(covered, '/c.Svc/One');
    const inner = [text(1, 'note'), message(2, text(1, 'x')), message(3, text(1, 'key'), text(2, 'value'))];
    expect(boundOf(from, message(1, ...inner))).toBe(AROUND_ALL + 4 * AROUND_EACH + 4 + 1 + 3 + 5);
    expect(boundOf(from, message(2, ...inner))).toBe(0);
    expect(boundOf(from, text(3, 'text'))).toBe(AROUND_ALL + AROUND_EACH + 4);
  });
});
