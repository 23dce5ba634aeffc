import type { Contract } from '@gatehouse/contracts';
import { coversIdentity, type IdentityPattern, parseIdentityPattern } from './identity-pattern.ts';
import { coversModel } from './model-matcher.ts';
import { type Placed, type ProblemList, placeText, type SectionEntry } from './placed-entries.ts';
import { pathsOf } from './schema-parts.ts';

/** A rule as far as its reach goes. */
interface Reach {
  readonly placed: Placed<SectionEntry<'rules'>>;
  readonly order: number;
  readonly isDeny: boolean;
  readonly identities: readonly IdentityPattern[];
  readonly paths: ReadonlySet<string>;
  readonly models: readonly string[];
}

/** Pairs of rules that are compared; beyond it a document is taken without. */
const PAIRS_MAX = 500_000;

/** Reports rules that can decide nothing: a rule that denies, or a broader one of their own kind, covers them whole. */
export function checkReach(
  rules: readonly Placed<SectionEntry<'rules'>>[],
  contract: Contract,
  problems: ProblemList,
): void {
  const reaches = rules.flatMap((placed, order) =>
    placed.fits && placed.entry.shadow !== true ? [reachOf(placed, order, contract)] : [],
  );
  const index = new ReachIndex();
  for (const reach of reaches) index.add(reach);
  let pairs = 0;
  for (const reach of reaches) {
    for (const other of index.candidates(reach)) {
      if (++pairs > PAIRS_MAX) return;
      if (!isUseless(reach, other)) continue;
      const { id } = reach.placed.entry;
      const what = other.isDeny === reach.isDeny ? (other.isDeny ? 'denies' : 'allows') : 'denies';
      const form = `expected a rule that can decide something: rule ${other.placed.entry.id} (${placeText(other.placed)}) ${what} all that this one is about`;
      problems.add(reach.placed, ['id'], form, id);
      break;
    }
  }
}

function reachOf(placed: Placed<SectionEntry<'rules'>>, order: number, contract: Contract): Reach {
  const { effect, identities, methods = [], permissions = [], models = [] } = placed.entry;
  const paths = pathsOf({ methods, permissions }, contract);
  const hasModel = (path: string): boolean => contract.methods.get(path)?.requestFields?.readsModel ?? false;
  return {
    placed,
    order,
    isDeny: effect === 'DENY' || effect === 'EFFECT_DENY',
    identities: identities.flatMap((text) => parseIdentityPattern(text) ?? []),
    paths: new Set(models.length > 0 ? paths.filter(hasModel) : paths),
    models,
  };
}

/** Of two rules that say the same, the later one is useless. */
function isUseless(reach: Reach, other: Reach): boolean {
  if (other === reach || (reach.isDeny && !other.isDeny) || !covers(other, reach)) return false;
  return other.isDeny !== reach.isDeny || other.order < reach.order || !covers(reach, other);
}

function covers(broad: Reach, narrow: Reach): boolean {
  const [one, other] = [broad.placed.entry, narrow.placed.entry];
  return (
    narrow.identities.every((id) => broad.identities.some((pattern) => coversIdentity(pattern, id))) &&
    narrow.paths.isSubsetOf(broad.paths) &&
    (broad.models.length === 0 ||
      (narrow.models.length > 0 &&
        narrow.models.every((model) => broad.models.some((pattern) => coversModel(pattern, model))))) &&
    coversToken(one.token, other.token) &&
    (one.condition === undefined || one.condition === other.condition)
  );
}

type TokenEntry = SectionEntry<'rules'>['token'];

function coversToken(broad: TokenEntry, narrow: TokenEntry): boolean {
  if (broad === undefined) return true;
  if (narrow?.issuer !== broad.issuer) return false;
  return (broad.claims ?? []).every(({ name, values }) =>
    (narrow.claims ?? []).some(
      (claim) => claim.name === name && claim.values.every((value) => values.includes(value)),
    ),
  );
}

/** Rules by an identity that they name, a path, and whether they name a model: what could cover a rule is found there. */
class ReachIndex {
  readonly #roots = new Map<string, IdentityNode>();

  add(reach: Reach): void {
    for (const identity of reach.identities) {
      let node = this.#roots.get(identity.trustDomain);
      if (node === undefined) this.#roots.set(identity.trustDomain, (node = new IdentityNode()));
      for (const segment of identity.segments) node = node.child(segment);
      for (const path of reach.paths) node.shelf(path).add(reach);
    }
  }

  /** Rules that name the first identity and the first path of this one, itself among them. */
  *candidates(reach: Reach): Generator<Reach> {
    const [identity] = reach.identities;
    const [path] = reach.paths;
    const root = identity && this.#roots.get(identity.trustDomain);
    if (root === undefined || path === undefined) return;
    for (const node of root.covering(identity?.segments ?? [], 0)) {
      const shelf = node.shelves.get(path);
      if (shelf !== undefined) yield* shelf.candidates(reach.models[0]);
    }
  }
}

class IdentityNode {
  readonly children = new Map<string, IdentityNode>();
  /** By path: the rules whose identity ends here. */
  readonly shelves = new Map<string, Shelf>();

  child(segment: string): IdentityNode {
    let child = this.children.get(segment);
    if (child === undefined) this.children.set(segment, (child = new IdentityNode()));
    return child;
  }

  shelf(path: string): Shelf {
    let shelf = this.shelves.get(path);
    if (shelf === undefined) this.shelves.set(path, (shelf = new Shelf()));
    return shelf;
  }

  /** The ends of patterns that match whatever `segments` from `at` on match. */
  *covering(segments: readonly string[], at: number): Generator<IdentityNode> {
    const segment = segments[at];
    if (segment === undefined) {
      yield this;
      return;
    }
    const rest = this.children.get('**');
    if (rest !== undefined) yield rest;
    if (segment === '**') return;
    for (const next of segment === '*' ? ['*'] : ['*', segment])
      yield* this.children.get(next)?.covering(segments, at + 1) ?? [];
  }
}

class Shelf {
  /** Any model, or names with stars or versions: each is asked. */
  readonly #broad: Reach[] = [];
  readonly #byModel = new Map<string, Reach[]>();

  add(reach: Reach): void {
    if (reach.models.length === 0 || reach.models.some((model) => model.includes('*') || model.includes('@')))
      this.#broad.push(reach);
    for (const model of reach.models) {
      const list = this.#byModel.get(model);
      if (list === undefined) this.#byModel.set(model, [reach]);
      else list.push(reach);
    }
  }

  /** @param model the first of the rule's; undefined: it names none */
  *candidates(model: string | undefined): Generator<Reach> {
    yield* this.#broad;
    if (model === undefined) return;
    yield* this.#byModel.get(model) ?? [];
    const name = model.split('@')[0] as string;
    if (name !== model) yield* this.#byModel.get(name) ?? [];
  }
}
