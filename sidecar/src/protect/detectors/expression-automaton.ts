import { EMPTY, type ExpressionProgram, type Instruction, OP } from './expression-program.ts';

/** States that are kept; beyond these all are forgotten and made again as they are needed. */
const STATES_MAX = 500;
const NEWLINE = 0x0a;

/** What stands before a place, as far as assertions ask: nothing, a line end, a word character, another one. */
const BEFORE = { nothing: 0, newline: 1, word: 2, other: 3 } as const;

/** Where an expression may be after some characters. */
export interface State {
  /** Instructions that come next, before those that take no character. */
  readonly next: readonly number[];
  readonly before: number;
  /** A match ends here, whatever comes. */
  readonly accepts: boolean;
  /** What comes may make a match, or a longer one. */
  readonly isAlive: boolean;
  /** By ASCII code, and at 128 the end of the text. */
  readonly edges: (Edge | undefined)[];
}

export interface Edge {
  /** A match ends before the character, as its assertions hold there. */
  readonly accepts: boolean;
  readonly to: State;
}

/** The end of a text in place of a character. */
export const END_OF_TEXT = -1;

/**
 * Runs a compiled expression as a deterministic automaton that is made while it runs: a character costs one look into a table, and
 * at worst one pass over the expression, whatever the text (Thompson 1968; Cox, "Regular Expression Matching Can Be Simple And
 * Fast").
 */
export class ExpressionAutomaton {
  readonly #instructions: readonly Instruction[];
  readonly #start: number;
  readonly #hasAssertions: boolean;
  readonly #states = new Map<string, State>();

  constructor({ instructions, start }: ExpressionProgram) {
    this.#instructions = instructions;
    this.#start = start;
    this.#hasAssertions = instructions.some(({ op }) => op === OP.emptyWidth);
  }

  /** Before the first character of a match; `before` is the character that precedes it, END_OF_TEXT: none. */
  start(before: number): State {
    return this.#state([this.#start], before);
  }

  step(state: State, rune: number): Edge {
    const key = rune === END_OF_TEXT ? 128 : rune;
    const known = key <= 128 ? state.edges[key] : undefined;
    if (known !== undefined) return known;
    const { runes, accepts } = this.#follow(state.next, holding(state.before, rune));
    const next: number[] = [];
    for (const pc of runes) {
      const instruction = this.#instructions[pc];
      if (instruction !== undefined && rune >= 0 && takes(instruction, rune)) next.push(instruction.out);
    }
    const edge = { accepts, to: this.#state(next, rune) };
    if (key <= 128) state.edges[key] = edge;
    return edge;
  }

  /** A match can begin with a character beyond ASCII. */
  get startsBeyondAscii(): boolean {
    const { runes } = this.#follow([this.#start], ~0);
    return Array.from(runes).some((pc) => {
      const instruction = this.#instructions[pc];
      if (instruction === undefined || instruction.runes.length === 0) return true;
      // Two of these are letters of ASCII in another case.
      return (
        instruction.runes.some((rune) => rune >= 128) ||
        [0x17f, 0x212a].some((rune) => takes(instruction, rune))
      );
    });
  }

  #state(next: readonly number[], rune: number): State {
    const before = this.#hasAssertions ? kindOf(rune) : BEFORE.other;
    const sorted = [...new Set(next)].sort((a, b) => a - b);
    const key = `${before}:${sorted.join()}`;
    const known = this.#states.get(key);
    if (known !== undefined) return known;
    const { accepts } = this.#follow(sorted, 0);
    const later = this.#follow(sorted, ~0);
    const isAlive = later.runes.size > 0 || (later.accepts && !accepts);
    const state: State = { next: sorted, before, accepts, isAlive, edges: [] };
    if (this.#states.size >= STATES_MAX) this.#states.clear();
    this.#states.set(key, state);
    return state;
  }

  /** The instructions that take a character, and whether a match ends, where these assertions hold. */
  #follow(from: readonly number[], holds: number): { runes: ReadonlySet<number>; accepts: boolean } {
    const seen = new Set<number>();
    const runes = new Set<number>();
    const open = [...from];
    let accepts = false;
    for (let pc = open.pop(); pc !== undefined; pc = open.pop()) {
      const instruction = this.#instructions[pc];
      if (instruction === undefined || seen.has(pc)) continue;
      seen.add(pc);
      const { op, out, arg } = instruction;
      if (op >= OP.rune) runes.add(pc);
      else if (op === OP.match) accepts = true;
      else if (op === OP.alternative || op === OP.alternativeMatch) open.push(out, arg);
      else if (op === OP.capture || op === OP.nothing) open.push(out);
      else if (op === OP.emptyWidth && (arg & ~holds) === 0) open.push(out);
    }
    return { runes, accepts };
  }
}

function takes(instruction: Instruction, rune: number): boolean {
  if (instruction.op === OP.anyRune) return true;
  if (instruction.op === OP.anyRuneNotNewline) return rune !== NEWLINE;
  return instruction.matchRune(rune);
}

/** The assertions that hold between what stands before and the character that comes. */
function holding(before: number, rune: number): number {
  let holds = 0;
  if (before === BEFORE.nothing) holds |= EMPTY.beginText | EMPTY.beginLine;
  if (before === BEFORE.newline) holds |= EMPTY.beginLine;
  if (rune === END_OF_TEXT) holds |= EMPTY.endText | EMPTY.endLine;
  if (rune === NEWLINE) holds |= EMPTY.endLine;
  const isBoundary = (before === BEFORE.word) !== (kindOf(rune) === BEFORE.word);
  return holds | (isBoundary ? EMPTY.wordBoundary : EMPTY.noWordBoundary);
}

function kindOf(rune: number): number {
  if (rune === END_OF_TEXT) return BEFORE.nothing;
  if (rune === NEWLINE) return BEFORE.newline;
  return /^\w$/.test(String.fromCodePoint(rune)) ? BEFORE.word : BEFORE.other;
}
