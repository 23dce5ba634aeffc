import { readdirSync, readFileSync } from 'node:fs';

/** A process and its descendants (Linux). */
export function processTree(pid: number): number[] {
  const pids = [pid];
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const children = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8');
    for (const child of children.split(' ').filter(Boolean)) pids.push(...processTree(Number(child)));
  }
  return pids;
}

/** CPU time that all threads of these processes have run, user and system, in microseconds, exact to the nanosecond. */
export function cpuMicros(pids: readonly number[]): number {
  let nanoseconds = 0;
  for (const pid of pids) {
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
    }
  }
  return nanoseconds / 1000;
}

/** Time that the machine's cores have been busy, in microseconds, to 10 ms. */
export function busyMicros(): number {
  const [, user, nice, system, , , irq, softirq, steal] = (
    readFileSync('/proc/stat', 'utf8').split('\n')[0] as string
  )
    .split(/\s+/)
    .map(Number) as [number, ...(readonly number[])];
  const ticks = [user, nice, system, irq, softirq, steal].reduce<number>((sum, each) => sum + (each ?? 0), 0);
  return ticks * 10_000;
}

/** In megabytes. */
export type Memory = {
  /** All that is resident: file pages that others share, such as those of a program, count in each. */
  readonly residentMb: number;
  /** Of it what belongs to no file: heaps, stacks, buffers. */
  readonly ownMb: number;
};

export function memoryOf(pids: readonly number[]): Memory {
  let [residentKb, ownKb] = [0, 0];
  for (const pid of pids) {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    residentKb += Number(/^Rss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0);
    ownKb += Number(/^Anonymous:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0);
  }
  return { residentMb: residentKb / 1024, ownMb: ownKb / 1024 };
}
