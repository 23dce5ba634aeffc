/**
 * Tells two servers or two clients the same, conversation after conversation, and reports where they took it
 * differently.
 */

import { PREFACE } from '../../../src/http2/frame-types.ts';
import { SETTINGS, SETTINGS_ACK } from '../../../src/http2/raw-peer.ts';
import { Random } from '../support/random.ts';
import { type Client, OracleClient, OurClient } from './client-subjects.ts';
import { type Conversation, Talker } from './conversation.ts';
import { disagreement } from './judge.ts';
import { Answerer } from './responses.ts';
import { Oracle, Ours, type Subject } from './subjects.ts';

/** Which role of ours is compared. */
export type Role = 'server' | 'client';

/** Connections that are talked on at the same time: the turns of the loop that the oracle needs are shared. */
const CONNECTIONS = 64;
const CONVERSATIONS_PER_CONNECTION = 25;
/** Turns of the loop in which the oracle hands on what it has read, and how many more before it is called different. */
const TURNS = 3;
/** And in which its requests go out. */
const ASK_TURNS = 2;
const MORE_TURNS = 20;

type Finding = {
  /** Repeats it: the seed of a connection. */
  readonly seed: number;
  /** Counted from 0 on that connection. */
  readonly index: number;
  readonly difference: string;
  readonly moves: readonly string[];
  /** What was sent in this conversation, in hex. */
  readonly hex: string;
};

export type Report = {
  conversations: number;
  connections: number;
  connectionErrors: number;
  findings: Finding[];
};

export type FuzzOptions = {
  readonly role: Role;
  /** Of the first connection; the next has the next number. */
  readonly seed: number;
  /** Asked after each round with the conversations so far. */
  readonly goesOn: (conversations: number) => boolean;
  /** Connections at the same time. Default 64. */
  readonly connections?: number;
  readonly findingsMax?: number;
};

class Pair {
  readonly seed: number;
  readonly ours: Subject;
  readonly oracle: Subject;
  private readonly next: () => Conversation;
  index = -1;
  conversation: Conversation | null = null;

  constructor(seed: number, role: Role) {
    this.seed = seed;
    const random = new Random(seed);
    if (role === 'server') {
      const talker = new Talker(random);
      this.ours = new Ours();
      this.oracle = new Oracle();
      this.next = () => talker.next();
      this.both((subject) => subject.input(Buffer.concat([PREFACE, SETTINGS, SETTINGS_ACK])));
    } else {
      const [ours, oracle] = [new OurClient(), new OracleClient()];
      this.ours = ours;
      this.oracle = oracle;
      this.next = askingFirst(new Answerer(random), [ours, oracle]);
      this.both((subject) => subject.input(Buffer.concat([SETTINGS, SETTINGS_ACK])));
    }
  }

  /** Plans the next conversation; a client asks what it needs to ask. */
  begin(): void {
    this.index++;
    this.conversation = this.next();
  }

  talk(): void {
    if (this.conversation === null) return;
    for (const chunk of this.conversation.chunks) {
      this.both((subject) => {
        if (subject.outcome.connectionError === null) subject.input(chunk);
      });
    }
  }

  get difference(): string {
    return disagreement(this.conversation as Conversation, this.ours.outcome, this.oracle.outcome);
  }

  get isBroken(): boolean {
    return this.ours.outcome.connectionError !== null || this.oracle.outcome.connectionError !== null;
  }

  /** Answers what can be answered and forgets it. */
  settle(): void {
    this.both((subject) => {
      subject.answer();
      subject.outcome.seen.clear();
      subject.outcome.resets.clear();
      subject.outcome.violations.length = 0;
    });
  }

  /** After a mutation the talker no longer knows which streams are open and what the HPACK tables hold. */
  get isSpent(): boolean {
    return (
      this.isBroken ||
      this.index + 1 >= CONVERSATIONS_PER_CONNECTION ||
      this.conversation?.moves.includes('mutation') === true
    );
  }

  close(): void {
    this.both((subject) => subject.close());
  }

  finding(difference: string): Finding {
    const { chunks, moves } = this.conversation as Conversation;
    return {
      seed: this.seed,
      index: this.index,
      difference,
      moves,
      hex: Buffer.concat(chunks).toString('hex'),
    };
  }

  private both(act: (subject: Subject) => void): void {
    act(this.ours);
    act(this.oracle);
  }
}

function askingFirst(answerer: Answerer, clients: readonly Client[]): () => Conversation {
  return () => {
    const exchange = answerer.next();
    for (const client of clients) client.ask(exchange.requests);
    return exchange;
  };
}

/** Runs until `goesOn` says no, or enough differences are found. */
export async function fuzz(options: FuzzOptions): Promise<Report> {
  const report: Report = { conversations: 0, connections: 0, connectionErrors: 0, findings: [] };
  let nextSeed = options.seed;
  const open = (): Pair => {
    report.connections++;
    return new Pair(nextSeed++ >>> 0, options.role);
  };
  let pairs = Array.from({ length: options.connections ?? CONNECTIONS }, open);
  while (options.goesOn(report.conversations) && report.findings.length < (options.findingsMax ?? 10)) {
    await turns(1);
    for (const pair of pairs) pair.begin();
    if (options.role === 'client') await turns(ASK_TURNS);
    for (const pair of pairs) pair.talk();
    report.conversations += pairs.length;
    await turns(TURNS);
    if (pairs.some((pair) => pair.difference !== '')) await turns(MORE_TURNS);
    pairs = pairs.map((pair) => {
      const { difference } = pair;
      if (difference !== '') report.findings.push(pair.finding(difference));
      if (pair.isBroken) report.connectionErrors++;
      if (difference === '' && !pair.isSpent) {
        pair.settle();
        return pair;
      }
      pair.close();
      return open();
    });
  }
  for (const pair of pairs) pair.close();
  return report;
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}
