import {
  type Contract,
  type ContractMethod,
  EVERY_SENSITIVITY,
  mayHoldDeltas,
  type SensitivityBits,
  type TextPlan,
  TextWalker,
} from '@gatehouse/contracts';
import type { Sensitivity } from '@gatehouse/contracts/annotations';
import type { CompiledProtection } from '../policy/index.ts';
import { type CustomDetectorSpec, compileDetectors } from './detectors/compile-detectors.ts';
import type { Detector } from './detectors/detector.ts';
import { HitCounts } from './messages/hit-counts.ts';
import { MessageProtection } from './messages/message-protection.ts';
import type { TrafficDirection } from './messages/protection-refusal.ts';
import { RuleSet, type SensitivityRule } from './messages/rule-set.ts';
import { PlaceholderBook } from './placeholder-book.ts';
import type { Pseudonyms } from './pseudonyms.ts';
import type { RedactionRule } from './redactor.ts';

/** A call that policy protects, as its protections hold for it. */
export interface ProtectedCall {
  readonly method: ContractMethod;
  /** Those that concern the caller and the method. */
  readonly protections: readonly CompiledProtection[];
  /** The model that the caller asks for at this moment; a stream of requests may ask for one after the other. */
  readonly model: () => string | null;
}

/** What protects one call. A direction that no protection concerns has none. */
export interface CallProtection {
  readonly request: MessageProtection | null;
  readonly response: MessageProtection | null;
  readonly hits: HitCounts;
}

export interface ProtectorParts {
  readonly contract: Contract;
  /** All that the policy has. */
  readonly protections: readonly CompiledProtection[];
  /** The policy's own detectors. */
  readonly detectors: readonly CustomDetectorSpec[];
  /** By the names that the sidecar's configuration gives them. */
  readonly keys: ReadonlyMap<string, Pseudonyms>;
  /** What is found in all calls. */
  readonly hits: HitCounts;
}

/** One sentence about the entry of the policy document that has this name or id. */
export interface ProtectorProblem {
  readonly entry: string;
  readonly problem: string;
}

/**
 * Compiles the protections of a policy. Whatever one of them asks for and is not there is a problem: nothing is protected by less
 * than the document says.
 */
export function createProtector(
  parts: ProtectorParts,
): { readonly protector: Protector } | { readonly problems: readonly ProtectorProblem[] } {
  const names = [...new Set(parts.protections.flatMap(({ detectors }) => detectors))];
  const compiled = compileDetectors(names, parts.detectors);
  const problems: ProtectorProblem[] = [];
  if ('problems' in compiled)
    problems.push(...compiled.problems.map(({ detector, problem }) => ({ entry: detector, problem })));
  const rules = new Map<CompiledProtection, SensitivityRule>();
  for (const protection of parts.protections) {
    const needsKey = protection.action.startsWith('pseudonymise');
    const pseudonyms = parts.keys.get(protection.key);
    if (needsKey && pseudonyms === undefined)
      problems.push({ entry: protection.id, problem: `expected a key that the configuration names` });
    if ('problems' in compiled) continue;
    const detectors = protection.detectors.map((name) => compiled.detectors.get(name) as Detector);
    rules.set(protection, {
      bits: bitsOf(protection.sensitivities),
      rule: ruleOf(protection, detectors, pseudonyms),
    });
  }
  return problems.length > 0 ? { problems } : { protector: new Protector(parts, rules) };
}

/** The protections that concern a caller and a method, one direction of them. */
interface Selection {
  readonly protections: readonly CompiledProtection[];
  /** Which of them hold depends on the model. */
  readonly isByModel: boolean;
  /** Where it does not. */
  readonly rules: RuleSet;
}

interface CallParts {
  readonly call: ProtectedCall;
  readonly book: PlaceholderBook;
  readonly hits: HitCounts;
}

/** Begins the protection of calls under one policy. */
export class Protector {
  readonly #rules: ReadonlyMap<CompiledProtection, SensitivityRule>;
  readonly #walker: TextWalker;
  readonly #statusPlan: TextPlan | null;
  readonly #hits: HitCounts;
  readonly #selections = new WeakMap<
    readonly CompiledProtection[],
    Readonly<Record<TrafficDirection, Selection | null>>
  >();
  /** By the ids of the protections in it: few combinations concern a caller, a method and a model. */
  readonly #ruleSets = new Map<string, RuleSet>();
  readonly #holdsDeltas = new Map<TextPlan, boolean>();

