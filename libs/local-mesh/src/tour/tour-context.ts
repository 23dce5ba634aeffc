import type { MeshState } from '../mesh-state.ts';
import type { Screen } from '../screen.ts';
import type { TourTrace } from './tour-trace.ts';

/** What each step of the tour works with. */
export type TourContext = {
  readonly mesh: MeshState;
  readonly screen: Screen;
  readonly trace: TourTrace;
  readonly signal: AbortSignal;
  /** Shows whether the audit records of a folder are those that were written. @returns whether they are */
  readonly verifyAudit: (folder: string) => Promise<boolean>;
};
