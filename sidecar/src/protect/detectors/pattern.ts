import { type Detector, MORE, NONE } from './detector.ts';
import { END_OF_TEXT, ExpressionAutomaton } from './expression-automaton.ts';
import { compileExpression } from './expression-program.ts';

/** Characters of the longest match of an expression, where the policy doesn't say. */
const CHARACTERS_MAX_DEFAULT = 64;

/** The longest match of an expression in RE2's syntax, up to `charactersMax`; a string says why it can't be used. */
export function patternDetector(
  name: string,
  pattern: string,
  charactersMax = CHARACTERS_MAX_DEFAULT,
): Detector | string {
  const program = compileExpression(pattern);
  if (typeof program === 'string') return program;
  const automaton = new ExpressionAutomaton(program);
  return {
    name,
    charactersMax: charactersMax + 2,
    starts: {
      ascii: startsOfMatches(automaton),
      beyondAscii: automaton.startsBeyondAscii,
      atWordStart: false,
    },
    match: (text, at, complete) => longest(automaton, text, { at, complete, charactersMax }),
  };
}

function startsOfMatches(automaton: ExpressionAutomaton): Uint8Array {
  const befores = [END_OF_TEXT, 0x0a, 0x61, 0x20].map((before) => automaton.start(before));
  return Uint8Array.from({ length: 128 }, (_, code) =>
    Number(
      befores.some((state) => {
        const { to } = automaton.step(state, code);
        return to.accepts || to.isAlive;
      }),
    ),
  );
}

function longest(
  automaton: ExpressionAutomaton,
  text: string,
  { at, complete, charactersMax }: { at: number; complete: boolean; charactersMax: number },
): number {
  if (isLowHalf(text, at)) return NONE;
  let state = automaton.start(at === 0 ? END_OF_TEXT : runeBefore(text, at));
  let best = NONE;
  let index = at;
  for (;;) {
    if (state.accepts && index > at) best = index;
    if (!state.isAlive) return best;
    const ends = index >= text.length || (index + 1 === text.length && isHighHalf(text, index));
    if (ends && !complete) return MORE;
    const rune = index === text.length ? END_OF_TEXT : (text.codePointAt(index) ?? END_OF_TEXT);
    const { accepts, to } = automaton.step(state, rune);
    if (accepts && index > at) best = index;
    const next = index + (rune > 0xffff ? 2 : 1);
    if (rune === END_OF_TEXT || next - at > charactersMax) return best;
    index = next;
    state = to;
  }
}

function runeBefore(text: string, at: number): number {
  return text.codePointAt(isLowHalf(text, at - 1) ? at - 2 : at - 1) ?? END_OF_TEXT;
}

function isHighHalf(text: string, index: number): boolean {
  return (text.charCodeAt(index) & 0xfc00) === 0xd800;
}

function isLowHalf(text: string, index: number): boolean {
  return index > 0 && (text.charCodeAt(index) & 0xfc00) === 0xdc00 && isHighHalf(text, index - 1);
}
