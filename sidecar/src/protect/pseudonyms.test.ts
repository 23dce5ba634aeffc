import { aessiv } from '@noble/ciphers/aes.js';
import { describe, expect, it } from 'vitest';
import { builtInDetectors, compileDetectors } from './detectors/compile-detectors.ts';
import { PlaceholderBook } from './placeholder-book.ts';
import { createPseudonyms } from './pseudonyms.ts';
import { createRedactor } from './redactor.ts';

const KEY = Buffer.alloc(32, 7);
const CARD = '4111 1111 1111 1111';

function redactorWith(action: 'pseudonymise' | 'pseudonymise-reversibly') {
  const compiled = compileDetectors(builtInDetectors, []);
  if ('problems' in compiled) throw new Error(JSON.stringify(compiled.problems));
  return createRedactor([
    { detectors: [...compiled.detectors.values()], action, pseudonyms: createPseudonyms(KEY) },
  ]);
}

function textOf(action: 'pseudonymise' | 'pseudonymise-reversibly', text: string): string {
  const result = redactorWith(action).whole(text, new PlaceholderBook());
  if ('refused' in result) throw new Error(result.refused);
  return result.text;
}

describe('one-way pseudonyms', () => {
  it('are the same for a value however it is written, in any call', () => {
    const [first, second] = [CARD, '4111-1111-1111-1111'].map((text) => textOf('pseudonymise', text));
    expect(first).toMatch(/^\[CARD~[a-p]{32}\]$/);
    expect(second).toBe(first);
  });

  it('differ by value, by kind and by key', () => {
    const [mine, others] = [createPseudonyms(KEY), createPseudonyms(Buffer.alloc(32, 8))];
    const made = [
      mine.oneWay('CARD', '1'),
      mine.oneWay('CARD', '2'),
      mine.oneWay('IBAN', '1'),
      others.oneWay('CARD', '1'),
    ].map((pseudonym) => pseudonym.replace(/^.*~/, ''));
    expect(new Set(made).size).toBe(4);
  });
});

describe('reversible pseudonyms', () => {
  it('are turned back into what stood there, by whoever has the key', () => {
    const pseudonym = textOf('pseudonymise-reversibly', CARD);
    expect(pseudonym).toMatch(/^\[CARD=[a-p]+\]$/);
    expect(createPseudonyms(KEY).reveal(pseudonym)).toBe(CARD);
    expect(createPseudonyms(Buffer.alloc(32, 8)).reveal(pseudonym)).toBeNull();
  });

  it('are refused when a letter or the kind was changed', () => {
    const { reversible, reveal } = createPseudonyms(KEY);
    const pseudonym = reversible('CARD', CARD);
    expect(reveal(pseudonym.replace('CARD', 'IBAN'))).toBeNull();
    expect(reveal(pseudonym.replace(/.(?=\]$)/, (last) => (last === 'a' ? 'b' : 'a')))).toBeNull();
    expect(reveal('[CARD=no]')).toBeNull();
    expect(reveal('[CARD=aabb]')).toBeNull();
  });

  it('are those of RFC 5297 (its example A.1)', () => {
    const hex = (text: string) => Buffer.from(text, 'hex');
    const key = hex('fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff');
    const sealed = aessiv(key, hex('101112131415161718191a1b1c1d1e1f2021222324252627')).encrypt(
      hex('112233445566778899aabbccddee'),
    );
    expect(Buffer.from(sealed).toString('hex')).toBe(
      '85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c',
    );
  });
});

describe('pseudonyms', () => {
  it('are not taken for something sensitive again', () => {
    const text = `card ${CARD}, api_key=ghp_${'a1B2'.repeat(9)}, jane@example.org, tel +49 30 901820, SSN 078-05-1120`;
    for (const action of ['pseudonymise', 'pseudonymise-reversibly'] as const) {
      const once = textOf(action, text);
      expect(textOf(action, once)).toBe(once);
    }
  });

  it('need a key of 32 bytes', () => {
    expect(() => createPseudonyms(Buffer.alloc(31))).toThrow(RangeError);
  });
});
