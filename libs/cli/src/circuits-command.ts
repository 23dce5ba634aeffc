import { AdminServiceService, type Circuit, circuitStateToJSON } from '@gatehouse/contracts/admin';
import { connectToSocket, formatMs, isServiceError, SERVICES, type ServiceName } from '@gatehouse/local-mesh';
import { type CommandContext, runningMesh } from './command-context.ts';
import { CommandError, EXIT } from './command-error.ts';
import { showTable } from './table.ts';

const ADMIN_MS_MAX = 5000;

type SeenCircuit = { readonly sidecar: ServiceName; readonly circuit: Circuit };

/** `gatehouse circuits`: every endpoint that a sidecar of the mesh calls, with its circuit breaker. */
export async function circuitsCommand(context: CommandContext, options: { json?: boolean }): Promise<number> {
  const mesh = await runningMesh(context);
  const seen: SeenCircuit[] = [];
  for (const sidecar of SERVICES) {
    const { admin } = mesh.services[sidecar];
    const client = connectToSocket(admin);
    try {
      const deadline = new Date(context.clock() + ADMIN_MS_MAX);
      const answer = await client.unary(
        AdminServiceService.listCircuits,
        {},
        { deadline, signal: context.signal },
      );
      seen.push(...answer.circuits.map((circuit) => ({ sidecar, circuit })));
    } catch (error) {
      if (!isServiceError(error)) throw error;
      throw new CommandError(`the ${sidecar} sidecar does not answer on ${admin}: ${error.details}`, EXIT.no);
    } finally {
      client.close();
    }
  }
  if (options.json) context.out.line(JSON.stringify(seen.map(toJson)));
  else if (seen.length === 0) context.out.line('No sidecar of this mesh calls others.');
  else showCircuits(context, seen);
  return EXIT.ok;
}

const state = ({ circuit }: SeenCircuit): string =>
  circuitStateToJSON(circuit.state).replace('CIRCUIT_STATE_', '').toLowerCase().replace('_', '-');

function toJson(seen: SeenCircuit): object {
  const { circuit } = seen;
  return {
    sidecar: seen.sidecar,
    upstream: circuit.upstream,
    endpoint: circuit.endpoint,
    state: state(seen),
    since: circuit.since?.toISOString() ?? null,
    openedBy: circuit.openedBy,
    nextProbeInMs: nextProbeInMs(circuit),
    callsActive: Number(circuit.callsActive),
    successesTotal: Number(circuit.successesTotal),
    failuresTotal: Number(circuit.failuresTotal),
    connections: circuit.connections,
  };
}

function nextProbeInMs({ nextProbeIn }: Circuit): number | null {
  return nextProbeIn === undefined ? null : Number(nextProbeIn.seconds) * 1000 + nextProbeIn.nanos / 1e6;
}

function showCircuits(context: CommandContext, seen: readonly SeenCircuit[]): void {
  const rows = seen.map((each) => {
    const { circuit } = each;
    const probe = nextProbeInMs(circuit);
    return [
      each.sidecar,
      circuit.upstream,
      circuit.endpoint,
      state(each),
      circuit.since === undefined
        ? '-'
        : `${formatMs(Math.max(0, context.clock() - circuit.since.getTime()))}`,
      probe === null ? '-' : formatMs(probe),
      String(circuit.callsActive),
      String(circuit.successesTotal),
      String(circuit.failuresTotal),
      String(circuit.connections),
      circuit.openedBy === '' ? '-' : circuit.openedBy,
    ];
  });
  const columns = [
    'sidecar',
    'upstream',
    'endpoint',
    'state',
    'for',
    'probe in',
    'active',
    'ok',
    'failed',
    'connections',
    'opened by',
  ];
  showTable(context.out, columns, rows);
}
