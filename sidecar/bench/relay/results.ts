import type { ProfileSummary } from './cpu-profile.ts';
import type { NodeVariantResult } from './extras.ts';
import type { ImportCost } from './import-cost.ts';
import type { HandshakeResult } from './load/cell.ts';
import type { Memory } from './load/process-tree.ts';
import type { Measured, Table } from './measure.ts';

/** Everything that a full run has measured; what a run left out is empty. */
export type Results = {
  readonly command: string;
  readonly versions: ReadonlyMap<string, string>;
  readonly idle: ReadonlyMap<string, Memory>;
  readonly absent: readonly string[];
  readonly table: Table;
  readonly ceiling: Measured | undefined;
  readonly policies: ReadonlyMap<string, Measured>;
  readonly connections: Table;
  readonly handshakes: ReadonlyMap<
    string,
    { readonly full: HandshakeResult; readonly resumed: HandshakeResult }
  >;
  /** By scenario id. */
  readonly profiles: ReadonlyMap<string, ProfileSummary>;
  readonly nodeVariants: readonly NodeVariantResult[];
  /** By scenario and by how many processes. */
  readonly cores: Table;
  readonly imports: readonly ImportCost[];
  readonly pace: { readonly rounds: number; readonly seconds: number };
};
