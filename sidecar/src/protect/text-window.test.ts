import { describe, expect, it } from 'vitest';
import { builtInDetectors, compileDetectors } from './detectors/compile-detectors.ts';
import { type Detector, NONE } from './detectors/detector.ts';
import { startsOf } from './detectors/starts.ts';
import { PlaceholderBook } from './placeholder-book.ts';
import { createRedactor, type Redactor } from './redactor.ts';
import type { TextWindow } from './text-window.ts';

const CARD = '4111 1111 1111 1111';

function detectorsOf(names: readonly string[]): readonly Detector[] {
  const compiled = compileDetectors(names, [{ name: 'PROJECT', pattern: 'PRJ-[0-9]+', charactersMax: 12 }]);
  if ('problems' in compiled) throw new Error(JSON.stringify(compiled.problems));
  return [...compiled.detectors.values()];
}

function redacting(...names: readonly string[]): Redactor {
  return createRedactor([{ detectors: detectorsOf(names), action: 'redact' }]);
}

/** What comes out for each piece, the end last. */
function outputs(window: TextWindow, pieces: Iterable<string>): readonly string[] {
  const out: string[] = [];
  for (const piece of pieces) {
    const result = window.push(piece);
    out.push('text' in result ? result.text : `refused: ${result.refused}`);
  }
  const last = window.end();
  out.push('text' in last ? last.text : `refused: ${last.refused}`);
  return out;
}

/** Fails at what it should find. */
const broken: Detector = {
  name: 'BROKEN',
  charactersMax: 8,
  starts: startsOf('#'),
  match: (text) => {
    throw new Error(`could not read ${text}`);
  },
};

describe('a text that comes in pieces', () => {
  it('is let go at once where nothing in it can be the beginning of a match', () => {
    const window = redacting('CARD').window(new PlaceholderBook());
    expect(outputs(window, ['Please', ' pay', ' me', ' (today)', '!'])).toEqual([
      'Please',
      ' pay',
      ' me',
      ' (today)',
      '!',
      '',
    ]);
  });

  it('is held back from the first character that may begin a match, and let go once it does not', () => {
    const window = redacting('EMAIL').window(new PlaceholderBook());
    expect(outputs(window, ['write', ' to', ' jane', '@', 'example', '.org', ' now'])).toEqual([
      '',
      'write ',
      'to ',
      '',
      '',
      '',
      '[EMAIL_1] ',
      'now',
    ]);
  });

  it('is let go to its last character at the end', () => {
    const window = redacting(...builtInDetectors).window(new PlaceholderBook());
    expect(outputs(window, ['4111 11', '11 1111 11']).join('')).toBe('4111 1111 1111 11');
    expect(window.heldCharacters).toBe(0);
  });

  it('is never held back further than the longest match and what shows its end', () => {
    const redactor = redacting(...builtInDetectors, 'PROJECT');
    const temptations = ['1 ', 'a.', '-----BEGIN ', 'eyJa', 'DE89 ', 'PRJ-1', '+4 ', '4\u200b', 'key='];
    for (const temptation of temptations) {
      const window = redactor.window(new PlaceholderBook());
      let heldMax = 0;
      for (let count = 0; count < 500; count++) {
        window.push(temptation);
        heldMax = Math.max(heldMax, window.heldCharacters);
      }
      expect(heldMax).toBeLessThanOrEqual(redactor.heldCharactersMax);
    }
  });

  it('shows the same value as the same placeholder in every window of a call, however it is written', () => {
    const redactor = redacting('CARD', 'EMAIL');
    const book = new PlaceholderBook();
    const request = outputs(redactor.window(book), [CARD, ' and 5555-5555-5555-4444, jane@example.org']).join(
      '',
    );
    const response = outputs(redactor.window(book), [
      '5555555555554444 or 4111111111111111, Jane@Example.org',
    ]).join('');
    expect(request).toBe('[CARD_1] and [CARD_2], [EMAIL_1]');
    expect(response).toBe('[CARD_2] or [CARD_1], [EMAIL_1]');
  });

  it('counts what was found, and nothing twice', () => {
    const window = redacting('CARD', 'EMAIL').window(new PlaceholderBook());
    const first = window.push(`${CARD}, ${CARD} a@b.org `);
    expect(first).toHaveProperty('hits', [
      { detector: 'CARD', count: 2 },
      { detector: 'EMAIL', count: 1 },
    ]);
    expect(window.end()).toHaveProperty('hits', []);
  });

  it('loses both of two matches that overlap', () => {
    const overlapping = (name: string, word: string): Detector => ({
      name,
      charactersMax: word.length,
      starts: startsOf(word.charAt(0)),
      match: (text, at) => (text.startsWith(word, at) ? at + word.length : NONE),
    });
    const redactor = createRedactor([
      { detectors: [overlapping('FIRST', 'abcd'), overlapping('SECOND', 'cdef')], action: 'redact' },
    ]);
    expect(redactor.whole('xabcdefx', new PlaceholderBook())).toHaveProperty('text', 'x[FIRST_1][SECOND_1]x');
  });
});

