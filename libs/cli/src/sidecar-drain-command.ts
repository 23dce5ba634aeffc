import { AdminServiceService } from '@gatehouse/contracts/admin';
import { connectToSocket, isServiceError } from '@gatehouse/local-mesh';
import type { CommandContext } from './command-context.ts';
import { CommandError, EXIT } from './command-error.ts';

export type DrainOptions = {
  /** Of the sidecar's admin port. */
  readonly admin: string;
  readonly wait?: boolean;
  /** Seconds. */
  readonly timeout: number;
};

/** `gatehouse sidecar drain`: begins the inbound drain of a sidecar, and with --wait returns when it has ended. */
export async function sidecarDrainCommand(context: CommandContext, options: DrainOptions): Promise<number> {
  const client = connectToSocket(options.admin);
  try {
    const deadline = new Date(context.clock() + options.timeout * 1000);
    const { ended } = await client.unary(
      AdminServiceService.drainInbound,
      { wait: options.wait === true },
      { deadline, signal: context.signal },
    );
    context.out.line(ended ? 'Inbound has drained; egress goes on.' : 'Inbound is draining; egress goes on.');
    return EXIT.ok;
  } catch (error) {
    if (!isServiceError(error)) throw error;
    throw new CommandError(`the sidecar on ${options.admin} does not drain: ${error.details}`, EXIT.no);
  } finally {
    client.close();
  }
}