  constructor({ contract, hits }: ProtectorParts, rules: ReadonlyMap<CompiledProtection, SensitivityRule>) {
    this.#rules = rules;
    this.#walker = new TextWalker(contract.textPlans);
    this.#statusPlan = contract.textPlans.named('google.rpc.Status', EVERY_SENSITIVITY);
    this.#hits = hits;
  }

  /** Null: nothing has to be looked at. */
  begin(call: ProtectedCall): CallProtection | null {
    if (call.protections.length === 0) return null;
    const { request, response } = this.#select(call.protections);
    const parts = { call, book: new PlaceholderBook(), hits: new HitCounts(this.#hits) };
    const { kind, requestText, responseText, requestBytesMax, responseBytesMax } = call.method;
    const [sendsMany, answersMany] = [kind === 'client-streaming', kind === 'server-streaming'];
    const isBidi = kind === 'bidi';
    const made = {
      request: this.#protection('request', request, parts, {
        plan: requestText,
        isStream: sendsMany || isBidi,
        bytesMax: requestBytesMax,
      }),
      response: this.#protection('response', response, parts, {
        plan: responseText,
        isStream: answersMany || isBidi,
        bytesMax: responseBytesMax,
      }),
    };
    return made.request === null && made.response === null ? null : { ...made, hits: parts.hits };
  }

  #protection(
    direction: TrafficDirection,
    selection: Selection | null,
    { call, book, hits }: CallParts,
    messages: { readonly plan: TextPlan; readonly isStream: boolean; readonly bytesMax: number },
  ): MessageProtection | null {
    if (selection === null) return null;
    const rules = this.#rulesOf(selection, call);
    return (
      rules &&
      new MessageProtection({
        direction,
        ...messages,
        isStream: messages.isStream && this.#mayHoldDeltas(messages.plan),
        statusPlan: this.#statusPlan,
        walker: this.#walker,
        rules,
        book,
        onHits: (found) => hits.add(direction, found),
      })
    );
  }

  /** Null: none of the protections holds for the call. */
  #rulesOf(selection: Selection, { method, model }: ProtectedCall): (() => RuleSet) | null {
    const { isByModel, rules, protections } = selection;
    if (!isByModel) return () => rules;
    const holding = (asked: string | null): CompiledProtection[] =>
      protections.filter(({ match }) => match.hasModel(asked));
    let asked = model();
    let present = this.#ruleSet(holding(asked));
    if (method.kind === 'unary' || method.kind === 'server-streaming')
      return present.isEmpty ? null : () => present;
    return () => {
      const next = model();
      if (next !== asked) {
        asked = next;
        present = this.#ruleSet(holding(next));
      }
      return present;
    };
  }

  #select(protections: readonly CompiledProtection[]): Readonly<Record<TrafficDirection, Selection | null>> {
    const known = this.#selections.get(protections);
    if (known !== undefined) return known;
    const made = {
      request: this.#selection(protections.filter(({ onRequest }) => onRequest)),
      response: this.#selection(protections.filter(({ onResponse }) => onResponse)),
    };
    this.#selections.set(protections, made);
    return made;
  }

  #selection(protections: readonly CompiledProtection[]): Selection | null {
    if (protections.length === 0) return null;
    const isByModel = protections.some(({ match }) => match.models !== null);
    return { protections, isByModel, rules: this.#ruleSet(protections) };
  }

  #ruleSet(protections: readonly CompiledProtection[]): RuleSet {
    const key = JSON.stringify(protections.map(({ id }) => id));
    let rules = this.#ruleSets.get(key);
    if (rules === undefined) {
      rules = new RuleSet(protections.map((protection) => this.#rules.get(protection) as SensitivityRule));
      this.#ruleSets.set(key, rules);
    }
    return rules;
  }

  #mayHoldDeltas(plan: TextPlan): boolean {
    let holds = this.#holdsDeltas.get(plan);
    if (holds === undefined) {
      holds = mayHoldDeltas(plan);
      this.#holdsDeltas.set(plan, holds);
    }
    return holds;
  }
}

function bitsOf(sensitivities: ReadonlySet<Sensitivity>): SensitivityBits {
  let bits = 0;
  for (const sensitivity of sensitivities) bits |= 1 << sensitivity;
  return bits & EVERY_SENSITIVITY;
}

function ruleOf(
  { action }: CompiledProtection,
  detectors: readonly Detector[],
  pseudonyms: Pseudonyms | undefined,
): RedactionRule {
  if (action !== 'pseudonymise' && action !== 'pseudonymise-reversibly') return { detectors, action };
  // Without its key the protector is not made.
  return pseudonyms === undefined ? { detectors, action: 'refuse' } : { detectors, action, pseudonyms };
}