describe('a match without a longest length', () => {
  const KEY = `-----BEGIN RSA PRIVATE KEY-----\n${'MIIEowIBAAKCAQEA\n'.repeat(100)}-----END RSA PRIVATE KEY-----`;

  it('is swallowed from its first line to its last while little is held back', () => {
    const window = redacting('PRIVATE_KEY').window(new PlaceholderBook());
    const out: string[] = [];
    let heldMax = 0;
    for (const character of `before ${KEY} after`) {
      const result = window.push(character);
      if ('text' in result) out.push(result.text);
      heldMax = Math.max(heldMax, window.heldCharacters);
    }
    expect(heldMax).toBeLessThan(160);
    expect(out.join('') + JSON.stringify(window.end())).toBe(
      'before [PRIVATE_KEY_1] after{"text":"","hits":[]}',
    );
  });

  it('takes the rest of the text with it when it does not end', () => {
    const text = `before ${KEY.slice(0, 900)}`;
    expect(redacting('PRIVATE_KEY').whole(text, new PlaceholderBook())).toHaveProperty(
      'text',
      'before [PRIVATE_KEY_1]',
    );
  });

  it('is shown in several placeholders when it is very long, in pieces as in one', () => {
    const text = `x ghp_${'aB3d'.repeat(10_000)} y`;
    const redactor = redacting('API_KEY');
    const whole = redactor.whole(text, new PlaceholderBook());
    expect(whole).toHaveProperty('text', expect.stringMatching(/^x (?:\[API_KEY_\d\]){3} y$/));
    const pieces = text.match(/.{1,777}/gs) ?? [];
    expect({ text: outputs(redactor.window(new PlaceholderBook()), pieces).join('') }).toEqual({
      text: 'text' in whole ? whole.text : '',
    });
  });
});

describe('what becomes of a match', () => {
  it('is the end of the call where a detector refuses, and no text goes on after it', () => {
    const redactor = createRedactor([{ detectors: detectorsOf(['CARD']), action: 'refuse' }]);
    const window = redactor.window(new PlaceholderBook());
    expect(outputs(window, ['card ', CARD, ', ', 'more'])).toEqual([
      'card ',
      '',
      'refused: CARD',
      'refused: CARD',
      'refused: CARD',
    ]);
  });

  it('is nothing but a count where it is only recorded, and the text does not wait', () => {
    const redactor = createRedactor([{ detectors: detectorsOf(['CARD']), action: 'record' }]);
    const window = redactor.window(new PlaceholderBook());
    expect(redactor.heldCharactersMax).toBe(0);
    expect(window.push('card 4111 1111')).toEqual({ text: 'card 4111 1111', hits: [] });
    expect(window.push(' 1111 1111, 4')).toEqual({
      text: ' 1111 1111, 4',
      hits: [{ detector: 'CARD', count: 1 }],
    });
    expect(window.end()).toEqual({ text: '', hits: [] });
  });

  it('is what the strictest of its rules says', () => {
    const detectors = detectorsOf(['CARD']);
    const redactor = createRedactor([
      { detectors, action: 'record' },
      { detectors, action: 'refuse' },
      { detectors, action: 'redact' },
    ]);
    expect(redactor.whole(CARD, new PlaceholderBook())).toEqual({ refused: 'CARD', because: 'found' });
  });
});

describe('a detector that fails', () => {
  it('ends the call for good, by its name and without a word of the content', () => {
    const redactor = createRedactor([{ detectors: [...detectorsOf(['CARD']), broken], action: 'redact' }]);
    const window = redactor.window(new PlaceholderBook());
    expect(window.push('all well ')).toEqual({ text: 'all well ', hits: [] });
    const refused = { refused: 'BROKEN', because: 'failed' };
    expect(window.push('secret #1')).toEqual(refused);
    expect(window.push('harmless')).toEqual(refused);
    expect(window.end()).toEqual(refused);
    expect(window.heldCharacters).toBe(0);
  });

  it('ends the call when it only records', () => {
    const redactor = createRedactor([{ detectors: [broken], action: 'record' }]);
    expect(redactor.whole('a # b', new PlaceholderBook())).toEqual({ refused: 'BROKEN', because: 'failed' });
  });

  it('ends the call when it names an end outside the text', () => {
    const wrong: Detector = { ...broken, name: 'WRONG', match: (text) => text.length + 1 };
    const redactor = createRedactor([{ detectors: [wrong], action: 'redact' }]);
    expect(redactor.whole('a # b', new PlaceholderBook())).toEqual({ refused: 'WRONG', because: 'failed' });
  });
});
