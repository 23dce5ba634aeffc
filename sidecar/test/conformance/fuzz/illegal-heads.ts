import type { Speaker } from './conversation.ts';
import type { Pair } from './header-writer.ts';

/** How a legal head is made illegal. */
export type Spoil = (fields: Pair[]) => readonly Pair[];

export const without =
  (name: string): Spoil =>
  (fields) =>
    fields.filter(([n]) => n !== name);
const plus =
  (...pairs: Pair[]): Spoil =>
  (fields) => [...fields, ...pairs];
export const instead =
  (name: string, value: string): Spoil =>
  (fields) =>
    fields.map(([n, v]) => [n, n === name ? value : v]);

/** Fields that neither requests nor responses may have (RFC 9113 §8.2). */
export const SPOILED_FIELDS: Readonly<Record<string, Spoil>> = {
  connection: plus(['connection', 'close']),
  'keep-alive': plus(['keep-alive', '1']),
  'transfer-encoding': plus(['transfer-encoding', 'chunked']),
  upgrade: plus(['upgrade', 'h2c']),
  'proxy-connection': plus(['proxy-connection', 'close']),
  'upper case name': plus(['X-Upper', 'a']),
  'blank in name': plus(['x a', 'a']),
  'empty name': plus(['', 'a']),
  'NUL in value': plus(['x-nul', 'a\0b']),
  'line break in value': plus(['x-break', 'a\r\nb: c']),
  'blank before value': plus(['x-blank', ' a']),
  'blank after value': plus(['x-blank', 'a ']),
  'content-length that is no number': plus(['content-length', '1x']),
  'two content-lengths that differ': plus(['content-length', '1'], ['content-length', '2']),
};
/** Requests that RFC 9113 §8 calls malformed. */
const SPOILS: Readonly<Record<string, Spoil>> = {
  'no :method': without(':method'),
  'no :scheme': without(':scheme'),
  'no :path': without(':path'),
  'empty :path': instead(':path', ''),
  'path without slash': instead(':path', 'x'),
  'two :path': (fields) => [[':path', '/'], ...fields],
  ':status in a request': (fields) => [[':status', '200'], ...fields],
  'unknown pseudo-header': (fields) => [[':x', 'y'], ...fields],
  'pseudo-header after a field': (fields) => [['x-a', 'b'], ...fields],
  ...SPOILED_FIELDS,
  'te other than trailers': plus(['te', 'gzip']),
  'content-length without a body': plus(['content-length', '5']),
  'host unlike :authority': plus(['host', 'other.example']),
};
const NAMES = Object.keys(SPOILS);

/** A head that is malformed, and what is wrong with it. */
export function illegalHeads(talker: Speaker): readonly [string, Buffer[]] {
  const name = talker.random.pick(NAMES);
  const fields = (SPOILS[name] as Spoil)(talker.someFields());
  return [name, talker.head(talker.takeId(), fields, true)];
}
