import type { Contract } from '@gatehouse/contracts';
import type { Policy } from '../policy/index.ts';
import type { Protectors } from '../protect/index.ts';
import type { Quotas } from '../quota/index.ts';
import type { TokenVerifier } from '../tokens/index.ts';
import type { AppPool, Upstreams } from '../upstream/index.ts';
import type { AdmissionControl } from './5-admit.ts';
import type { Observer } from './8-observe.ts';
import type { ByteBudget } from './byte-budget.ts';
import type { Clock, Direction } from './call.ts';
import type { DeadlineWheel } from './deadline-wheel.ts';
import type { ForwardLimits } from './forward-owner.ts';
import type { ResponseBacklog } from './response-backlog.ts';
import type { StatedContracts } from './stated-contract.ts';

/** Everything that the stages work with. */
export type PipelineParts = {
  readonly direction: Direction;
  readonly contract: Contract;
  readonly stated: StatedContracts;
  readonly clock: Clock;
  /** The policy in force; null on egress, where the upstream's own decides. */
  readonly policy: () => Policy | null;
  readonly protectors: Protectors;
  readonly tokens: TokenVerifier;
  readonly admission: AdmissionControl;
  /** Null on egress. */
  readonly quotas: Quotas | null;
  /** Where calls go: the app (inbound), or the upstreams (egress). */
  readonly app: AppPool | null;
  readonly upstreams: Upstreams;
  readonly observer: Observer;
  readonly deadlines: DeadlineWheel;
  readonly held: ByteBudget;
  readonly backlog: ResponseBacklog;
  readonly limits: ForwardLimits & { readonly firstMessageMsMax: number };
  /** A stage threw: a bug. */
  readonly onBug: (error: unknown) => void;
};
