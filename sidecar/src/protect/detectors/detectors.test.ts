import { describe, expect, it } from 'vitest';
import { PlaceholderBook } from '../placeholder-book.ts';
import { createRedactor } from '../redactor.ts';
import { builtInDetectors, compileDetectors } from './compile-detectors.ts';

function redact(name: string, text: string): string {
  const compiled = compileDetectors([name], []);
  if ('problems' in compiled) throw new Error(JSON.stringify(compiled.problems));
  const redactor = createRedactor([{ detectors: [...compiled.detectors.values()], action: 'redact' }]);
  const result = redactor.whole(text, new PlaceholderBook());
  return 'text' in result ? result.text : `refused: ${result.refused}`;
}

/** By detector: what is found, written with its surroundings, `⟨⟩` around each match. */
const FOUND: Readonly<Record<string, readonly string[]>> = {
  CARD: [
    '⟨4111111111111111⟩',
    'pan=⟨4111 1111 1111 1111⟩;',
    '⟨5555-5555-5555-4444⟩ 12/26 123',
    '⟨3782 822463 10005⟩',
    '⟨3056.930902.5904⟩',
    '⟨4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1⟩.',
    '⟨41 11 11 11 11 11 11 11⟩',
    '⟨4111\n1111\n1111\n1111⟩',
    '⟨４１１１ １１１１ １１１１ １１１１⟩',
    '⟨4111\u200b1111\u200b11111111⟩',
    '卡号⟨4111111111111111⟩。',
    'VISA⟨4111111111111111⟩',
    '12,⟨4111111111111111⟩,USD',
    'items: 3 ⟨4111 1111 1111 1111⟩',
    '⟨6200000000000005⟩ ⟨3530111333300000⟩ ⟨2223003122003222⟩',
  ],
  IBAN: [
    '⟨DE89 3704 0044 0532 0130 00⟩',
    '⟨gb82west12345698765432⟩',
    '(⟨NO93 8601 1117 947⟩)',
    '⟨FR14-2004-1010-0505-0001-3M02-606⟩',
  ],
  US_SSN: [
    '⟨123-45-6789⟩',
    'SSN ⟨123456789⟩',
    '⟨123 45 6789⟩,',
    '⟨123–45–6789⟩',
    'social security number is ⟨123.45.6789⟩',
    'SSN-⟨123-45-6789⟩',
  ],
  EMAIL: [
    '<⟨jane.doe+x@mail.example.co.uk⟩>',
    '⟨jürgen@bücher.de⟩',
    'mail=⟨a@b.io⟩.',
    '请写⟨li@example.cn⟩吧',
    "⟨o'brien@example.ie⟩",
    '⟨bounce+a=b.org@list.example⟩',
  ],
  PHONE: [
    '⟨+49 30 901820⟩',
    '⟨+44 (0)20 7946 0958⟩',
    '⟨0049 151 23456789⟩',
    '⟨(415) 555-2671⟩',
    '⟨1-415-555-2671⟩',
    'tel. ⟨030 901820⟩',
    'call me at ⟨4155552671⟩',
    '⟨+14155552671⟩',
  ],
  API_KEY: [
    '⟨AKIAIOSFODNN7EXAMPLE⟩',
    'token ⟨ghp_abcdefghijklmnopqrstuvwxyz0123456789⟩.',
    '⟨eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P⟩ ok',
    'api_key = "⟨a8Kd93jD0s9dkKd93ksX⟩"',
    'Authorization: Bearer ⟨9f86d081884c7d659a2feaa0c55ad015⟩',
  ],
  PRIVATE_KEY: [
    '⟨-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtL\n-----END EC PRIVATE KEY-----⟩\n',
    '"⟨-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkq\\n-----END PRIVATE KEY-----⟩\\n"',
    '⟨PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nAAAA\nPrivate-MAC:⟩ 00',
  ],
};

const LEFT: Readonly<Record<string, readonly string[]>> = {
  CARD: [
    '4111111111111112',
    '41111111111111111111',
    '0.4111111111111111',
    'a1b4111111111111111c',
    '1111-4111-1111-1111-1111',
    '9 4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1',
    '1700000000000000',
    'DE89 3704 0044 0532 0130 00',
  ],
  IBAN: ['DE88 3704 0044 0532 0130 00', 'XDE89370400440532013000', 'US12345678901234567890', 'de12 is short'],
  US_SSN: [
    '000-12-3456',
    '666-12-3456',
    '900-12-3456',
    '123-00-4567',
    '123-45-0000',
    '123-45-67890',
    '1-123-45-6789',
    '123456789',
    '123-45.6789',
    'AB-123-45-6789',
  ],
  EMAIL: ['jane@localhost', 'logo@2x.png', '@types/node@20.1.0', 'a @ b.org', 'react@18.2.0', 'jane@-a.org'],
  PHONE: [
    '+49 12',
    '123-456-7890',
    '415-555-2671-8',
    '12-415-555-2671',
    '2026-11-22 05:44',
    '4155552671',
    '+999 1234567',
    '$415 555 2671',
  ],
  API_KEY: [
    'AKIAIOSFODNN7EXAMPLEX',
    'a9993e364706816aba3e25717850c26c9cd0d89d',
    'secret: my-k8s-secret-prod-eu-west-1',
    'password: ********************',
    'sk-this-is-only-an-example-of-a-key',
  ],
  PRIVATE_KEY: [
    '-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOC\n-----END PUBLIC KEY-----',
    'it begins with -----BEGIN PRIVATE KEY----- and then comes the key, in lines of 64 letters and digits each',
  ],
};

const cases = (table: Readonly<Record<string, readonly string[]>>) =>
  Object.entries(table).flatMap(([name, texts]) => texts.map((text) => ({ name, text })));

describe('built-in detectors', () => {
  it('are all looked at here', () => {
    expect(Object.keys(FOUND).toSorted()).toEqual([...builtInDetectors].toSorted());
    expect(Object.keys(LEFT).toSorted()).toEqual([...builtInDetectors].toSorted());
  });

  it.each(cases(FOUND))('$name finds all of $text', ({ name, text }) => {
    let count = 0;
    const expected = text.replaceAll(/⟨[^⟩]*⟩/g, () => `[${name}_${++count}]`);
    expect(redact(name, text.replaceAll(/[⟨⟩]/g, ''))).toBe(expected);
  });

  it.each(cases(LEFT))('$name leaves $text', ({ name, text }) => {
    expect(redact(name, text)).toBe(text);
  });
});
